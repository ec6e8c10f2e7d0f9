"""Supervised processes: none is left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mos_runtime import processes
from mos_runtime.processes import BackOff, Family, stopping_on_signals

# A program whose child moves to a session of its own, ignores SIGTERM and outlives it.
_PARENT = """
import subprocess, sys
command = [sys.executable, "-c", sys.argv[2], sys.argv[1]]
subprocess.Popen(command, start_new_session=True)
"""
_CHILD = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(sys.argv[1], "w") as told:
    told.write(str(os.getpid()))
signal.pause()
"""


def test_child_that_left_its_session_and_ignores_sigterm_is_ended_too(
    tmp_path: Path,
) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    command = [sys.executable, "-c", _PARENT, str(told), _CHILD]
    family = Family(command, env=os.environ, log=tmp_path / "log")
    child = psutil.Process(int(told.read_text()))
    assert child.is_running()
    family.stop(grace_seconds=0.1)
    assert not child.is_running()
    assert family.exit_code() is not None


def test_other_children_of_this_process_are_left_alone(tmp_path: Path) -> None:
    other = Family(_waiting(), env=os.environ, log=tmp_path / "other")
    family = Family(_waiting(), env=os.environ, log=tmp_path / "log")
    family.stop(grace_seconds=5.0)
    assert other.exit_code() is None
    other.stop(grace_seconds=5.0)


_BUSY = """
import subprocess, sys, time
if len(sys.argv) > 1:
    sys.exit(subprocess.call([sys.executable, "-c", sys.argv[1]]))
while time.process_time() < 600:
    pass
"""


def test_computing_of_a_program_and_of_what_it_started_is_seen(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _BUSY, _BUSY]
    family = Family(command, env=os.environ, log=tmp_path / "log")
    try:
        while family.cpu_seconds() < 0.5:
            pass
        before = family.cpu_seconds()
        while family.cpu_seconds() < before + 0.2:
            pass
    finally:
        family.stop(grace_seconds=5.0)
    assert family.cpu_seconds() == 0.0


_TALKATIVE = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
for number in range(100):
    print(f"{number:02d}" * 1000, flush=True)
    signal.sigwait([signal.SIGUSR1])
"""


def test_log_of_a_running_program_stays_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "MAX_LOG_BYTES", 5000)
    log = tmp_path / "log"
    command = [sys.executable, "-c", _TALKATIVE]
    family = Family(command, env=os.environ, log=log)
    seen = set[str]()
    try:
        for number in range(20):
            while f"{number:02d}" * 1000 not in log.read_text():
                assert family.exit_code() is None
            seen |= set(log.read_text().splitlines())
            family.reap()
            assert log.stat().st_size <= 5000
            os.kill(family.pid, signal.SIGUSR1)
    finally:
        family.stop(grace_seconds=5.0)
    assert seen == {f"{number:02d}" * 1000 for number in range(20)}
    assert (tmp_path / "log.old").stat().st_size < 10_000


_SUPERVISOR = """
import os, signal, sys
from pathlib import Path
from mos_runtime.processes import Family
command = [sys.executable, "-c", "import signal; signal.pause()"]
family = Family(command, env=os.environ, log=Path(sys.argv[1]))
print(family.pid, flush=True)
signal.pause()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does it on Linux only")
def test_program_of_a_supervisor_that_was_killed_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SUPERVISOR, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        program = psutil.Process(int(supervisor.stdout.readline()))
        assert program.is_running()
        supervisor.kill()
    _wait_for_the_end(program)


_STARTS_A_WAITING_ONE = """
import signal, sys
from types import ModuleType
from mos_runtime.processes import end_with_us
module = ModuleType("module")
exec("import subprocess", vars(module))
end_with_us(module)
command = [sys.executable, "-c", "import signal; signal.pause()"]
started = module.subprocess.Popen(command)
print(started.pid, flush=True)
signal.pause()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does it on Linux only")
def test_what_a_module_starts_ends_with_a_parent_that_is_never_reaped() -> None:
    command = [sys.executable, "-c", _STARTS_A_WAITING_ONE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        started = psutil.Process(int(starter.stdout.readline()))
        psutil.Process(starter.pid).kill()  # a zombie: its PID stays taken
        _wait_for_the_end(started)
        assert psutil.Process(starter.pid).status() == psutil.STATUS_ZOMBIE


def _wait_for_the_end(process: psutil.Process) -> None:
    """Until it is gone, or a zombie that its parent has not reaped."""
    until = time.monotonic() + 60
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until, process
            time.sleep(0.05)


def _waiting() -> list[str]:
    return [sys.executable, "-c", "import signal; signal.pause()"]


def test_sigterm_asks_to_stop_and_the_old_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping_on_signals() as stopping:
        assert not stopping
        signal.raise_signal(signal.SIGTERM)
        assert stopping.wait(0.0)
    assert signal.getsignal(signal.SIGTERM) is before


def test_waits_double_up_to_the_longest_and_start_anew_once_it_worked() -> None:
    back_off = BackOff(first=1.0, longest=5.0)
    assert [back_off.failed() for _ in range(4)] == [1, 2, 4, 5]
    back_off.worked()
    assert back_off.failed() == 1
