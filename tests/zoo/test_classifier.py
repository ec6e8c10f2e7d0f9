"""The gate's classifier: what it is shown, and that it learns it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mos_model.errors import ZooError
from mos_zoo.models import classifier
from mos_zoo.models.classifier import (
    HEADS,
    UNKNOWN,
    ClassifierStage,
    draw_labelled,
    held_out_renders,
    judge,
    load_classifier,
    shares_right,
)
from mos_zoo.training.journal import Journal
from mos_zoo.training.loop import Span, train, trained
from mos_zoo.world.world import CLASSES

CPU = torch.device("cpu")


def test_pictures_of_one_subject_have_every_label() -> None:
    pictures = draw_labelled(range(7, 13), pairs=False)
    assert (pictures.labels != UNKNOWN).all()
    assert (pictures.present.sum(1) == 1).all()
    assert (pictures.present.argmax(1) == pictures.labels[:, 0]).all()
    assert pictures.subject.any((1, 2)).all()


def test_pictures_of_two_have_no_single_class_colour_or_pattern() -> None:
    pictures = draw_labelled(range(7, 13), pairs=True)
    assert (pictures.labels[:, :3] == UNKNOWN).all()
    assert (pictures.labels[:, 3] != UNKNOWN).all()
    assert (pictures.present.sum(1) == 2).all()


def test_held_out_renders_are_never_trained_on(tmp_path: Path) -> None:
    stage = ClassifierStage(tmp_path, count=8)
    stage.open(CPU)
    trained_on = {picture.tobytes() for picture in stage._drawn.pixels}
    singles, pairs = held_out_renders(8)
    for picture in (*singles.pixels, *pairs.pixels):
        assert picture.tobytes() not in trained_on


def test_training_pictures_are_drawn_once_and_anew_if_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ClassifierStage(tmp_path, count=4)
    stage.open(CPU)
    first = stage._drawn
    (path,) = (tmp_path / "data").iterdir()
    path.write_bytes(path.read_bytes()[:-50])
    stage.open(CPU)
    assert np.array_equal(stage._drawn.pixels, first.pixels)
    monkeypatch.setattr(classifier, "_draw", pytest.fail)
    stage.open(CPU)
    assert np.array_equal(stage._drawn.labels, first.labels)


def test_it_learns_what_it_is_shown(tmp_path: Path) -> None:
    stage = ClassifierStage(
        tmp_path,
        count=12,
        held_out=4,
        widths=(8, 16, 16, 24, 32),
        batch_size=12,
        learning_rate=0.03,
    )
    train(stage, tmp_path, Span(1e9, max_steps=80), workers=1, device=CPU)
    model = trained(stage, tmp_path, Journal())
    shown = stage._drawn
    shares = shares_right(shown, judge(model, shown.pixels))
    assert shares["background"] > 0.7
    assert shares["colour"] > 0.5
    verdicts = judge(model, shown.pixels)
    assert verdicts.present.shape == (12, len(CLASSES))
    overlap = (verdicts.subject & shown.subject).sum() / shown.subject.sum()
    assert overlap > 0.5
    assert set(shares) == set(HEADS)


def test_untrained_classifier_is_told(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="no trained 'classifier'"):
        load_classifier(tmp_path)
