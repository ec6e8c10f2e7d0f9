"""The process that fuses: what its centre learns of it, and what it leaves behind."""

import time
from pathlib import Path

import pytest

from mos_runtime import processes
from mos_server.federation.fusion_worker import FusionWorker
from mos_server.registry.home import CentreHome


def test_failed_fusion_is_told_and_its_log_does_not_grow_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "MAX_LOG_BYTES", 5000)
    home = CentreHome.open(tmp_path, create=True)
    home.flower.mkdir()
    log = home.flower / "fusion.log"
    log.write_text("earlier" * 1000)
    worker = FusionWorker(home, str(tmp_path / "nowhere"), tmp_path / "journal.jsonl")
    assert (worker.running(), worker.failure()) == (False, "")
    worker.start()
    until = time.monotonic() + 120
    while worker.running():
        assert time.monotonic() < until
        time.sleep(0.05)
    assert str(tmp_path / "nowhere") in worker.failure()
    assert worker.failure() in log.read_text()
    assert log.stat().st_size < 5000
    assert (home.flower / "fusion.log.old").read_text() == "earlier" * 1000
