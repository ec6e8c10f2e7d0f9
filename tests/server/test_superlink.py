"""Waiting for a SuperLink: as long as it does something, and no longer."""

import sys
from pathlib import Path

import pytest

from mos_runtime.processes import Stopping
from mos_server.errors import ServingError
from mos_server.serving import superlink as module
from mos_server.serving.superlink import SuperLink

_HANGS = "import signal; signal.pause()"


def test_superlink_that_stands_still_and_does_not_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROGRAM", (sys.executable, "-c", _HANGS))
    monkeypatch.setattr(module, "_START_SECONDS", 1.0)
    superlink = SuperLink(tmp_path / "flower", [], certificates=None)
    try:
        with pytest.raises(ServingError, match="does not answer"):
            superlink.wait_until_ready(Stopping())
        assert superlink.family.exit_code() is None
    finally:
        superlink.family.stop()


def test_whoever_waits_for_a_superlink_can_be_stopped(tmp_path: Path) -> None:
    superlink = SuperLink(tmp_path / "flower", ["--simulation"], certificates=None)
    stopping = Stopping()
    stopping.set()
    try:
        superlink.wait_until_ready(stopping)
    finally:
        superlink.family.stop()
