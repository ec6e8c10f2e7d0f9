"""Draws hold individuals of their own, and their figures are what they are called."""

import json
from pathlib import Path
from typing import Any

import pytest

from mos_lab.cli import app
from mos_lab.errors import EvaluationError
from mos_lab.evaluation.draws.config import DrawsConfig
from mos_lab.evaluation.draws.intervals import mean_interval, ratio_interval
from mos_lab.evaluation.draws.one_draw import find_draw
from mos_lab.evaluation.draws.ranges import RANGES, salt_of, three_classes
from mos_lab.evaluation.draws.report import markdown
from mos_lab.evaluation.draws.summary import summary_of
from mos_zoo.world.individuals import ALIKE, MIXED, individual, is_marked
from tests.support.bases import save_tiny_sd
from tests.support.typing_in import type_in


def test_no_individual_is_in_two_draws_or_among_the_fixed_ones() -> None:
    salts = ["", *(salt_of(name, n) for name in RANGES for n in range(6))]
    every = [individual(name, s) for s in salts for name in (*MIXED, *ALIKE)]
    assert len(set(every)) == len(every)


def test_a_salt_keeps_classes_and_marks_of_the_names() -> None:
    for name in MIXED:
        other = individual(name, "report/0")
        assert other.kind == individual(name).kind
        assert (other.mark != "none") == is_marked(name)
    assert len({individual(name, "report/0").kind for name in ALIKE}) == 1
    kinds = {individual(n, "report/1").kind for n in three_classes("report/1", 16)}
    assert len(kinds) == 3


def test_an_unknown_range_is_refused() -> None:
    with pytest.raises(EvaluationError, match="choose, report, reserve"):
        salt_of("test", 0)
    with pytest.raises(EvaluationError, match="choose, report, reserve"):
        DrawsConfig(range_name="test")


def test_a_change_of_an_unknown_setting_is_refused() -> None:
    with pytest.raises(EvaluationError, match="settings of fusion are"):
        DrawsConfig(changes=("weight=4",))


def test_only_large_draws_fuse_more_than_the_smallest_number() -> None:
    config = DrawsConfig(draws=3, counts=(16, 8), large_draws=1)
    assert [config.counts_of(n) for n in range(3)] == [(8, 16), (8,), (8,)]


def test_an_interval_holds_its_estimate_and_is_as_wide_as_theory_says() -> None:
    values = [0.0, 1.0] * 50
    found = mean_interval(values)
    assert found.estimate == 0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.05, rel=0.1)
    same = ratio_interval([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert (same.estimate, same.low, same.high) == (0.5, 0.5, 0.5)


def draw(**methods: tuple[float, float]) -> dict[str, Any]:
    """A draw of two individuals; a method's image alignment and drift."""
    rows = {
        name: {
            "images": {"ada": image, "bea": image},
            "drifts": {"cat": drift},
            "text": 0.5,
            "seconds": 1.0,
        }
        for name, (image, drift) in methods.items()
    }
    plain = {"image": 0.6, "words": 0.5, "text": 0.5}
    own = {"image": 0.8, "mutual": 0.8, "words": 0.7, "text": 0.5, "base_text": 0.5}
    regions = {"three classes": [{"ada": True, "bea": False}, {"ada": 1, "bea": 1}]}
    return {
        "individuals": {
            "ada": own | {"plain": plain},
            "bea": own | {"plain": None, "words": 0.1},
        },
        "fusion": {"8": rows},
        "regions": regions,
    }


def test_differences_between_methods_are_of_the_same_individuals() -> None:
    found = summary_of([draw(gradient=(0.8, 0.1), average=(0.6, 0.2))] * 3)
    ours, other = found["fusion"]["8"]["gradient"], found["fusion"]["8"]["average"]
    assert ours["kept"]["estimate"] == pytest.approx(1)
    assert other["kept"]["estimate"] == pytest.approx(0.75)
    assert other["kept, ours less it"]["low"] == pytest.approx(0.25)
    assert other["drift, ours less it"]["estimate"] == pytest.approx(-0.1)
    assert found["tuning"]["words, ED-LoRA less plain"]["count"] == 3
    assert found["tuning"]["words"]["estimate"] == pytest.approx(0.7)
    assert found["regions"]["three classes"]["right"]["estimate"] == 0.75
    assert found["regions"]["three classes"]["all right"]["estimate"] == 0.5
    page = markdown(DrawsConfig(), found)
    assert "+25.0% [+25.0%, +25.0%]" in page


def test_a_cut_draw_still_gives_the_figures_it_has() -> None:
    cut = draw(average=(0.6, 0.2)) | {"regions": {}}
    found = summary_of([cut])
    assert "kept, ours less it" not in found["fusion"]["8"]["average"]
    assert found["regions"] == {}
    assert summary_of([])["tuning"] == {}


@pytest.mark.slow
def test_two_draws_at_a_time_leave_figures_and_go_on_without_work(
    tmp_path: Path,
) -> None:
    words = ["evaluate", "--draws", "2", "--range", "choose", "--out", str(tmp_path)]
    words += ["--counts", "3,4", "--tune-steps", "2", "--steps", "2", "--seeds", "1"]
    words += ["--layouts", "6", "--plain", "1", "--jobs", "2", "--device", "cpu"]
    words += ["--method", "gradient", "--method", "average", "--large-draws", "1"]
    words += ["--change", "prior=4&ridge=0.001"]
    assert type_in(app, *words, "--json") == 0
    found = json.loads((tmp_path / "draws.json").read_text())
    assert found["fusion"]["3"]["average"]["kept"]["count"] == 6
    assert found["fusion"]["3"]["prior=4&ridge=0.001"]["kept"]["count"] == 6
    assert found["fusion"]["4"]["gradient"]["kept"]["count"] == 4
    assert found["regions"]["one class"]["right"]["count"] == 6
    concept = tmp_path / "choose-0" / "ed-lora" / "ada" / "ada.safetensors"
    tuned = concept.stat().st_mtime_ns
    assert type_in(app, *words) == 0
    assert concept.stat().st_mtime_ns == tuned
    assert json.loads((tmp_path / "draws.json").read_text()) == found


@pytest.mark.slow
def test_an_interrupted_draw_goes_on_to_the_same_figures(tmp_path: Path) -> None:
    base = save_tiny_sd(tmp_path / "base")
    quick = {"sample": {"steps": 2}, "fusion": {"scenes": [""], "ridge": 0.1}}
    (base / "mos_defaults.json").write_text(json.dumps(quick))
    config = DrawsConfig(
        base=str(base),
        counts=(3, 4),
        methods=("gradient", "average"),
        changes=("prior=4&ridge=0.001",),
        seeds=1,
        layouts=7,
        plain=1,
        tune_steps=2,
        device="cpu",
    )
    path = find_draw(config, 0, tmp_path / "draw")
    first = json.loads(path.read_text())
    assert set(first["fusion"]["4"]) == {"gradient", "average", "prior=4&ridge=0.001"}
    assert set(first["fusion"]["3"]["gradient"]["images"]) == {"ada", "bea", "cid"}
    assert {name: len(found) for name, found in first["regions"].items()} == {
        "three classes": 7,
        "one class": 7,
    }
    for lost in (path, *(tmp_path / "draw" / "found").glob("regions-*.json")):
        lost.unlink()
    again = json.loads(find_draw(config, 0, tmp_path / "draw").read_text())
    assert {**again, "seconds": None} == {**first, "seconds": None}
