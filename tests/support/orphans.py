"""A machine that does not reap orphans, as a container without an init process."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from typing import Final

import psutil

_PR_SET_CHILD_SUBREAPER: Final = 36


@contextlib.contextmanager
def orphans_unreaped() -> Iterator[None]:
    """Orphans become children of this process, which reaps them only at the end.

    Linux only; elsewhere nothing is changed.
    """
    if sys.platform != "linux":
        yield
        return
    before = {child.pid for child in psutil.Process().children()}
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        for child in psutil.Process().children():
            if child.pid not in before and child.status() == psutil.STATUS_ZOMBIE:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child.pid, os.WNOHANG)
