"""Every attack meets the same federation, a copy of it each."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.threats.door import Door, opened
from tests.threats.stage import Stage


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage") / "template"
    folder.mkdir()
    Stage.begin(folder)
    return folder


@pytest.fixture
def stage(template: Path, tmp_path: Path) -> Stage:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return Stage(tmp_path)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened(tmp_path_factory.mktemp("door")) as made:
        yield made
