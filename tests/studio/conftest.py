"""A studio that really runs, and a real Chromium in front of it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.pages.browsing import chromium, visits
from tests.support.homes import home_with_release


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these take seconds, on quiet cores."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@dataclass
class Server:
    """`mos-client studio` as a process, which can be killed and started again."""

    home: Path
    port: int = 0
    address: str = ""
    process: "subprocess.Popen[str] | None" = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mos_client", "studio", "--home", self.home]
        environment = os.environ | {"MOS_STUDIO_PASSWORD": ""}
        self.process = subprocess.Popen(
            [*map(str, command), "--port", str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if line.startswith("studio: "):
                self.address = line.split()[1]
                self.port = urlsplit(self.address).port or 0
                return
        raise AssertionError("".join(said))

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=60)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None


@dataclass
class Visit:
    """A page in a browser, and all that it asked for."""

    page: Any
    requested: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def open(self, address: str) -> "Visit":
        self.page.goto(address)
        self.page.wait_for_selector(".concept")
        return self

    def drag(self, *points: tuple[float, float]) -> None:
        """Draw on the canvas with the mouse, in fractions of it."""
        box = self.page.locator("#paper svg").bounding_box()
        for index, (x, y) in enumerate(points):
            self.page.mouse.move(
                box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3
            )
            if index == 0:
                self.page.mouse.down()
        self.page.mouse.up()

    def regions(self) -> int:
        return int(self.page.locator("#regions .pick").count())

    def sampled(self) -> None:
        """Wait until the picture that was ordered is shown."""
        self.page.wait_for_selector("#shown:not([hidden])", timeout=90_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Of one module: there is no second one while it runs, nor an event loop."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    concepts = [("north", "rex"), ("south", "miso")]
    return home_with_release(tmp_path_factory.mktemp("site"), "mini", concepts).folder


@pytest.fixture(scope="session")
def server(shared_home: Path) -> Iterator[Server]:
    running = Server(shared_home)
    running.start()
    yield running
    running.end()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    """Makes pages; at the end none may have asked another machine, or broken down."""
    with visits(browser, Visit) as made:
        yield made


@pytest.fixture
def page(visit: Callable[..., Visit], server: Server) -> Visit:
    return visit().open(server.address)
