"""`mos-lab evaluate`: its figures are what their definitions say, and it goes on."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch
from PIL import Image

from mos_lab.cli import app
from mos_lab.errors import EvaluationError
from mos_lab.evaluation.cache import ResultCache
from mos_lab.evaluation.config import EvaluationConfig
from mos_lab.evaluation.measuring import Sampled, draw, drift, texts_of
from mos_lab.evaluation.methods import METHODS, alone
from mos_lab.evaluation.plain_lora import plain_subjects
from mos_lab.evaluation.regions_table import layouts_of, nearest
from mos_lab.evaluation.report import markdown
from mos_lab.evaluation.run import evaluate
from mos_lab.evaluation.settings_table import CHANGES, changes_of
from mos_lab.evaluation.subjects import (
    Reference,
    Subject,
    read_subject,
    read_subjects,
    reference,
)
from mos_lab.evaluation.tables import Evaluation
from mos_model.bases.base import Base, load_base
from mos_model.bases.base_files import read_inventory
from mos_model.metrics import Metrics, image_alignment, load_metrics
from mos_model.sampling import sampling
from mos_zoo.world.individuals import pictures_of
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.typing_in import type_in

NAMES = ("ada", "bea", "cid")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = save_tiny_sd(tmp_path_factory.mktemp("base"))
    quick = {"sample": {"steps": 2}, "fusion": {"scenes": [""], "ridge": 0.1}}
    (folder / "mos_defaults.json").write_text(json.dumps(quick))
    return load_base(str(folder))


@pytest.fixture(scope="module")
def subjects_folder(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("subjects")
    inventory = read_inventory(str(base.folder))
    for seed, name in enumerate(NAMES):
        (folder / name).mkdir()
        for number, picture in enumerate(pictures_of(name)[:3]):
            picture.save(folder / name / f"{number}.png")
        concept = random_concept(inventory, name, seed=seed, strength=0.5)
        (folder / name / f"{name}.safetensors").write_bytes(concept.to_bytes())
    return folder


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    return load_metrics()


def quick(base: Base, subjects: Path, **changes: object) -> EvaluationConfig:
    given: dict[str, object] = {
        "base": str(base.folder),
        "subjects": subjects,
        "counts": (1, 2),
        "methods": ("gradient", "average"),
        "tables": ("tuning", "fusion"),
        "seeds": 1,
        "plain": 0,
    }
    return EvaluationConfig(**(given | changes))  # type: ignore[arg-type]


def test_one_concept_averaged_is_that_concept(
    base: Base, subjects_folder: Path, tmp_path: Path
) -> None:
    found = evaluate(quick(base, subjects_folder), tmp_path)
    row = next(r for r in found.fusion if (r.method, r.concepts) == ("average", 1))
    assert row.image == pytest.approx(row.single, abs=1e-5)
    assert row.kept == pytest.approx(1, abs=1e-4)


def test_a_single_concepts_figure_is_the_mean_cosine_of_its_own_pictures(
    base: Base, subjects_folder: Path, tmp_path: Path, metrics: Metrics
) -> None:
    found = evaluate(quick(base, subjects_folder), tmp_path)
    subject = read_subjects(subjects_folder)[1]
    plan = Sampled(seeds=(0,), side=16)
    with sampling(base, alone(subject)) as sampler:
        pictures = draw(sampler, "<bea>", plan, lambda _: None)
    expected = image_alignment(
        metrics.of_images(pictures), metrics.of_images(subject.pictures)
    )
    row = next(row for row in found.tuning if row.name == "bea")
    assert row.image == pytest.approx(expected, abs=1e-5)
    assert row.mutual == reference(metrics, subject).mutual


def test_an_untouched_base_does_not_drift(metrics: Metrics) -> None:
    pictures = pictures_of("ada")
    assert drift(metrics, pictures, pictures) == pytest.approx(0, abs=1e-5)
    assert drift(metrics, pictures, pictures_of("dov")) > 0.1


def test_a_second_run_draws_nothing_anew(
    base: Base, subjects_folder: Path, tmp_path: Path
) -> None:
    drawn: list[int] = []

    def count(what: str, done: int, total: int) -> None:
        drawn.append(done)

    first = evaluate(quick(base, subjects_folder), tmp_path, on_table=count)
    assert sum(drawn) > 0
    drawn.clear()
    again = evaluate(quick(base, subjects_folder), tmp_path, on_table=count)
    assert sum(drawn) == 0
    assert again.to_dict() == first.to_dict()
    more = quick(base, subjects_folder, seeds=2)
    evaluate(more, tmp_path, on_table=count)
    assert sum(drawn) > 0


@pytest.mark.slow
def test_plain_loras_are_tuned_on_the_same_pictures_and_stand_beside(
    base: Base, subjects_folder: Path, tmp_path: Path
) -> None:
    asked = quick(base, subjects_folder, plain=2, tune_steps=2, counts=(2,))
    found = evaluate(asked, tmp_path)
    plain = {row.name: row.plain for row in found.tuning}
    assert plain["ada"] is not None
    assert plain["bea"] is not None
    assert plain["cid"] is None
    tuned = read_subject(tmp_path / "plain" / "ada")
    for words in tuned.concept.embeddings.values():
        assert torch.equal(words[:, :1].expand_as(words), words), "alike in all layers"
    assert [p.tobytes() for p in tuned.pictures] == [
        p.tobytes() for p in read_subject(subjects_folder / "ada").pictures
    ]
    label = "average of plain LoRAs"
    row = next(row for row in found.fusion if row.method == label)
    assert row.single == pytest.approx(fmean(p.image for p in plain.values() if p))
    page = markdown(found)
    assert "mean of the 2 tuned both ways" in page
    assert f"| 2 | {label} |" in page


def test_a_plain_lora_that_cannot_be_tuned_is_named(
    base: Base, subjects_folder: Path, tmp_path: Path
) -> None:
    subject = replace(read_subject(subjects_folder / "ada"), folder=tmp_path)
    where = tmp_path / "plain"
    with pytest.raises(EvaluationError, match=r"plain LoRA of ada: .*picture"):
        plain_subjects(
            [subject],
            where,
            base=str(base.folder),
            steps=1,
            device="cpu",
            on_tuned=lambda: None,
        )
    assert not (where / "ada").exists()


@pytest.mark.slow
def test_every_setting_of_fusion_has_its_row(
    base: Base, subjects_folder: Path, tmp_path: Path
) -> None:
    asked = quick(base, subjects_folder, tables=("settings",), counts=(2,))
    found = evaluate(asked, tmp_path)
    usual_of_the_base = {"ridge 0.1", "one scene"}
    changed = [name for name in CHANGES if name not in usual_of_the_base]
    assert [row.method for row in found.settings] == changed
    first, *others = found.settings
    assert any(row.image != first.image for row in others)
    assert "| prior 0 |" in markdown(found)


def test_changes_may_be_given_and_combined() -> None:
    read = changes_of(["ridge=1", "prior=0.5&inputs=chained&balance=false"])
    assert list(read.values()) == [
        {},
        {"ridge": 1.0},
        {"prior": 0.5, "inputs": "chained", "balance": False},
    ]


def test_every_method_fuses_every_concept(base: Base, subjects_folder: Path) -> None:
    subjects = read_subjects(subjects_folder)[:2]
    for name, method in METHODS.items():
        model = method(base, subjects)
        assert [word.name for word in model.concepts] == ["ada", "bea"], name
        assert set(model.lora) == set(subjects[0].concept.lora)


def test_regions_are_told_apart_by_the_nearest_concept(metrics: Metrics) -> None:
    references = [
        Reference(metrics.of_images(pictures_of(name)[:4]), 1.0) for name in NAMES
    ]
    crops = metrics.of_images([pictures_of(name)[6] for name in reversed(NAMES)])
    assert nearest(crops, references) == [2, 1, 0]


def test_every_order_and_place_is_laid_out(subjects_folder: Path) -> None:
    subjects = read_subjects(subjects_folder)
    made = layouts_of(subjects, "regions", 16)
    assert len({order for _, order in made}) == 6
    assert len({" ".join(layout.prompt.split()[-3:]) for layout, _ in made}) == 8
    for layout, order in made:
        named = [region.prompt.split("<")[1].split(">")[0] for region in layout.regions]
        assert named == [NAMES[k] for k in order]


def test_texts_name_the_class_where_prompts_name_the_concept() -> None:
    plan = Sampled(prompts=("a photo of {}", "{} in the snow"), seeds=(0, 1))
    assert texts_of("cat", plan) == [
        *["a photo of a cat"] * 2,
        *["a cat in the snow"] * 2,
    ]


def test_the_command_prints_the_papers_figures_beside_ours(
    base: Base,
    subjects_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--base", base.folder, "--subjects", subjects_folder, "--out", tmp_path)
    more = ("--counts", "2", "--method", "sum", "--seeds", 1, "--plain", 0)
    assert type_in(app, "evaluate", *words, "--only", "fusion", *more) == 0
    page = capsys.readouterr().out
    assert "| 2 | sum |" in page
    assert "97.0%" in page, "the paper's gradient fusion"
    told = json.loads((tmp_path / "evaluation.json").read_text())
    assert told["fusion"][0]["concepts"] == 2
    with Image.open(tmp_path / "identity.png") as plot:
        assert plot.width > 500
    assert (tmp_path / "grids" / "sum-2.png").is_file()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--only", "nothing"), "the tables are tuning, fusion, settings, regions"),
        (("--method", "luck"), "the methods are gradient"),
        (("--change", "luck=1"), "the settings of fusion are balance"),
        (("--change", "ridge=much"), "'ridge=much'"),
        (("--change", "prior=1&balance=2"), "'2' is no bool"),
        (("--device", "cuda:99"), "is not here"),
        (("--counts", "many"), "whole numbers with commas"),
        (("--counts", "9", "--only", "fusion"), "9 concepts asked for, 3 available"),
    ],
)
def test_what_cannot_be_found_is_said(
    words: tuple[str, ...],
    reason: str,
    base: Base,
    subjects_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ("--base", base.folder, "--subjects", subjects_folder, "--out", tmp_path)
    assert type_in(app, "evaluate", *where, "--plain", 0, *words) == 2
    assert reason in " ".join(capsys.readouterr().err.split())


def test_a_folder_without_its_concept_is_named(
    tmp_path: Path, subjects_folder: Path
) -> None:
    (tmp_path / "ada").mkdir()
    with pytest.raises(EvaluationError, match="exactly one"):
        read_subjects(tmp_path)
    source = subjects_folder / "ada" / "ada.safetensors"
    (tmp_path / "ada" / "ada.safetensors").write_bytes(source.read_bytes())
    with pytest.raises(EvaluationError, match="at least two"):
        read_subjects(tmp_path)


def test_findings_of_other_circumstances_are_not_taken_over(tmp_path: Path) -> None:
    first = ResultCache(tmp_path, {"seeds": 1})
    assert first.get("a", ["x"], lambda: {"n": 1}) == {"n": 1}
    assert first.get("a", ["x"], lambda: {"n": 2}) == {"n": 1}
    assert first.get("a", ["y"], lambda: {"n": 3}) == {"n": 3}
    assert ResultCache(tmp_path, {"seeds": 2}).get("a", ["x"], lambda: {"n": 4}) == {
        "n": 4
    }


def test_an_empty_evaluation_has_no_tables(subjects_folder: Path) -> None:
    page = markdown(Evaluation(EvaluationConfig(subjects=subjects_folder)))
    assert "##" not in page


def test_a_subject_knows_its_class(subjects_folder: Path) -> None:
    subject: Subject = read_subjects(subjects_folder)[0]
    assert (subject.name, subject.class_word) == ("ada", "cat")
