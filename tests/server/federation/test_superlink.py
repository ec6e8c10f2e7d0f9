"""Waiting for a SuperLink: as long as it does something, and no longer."""

import sys
from pathlib import Path

import pytest
from flwr.superlink.cli.flower_superlink import flower_superlink

from mos_runtime.processes import Stopping
from mos_server.errors import ServingError
from mos_server.serving import superlink as module
from mos_server.serving import superlink_process
from mos_server.serving.fleet_gate import gated_server
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


def test_guarded_superlink_is_flowers_with_the_gate_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    internals = sys.modules[flower_superlink.__module__]
    kept: list[object] = []

    def stand_in() -> None:
        """In the place of Flower's program."""

    stand_in.__module__ = internals.__name__
    monkeypatch.setattr(internals, "generic_create_grpc_server", None)
    monkeypatch.setattr(superlink_process, "flower_superlink", stand_in)
    monkeypatch.setattr(superlink_process, "keep_to_owner", kept.append)
    with pytest.raises(SystemExit):
        superlink_process.main()
    assert kept == [internals.uvicorn.Config]
    assert internals.generic_create_grpc_server is gated_server
