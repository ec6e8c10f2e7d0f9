"""Our commands as processes of their own, watched by what they print."""

import contextlib
import ctypes
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import psutil

_PR_SET_CHILD_SUBREAPER: Final = 36
PATIENCE_SECONDS: Final = float(os.environ.get("MOS_TEST_PATIENCE", "240"))
"""A command that says nothing of what is waited for within this time has failed. On a
machine that is busy with other work, set the variable higher."""


class Program:
    """One running command with `--json`, and the events it prints."""

    def __init__(self, which: str, *words: object, **environment: str) -> None:
        """Start `mos-server` or `mos-client`.

        Args:
            which: "server" or "client".
            words: Its arguments.
            environment: Further variables.
        """
        code = f"from mos_{which}.cli import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, words), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment},
        )
        self.seen: list[dict[str, Any]] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors: list[str] = []
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        outputs = (
            (self._read, self._process.stdout),
            (self._note, self._process.stderr),
        )
        self._threads = [
            threading.Thread(target=read, args=(output,), daemon=True)
            for read, output in outputs
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self._lines.put(line)
        self._lines.put(None)

    def _note(self, output: IO[str]) -> None:
        with output:
            self._errors.extend(output)

    def wait_for(self, event: str, **facts: object) -> dict[str, Any]:
        """The next event of a kind that holds these facts.

        Raises:
            AssertionError: the program ended, or said nothing of it in time.
        """
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE_SECONDS)
            except queue.Empty:
                raise AssertionError(f"no {event} {facts}: {self._story()}") from None
            if line is None:
                raise AssertionError(f"ended before {event} {facts}: {self._story()}")
            told: dict[str, Any] = json.loads(line)
            self.seen.append(told)
            if told["event"] == event and facts.items() <= told.items():
                return told

    def family(self) -> list[psutil.Process]:
        """The process and all that it has started."""
        own = psutil.Process(self._process.pid)
        return [own, *own.children(recursive=True)]

    def end(self) -> int:
        """SIGTERM; the exit code."""
        self._process.terminate()
        code = self._process.wait(PATIENCE_SECONDS)
        for thread in self._threads:
            thread.join()
        return code

    def lose(self) -> None:
        """SIGKILL for this process alone, which nobody can catch."""
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)
        for thread in self._threads:
            thread.join()

    def kill(self) -> None:
        """End it at once with all that it started, after a test that failed."""
        if self._process.poll() is None:
            for one in reversed(self.family()):
                one.kill()
        self._process.wait(PATIENCE_SECONDS)
        for thread in self._threads:
            thread.join()

    def _story(self) -> str:
        return f"{self.seen} {''.join(self._errors)}"


def processes_about(folder: Path) -> list[str]:
    """Every process of this machine whose command or environment names a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if any(str(folder) in word for word in words):
            found.append(" ".join(process.cmdline()))
    return found


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
