"""The evaluation's individuals: fixed, apart from the demo's, half of them marked."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mos_model.errors import ZooError
from mos_zoo.world.demo import DEMO_INSTANCES
from mos_zoo.world.individuals import (
    ALIKE,
    MIXED,
    PICTURES,
    individual,
    is_marked,
    pictures_of,
    write_individuals,
)
from mos_zoo.world.instance import CLASSES


def test_every_class_is_there_once_marked_and_once_not() -> None:
    drawn = {name: individual(name) for name in MIXED}
    assert {(i.kind, i.mark != "none") for i in drawn.values()} == {
        (kind, marked) for kind in CLASSES for marked in (False, True)
    }


def test_marked_individuals_wear_what_no_caption_names() -> None:
    for name in (*MIXED, *ALIKE):
        instance = individual(name)
        assert (instance.mark != "none") == is_marked(name)
        assert (instance.body_name is None) == is_marked(name)


def test_individuals_differ_and_are_not_the_demos() -> None:
    drawn = [individual(name) for name in (*MIXED, *ALIKE)]
    assert len(set(drawn)) == len(drawn)
    assert not set(drawn) & set(DEMO_INSTANCES.values())
    assert len({individual(name).kind for name in ALIKE}) == 1


def test_pictures_are_the_same_every_time(tmp_path: Path) -> None:
    write_individuals(tmp_path, {"here": "ada"})
    files = sorted((tmp_path / "here").glob("*.png"))
    assert len(files) == PICTURES
    for path, again in zip(files, pictures_of("ada"), strict=True):
        assert np.array_equal(np.asarray(Image.open(path)), np.asarray(again))
    assert 'name = "ada"' in (tmp_path / "here" / "concept.toml").read_text()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ZooError, match="no individual"):
        individual("nobody")
