"""Where the zoo lies, and what is said where it does not."""

from pathlib import Path

import pytest

from mos_model import mini as path
from mos_model.errors import ZooError
from mos_model.mini import ZOO_NAMES, zoo_path
from mos_zoo.training.stages import stage_of


def test_unknown_model_is_refused_with_the_known_names() -> None:
    with pytest.raises(ZooError, match=r"'giant' is not in the mini zoo; it has mini"):
        zoo_path("giant")


def test_missing_model_is_told_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path, "_WEIGHTS", tmp_path)
    with pytest.raises(ZooError, match=r"'mini-clip' is missing; install the package"):
        zoo_path("mini-clip")


def test_installed_models_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path, "_WEIGHTS", tmp_path)
    for name in ZOO_NAMES:
        (tmp_path / name).mkdir()
        assert zoo_path(name) == tmp_path / name


def test_unknown_stage_is_refused_with_the_known_names(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"'sculpture': the stages are world, latents, "):
        stage_of("sculpture", tmp_path)
