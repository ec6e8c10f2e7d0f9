"""One tiny base for all tests of other tools' files."""

from pathlib import Path

import pytest

from mos_model.bases.base_files import read_inventory
from mos_model.bases.inventory import Inventory
from tests.support.bases import save_tiny_sd


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="session")
def inventory(base: str) -> Inventory:
    return read_inventory(base)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
