"""Processes that are supervised: started, restarted, and none left behind.

Flower's programs start further programs, some in sessions of their own. A `Family`
finds all of them: on Linux this process adopts its orphaned grandchildren, elsewhere
the tree is read before its root is stopped. A supervisor that is killed cannot stop
anything: on Linux the system then ends its programs, and Flower's end with those.
"""

import contextlib
import ctypes
import functools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType, SimpleNamespace
from typing import Final

import psutil

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
GRACE_SECONDS: Final = 8.0
"""How long a process may take to end by itself."""

MAX_LOG_BYTES: Final = 16 * 2**20
_KILL_SECONDS: Final = 60.0
_LOOK_EVERY_SECONDS: Final = 0.05


class Family:
    """One supervised program and everything it starts."""

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], log: Path
    ) -> None:
        """Start the program; it ends with the thread that starts it here.

        Args:
            command: The program and its arguments.
            env: Its whole environment.
            log: Its output is appended here. One that has grown to `MAX_LOG_BYTES` is
                put aside as NAME.old, in the place of the one before it.
        """
        _adopt_orphans()
        self._log = log
        self._others = {child.pid for child in psutil.Process().children()}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            # Ctrl-C at a terminal goes to the whole foreground group; a session of
            # its own lets the supervisor decide the order of things.
            self._root = subprocess.Popen(
                list(command),
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._root.pid

    def exit_code(self) -> int | None:
        """The program's exit code, None while it runs."""
        return self._root.poll()

    def cpu_seconds(self) -> float:
        """What the program and all that it has started, and still runs, computed."""
        total = 0.0
        for member in self._members():
            with contextlib.suppress(psutil.Error):
                times = member.cpu_times()
                total += times.user + times.system
        return total

    def reap(self) -> None:
        """Take leave of adopted processes that have ended; keep the log within bounds.

        Whoever supervises does so every now and then.
        """
        trim_log(self._log)
        for child in self._members():
            if child.pid == self.pid:
                continue
            with contextlib.suppress(psutil.Error, ChildProcessError):
                if (
                    child.status() == psutil.STATUS_ZOMBIE
                    and child.ppid() == os.getpid()
                ):
                    os.waitpid(child.pid, os.WNOHANG)

    def stop(self, *, grace_seconds: float = GRACE_SECONDS) -> None:
        """End the program and all that it started; returns once all are gone.

        Args:
            grace_seconds: How long they may take to end by themselves; then they are
                killed.
        """
        members = self._members()
        if self._root.poll() is None:
            self._root.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._root.wait(grace_seconds)
        members |= self._members()
        for attempt, seconds in (
            (psutil.Process.terminate, grace_seconds),
            (psutil.Process.kill, _KILL_SECONDS),
        ):
            for member in members:
                with contextlib.suppress(psutil.Error):
                    attempt(member)
            members = self._wait_for(members, seconds)
        self._root.wait()

    def _wait_for(
        self, members: set[psutil.Process], seconds: float
    ) -> set[psutil.Process]:
        """Wait until they and whatever they left are gone; those that are not."""
        until = time.monotonic() + seconds
        while True:
            self.reap()
            self._root.poll()
            members = {one for one in members | self._members() if one.is_running()}
            if not members or time.monotonic() > until:
                return members
            time.sleep(_LOOK_EVERY_SECONDS)

    def _members(self) -> set[psutil.Process]:
        own = psutil.Process()
        found: set[psutil.Process] = set()
        for child in own.children():
            if child.pid in self._others:
                continue
            found.add(child)
            with contextlib.suppress(psutil.Error):
                found.update(child.children(recursive=True))
        return found


class Stopping:
    """Set once SIGTERM or SIGINT came."""

    def __init__(self) -> None:
        """Not stopping yet."""
        self._event = threading.Event()

    def wait(self, seconds: float) -> bool:
        """Wait, but not past a signal; whether one came."""
        return self._event.wait(seconds)

    def __bool__(self) -> bool:
        """Whether a signal came."""
        return self._event.is_set()

    def set(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Ask to stop."""
        self._event.set()


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[Stopping]:
    """Within it, SIGTERM and SIGINT set the yielded object instead of killing."""
    stopping = Stopping()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, stopping.set) for number in numbers}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class BackOff:
    """Waits that double while things keep failing, and start anew once they work."""

    def __init__(self, *, first: float = 1.0, longest: float = 60.0) -> None:
        """Waits from `first` to `longest` seconds."""
        self._first, self._longest = first, longest
        self._next = first

    def worked(self) -> None:
        """The next failure waits shortly again."""
        self._next = self._first

    def failed(self) -> float:
        """Seconds to wait now."""
        now = self._next
        self._next = min(2 * now, self._longest)
        return now


def trim_log(log: Path) -> None:
    """Put a log of over `MAX_LOG_BYTES` aside, also while programs write to it.

    They append to its end: so its content is copied to LOG.old and the file cut. A line
    that comes in between is lost.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size > MAX_LOG_BYTES:
            shutil.copyfile(log, log.with_name(f"{log.name}.old"))
            os.truncate(log, 0)


def _adopt_orphans() -> None:
    """Linux: grandchildren whose parent ends become children of this process."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """Linux: the calling process is killed when its parent is gone, however it went."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def end_with_us(starting: ModuleType) -> None:
    """Linux: what a module starts by its `subprocess.Popen` ends with this process.

    Flower's programs end once no process has their parent's PID. In a container whose
    PID 1 does not reap orphans, a killed parent stays a zombie and keeps its PID.
    """
    popen = functools.partial(subprocess.Popen, preexec_fn=end_with_parent)
    changed = SimpleNamespace(**{**vars(subprocess), "Popen": popen})
    vars(starting)["subprocess"] = changed
