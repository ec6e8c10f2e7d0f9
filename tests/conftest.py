"""What all tests share: golden bytes that change only when asked to."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# The tests' models are tiny: a second thread costs them more than it brings. Set before
# anything imports torch, and handed on to the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before torch is loaded: OpenMP's threads spin while they wait, and where other work
# shares the cores, that makes tests of small models a hundred times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

Golden = Callable[[str, bytes], bytes]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-goldens",
        action="store_true",
        help="rewrite golden files with what the code gives now",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """The golden bytes of a name, beside the test; written under --update-goldens."""
    folder = Path(request.path).parent / "golden"

    def stored(name: str, content: bytes) -> bytes:
        path = folder / name
        if request.config.getoption("--update-goldens"):
            folder.mkdir(exist_ok=True)
            path.write_bytes(content)
        return path.read_bytes()

    return stored
