"""Regional pictures under controls: what steers them, and what is found once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mos_lab.evaluation import regions_table
from mos_lab.evaluation.cache import ResultCache
from mos_lab.evaluation.config import EvaluationConfig
from mos_lab.evaluation.fusion_table import Bench
from mos_lab.evaluation.measuring import Sampled
from mos_lab.evaluation.methods import average, recorded, settings_of
from mos_lab.evaluation.regions_controls import (
    STEERINGS,
    control_picture,
    steerings_for,
)
from mos_lab.evaluation.regions_table import (
    RegionsRow,
    layouts_of,
    pictures_of_rows,
    regions_rows,
)
from mos_lab.evaluation.report import markdown
from mos_lab.evaluation.subjects import Subject, reference
from mos_lab.evaluation.tables import Evaluation
from mos_model.bases.base import Base, load_base
from mos_model.concepts.concept import FusedModel
from mos_model.metrics import load_metrics
from mos_zoo.world.edges import mask_edges
from mos_zoo.world.individuals import individual, pictures_of
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept

NAMES = ("ada", "bea", "cid")
KINDS = ("cat", "dog", "bird")
SIZE = (192, 64)


@pytest.fixture(scope="module")
def mini() -> Base:
    return load_base()


def subject_of(base: Base, name: str, class_word: str) -> Subject:
    concept = random_concept(base.inventory, name, strength=0.01)
    object.__setattr__(concept.facts, "class_word", class_word)
    return Subject(concept, tuple(pictures_of(name)[:3]), Path())


@pytest.fixture(scope="module")
def subjects(mini: Base) -> list[Subject]:
    return [subject_of(mini, name, individual(name).kind) for name in NAMES]


def picture(way: str, kinds: tuple[str, ...], number: int) -> np.ndarray[Any, Any]:
    return np.asarray(control_picture(STEERINGS[way], kinds, SIZE, number))


def test_control_pictures_are_what_the_controls_were_trained_on() -> None:
    mask = picture("ControlNet", KINDS, 3)
    edges = picture("T2I-Adapter", KINDS, 3)
    assert set(np.unique(mask)) == {0, 255}
    assert np.array_equal(edges, 255 * mask_edges(mask[None])[0].astype(np.uint8))
    for third in np.split(mask, 3, axis=1):
        assert 0.1 < (third > 0).mean() < 0.8, "a subject in each place"


def test_control_pictures_are_told_by_classes_and_number_alone() -> None:
    first = picture("ControlNet", KINDS, 0)
    assert np.array_equal(first, picture("ControlNet", KINDS, 0))
    assert not np.array_equal(first, picture("ControlNet", KINDS, 1))
    assert not np.array_equal(first, picture("ControlNet", KINDS[::-1], 0))


def test_control_shows_the_subjects_in_the_layouts_order(
    subjects: list[Subject],
) -> None:
    steering = STEERINGS["T2I-Adapter"]
    made = layouts_of(subjects, "regions", 64, 6, steering=steering)
    for number, (layout, order) in enumerate(made):
        kinds = tuple(subjects[k].class_word for k in order)
        (control,) = layout.controls
        wanted = picture("T2I-Adapter", kinds, number)
        assert np.array_equal(np.asarray(control.image), wanted)


def test_other_bases_and_classes_have_no_controls(
    mini: Base, subjects: list[Subject], tmp_path: Path
) -> None:
    assert steerings_for(mini, subjects) == tuple(STEERINGS)
    odd = [*subjects[:2], subject_of(mini, "cid", "dragon")]
    assert steerings_for(mini, odd) == ()
    other = load_base(str(save_tiny_sd(tmp_path)))
    assert steerings_for(other, subjects) == ()


def test_report_says_where_controls_were_left_out() -> None:
    plain = [RegionsRow("regions", 60, 0.9, 0.8)]
    steered = RegionsRow("regions + ControlNet", 60, 0.9, 0.8)
    page = markdown(Evaluation(EvaluationConfig(), regions={"a": plain}))
    assert "Without controls" in page
    page = markdown(Evaluation(EvaluationConfig(), regions={"a": [*plain, steered]}))
    assert "Without controls" not in page


def test_every_way_is_found_once_from_one_fusion(
    mini: Base,
    subjects: list[Subject],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fused: list[int] = []

    def counted(base: Base, own: list[Subject]) -> FusedModel:
        fused.append(len(own))
        return average(base, own)

    monkeypatch.setattr(regions_table, "LAYOUTS", 2)
    monkeypatch.setattr(regions_table, "gradient", counted)
    metrics = load_metrics()
    references = [reference(metrics, subject) for subject in subjects]
    drawn: list[int] = []
    shown: list[str] = []
    cells = ResultCache(tmp_path, {})
    known = {way: {"right": 0.25, "whole": 0.125} for way in ("regions", "one prompt")}
    digests = [subject.digest for subject in subjects]
    on = [*digests, *recorded(settings_of("gradient", mini))]
    cells.get("regions-ada+bea+cid", on, lambda: known)
    plan = Sampled(side=64, steps=1)
    bench = Bench(
        mini, metrics, plan, cells, drawn.append, lambda name, _: shown.append(name)
    )
    rows = regions_rows(bench, subjects, references)
    assert [row.way for row in rows] == [
        *("regions", "one prompt"),
        *("regions + T2I-Adapter", "one prompt + T2I-Adapter"),
        *("regions + ControlNet", "one prompt + ControlNet"),
    ]
    assert (rows[0].right, rows[0].whole) == (0.25, 0.125), "an earlier run's finding"
    assert fused == [3]
    assert "regions+mini-adapter-ada+bea+cid" in shown
    assert pictures_of_rows(mini, subjects) == sum(drawn) + 4
    assert regions_rows(bench, subjects, references) == rows
    assert sum(drawn) == 8
    assert len(list(tmp_path.iterdir())) == 3
    for path in tmp_path.iterdir():
        assert set(json.loads(path.read_text())) == {"regions", "one prompt"}
