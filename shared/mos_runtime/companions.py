"""A program kept running beside this one, which it can neither stop nor hold up.

A keeper, a small process of its own, starts the program and starts it again whenever it
ends. Keeper and program end with whoever began them, however that went (Linux).
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from mos_runtime.processes import (
    BackOff,
    Family,
    Stopping,
    end_with_parent,
    stopping_on_signals,
)

_LOOK_EVERY_SECONDS: Final = 0.3
_WORKED_AFTER_SECONDS: Final = 60.0
_END_SECONDS: Final = 20.0


@contextlib.contextmanager
def companion(command: Sequence[str], *, log: Path) -> Iterator[None]:
    """Within it, a program is kept running; that it cannot be is no error.

    Begin it before any `Family` of this process: those then leave it alone.

    Args:
        command: The program and its arguments.
        log: Its output is appended here.
    """
    words = [sys.executable, "-m", __name__, str(log), *command]
    keeper = None
    with contextlib.suppress(OSError):
        keeper = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    try:
        yield
    finally:
        if keeper is not None:
            keeper.terminate()
            try:
                keeper.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                keeper.kill()
                keeper.wait()


def keep(command: Sequence[str], log: Path, stopping: Stopping) -> None:
    """Run a program until told to stop, anew whenever it ends.

    Args:
        command: The program and its arguments.
        log: Its output is appended here.
        stopping: Ends it.
    """
    back_off = BackOff()
    while not stopping:
        started = time.monotonic()
        family = Family(command, env=os.environ, log=log)
        try:
            while family.exit_code() is None:
                if stopping.wait(_LOOK_EVERY_SECONDS):
                    break
                family.reap()
        finally:
            family.stop()
        if time.monotonic() - started > _WORKED_AFTER_SECONDS:
            back_off.worked()
        stopping.wait(back_off.failed())


if __name__ == "__main__":
    with stopping_on_signals() as until_told:
        keep(sys.argv[2:], Path(sys.argv[1]), until_told)
