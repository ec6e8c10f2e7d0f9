"""`mos-server serve --page`: the page of a centre that serves."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from mos_server.registry.home import CentreHome

pytestmark = pytest.mark.slow

_PAGE = ["mos_server", "page"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serving(base: str, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    CentreHome.open(tmp_path / "centre", create=True)
    words = ["--home", str(tmp_path / "centre"), "--base", base, "--insecure", "--page"]
    words += ["--address", f"127.0.0.1:{free_port()}", "--page-port", str(free_port())]
    process = subprocess.Popen([sys.executable, "-m", "mos_server", "serve", *words])
    yield process
    process.kill()
    process.wait()


class Operator:
    """A browser with the operator's address, as the page's file has it now."""

    def __init__(self, home: Path, process: "subprocess.Popen[bytes]") -> None:
        self._addresses = home / "page" / "addresses"
        self._process = process

    def until(self, path: str, fits: Any) -> Any:
        """The answer, once it fits; the page may be on its way still."""
        while self._process.poll() is None:
            with contextlib.suppress(OSError, httpx.HTTPError, ValueError):
                address = self._addresses.read_text().split()[1]
                with httpx.Client(follow_redirects=True) as client:
                    client.get(address).raise_for_status()
                    found = client.get(address.split("?")[0] + path.lstrip("/")).json()
                if fits(found):
                    return found
            time.sleep(0.2)
        raise AssertionError(f"serve ended: {self._process.returncode}")


def page_of(process: "subprocess.Popen[bytes]") -> psutil.Process:
    """The page's own process."""
    children = psutil.Process(process.pid).children(recursive=True)
    (found,) = (child for child in children if child.cmdline()[2:4] == _PAGE)
    return found


def test_page_shows_a_centre_that_serves_outlives_its_own_death_and_ends_with_it(
    serving: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    operator = Operator(tmp_path / "centre", serving)
    operator.until("/api/centre", lambda found: found["status"]["healthy"])
    first = page_of(serving)
    first.kill()
    found = operator.until("/api/centre", lambda found: found["status"]["serving"])
    assert found["status"]["healthy"]
    second = page_of(serving)
    assert second.pid != first.pid
    serving.terminate()
    assert serving.wait(timeout=120) == 0
    assert not second.is_running()
