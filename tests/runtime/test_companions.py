"""A program kept running beside another one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mos_runtime.companions import beside

# Tells its process id through a pipe, then waits; a reader of the pipe waits for it.
_PROGRAM = """
import os, signal, sys
with open(sys.argv[1], "w") as told:
    told.write(str(os.getpid()))
signal.pause()
"""
# Begins the companion and says who keeps it.
_PARENT = """
import signal, sys
from pathlib import Path
from mos_runtime.companions import beside
with beside(sys.argv[2:], log=Path(sys.argv[1])):
    signal.pause()
"""


@pytest.fixture
def told(tmp_path: Path) -> Path:
    pipe = tmp_path / "told"
    os.mkfifo(pipe)
    return pipe


def program(told: Path) -> list[str]:
    return [sys.executable, "-c", _PROGRAM, str(told)]


def started(told: Path) -> psutil.Process:
    """The program, once it runs."""
    return psutil.Process(int(told.read_text()))


def test_program_that_is_killed_is_started_again_and_ends_with_the_block(
    tmp_path: Path, told: Path
) -> None:
    with beside(program(told), log=tmp_path / "log"):
        first = started(told)
        first.kill()
        second = started(told)
        assert second.pid != first.pid
    assert not first.is_running()
    assert not second.is_running()


def test_program_ends_with_a_parent_that_is_killed(tmp_path: Path, told: Path) -> None:
    words = [sys.executable, "-c", _PARENT, str(tmp_path / "log"), *program(told)]
    with subprocess.Popen(words) as parent:
        companion = started(told)
        parent.send_signal(signal.SIGKILL)
    psutil.wait_procs([companion], timeout=30)
    assert not companion.is_running()
