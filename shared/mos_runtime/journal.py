"""What happened, as one JSON line per event, for those who watch.

Flower's processes come and go, one per message, and their output goes to logs; the
commands that supervise them read this file instead. Several processes may write: every
event is one append. It is for people and scripts; nothing is ever decided from it.

A journal that has grown to `MAX_JOURNAL_BYTES` is put aside as `NAME.1`, in the place
of the one before it, and begun anew. A reader goes through what is aside first.
"""

import json
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from mos_runtime.errors import StorageError
from mos_runtime.locking import locked

MAX_JOURNAL_BYTES: Final = 4 * 2**20
_MAX_LINE_BYTES: Final = 16 * 2**10
_LOCK_SECONDS: Final = 5.0


def aside(path: Path) -> Path:
    """Where a journal lies once another has taken its place."""
    return path.with_name(f"{path.name}.1")


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    kind: str
    """A short word: `accepted`, `published`, `tuning`, ..."""

    facts: Mapping[str, Any]
    """Plain values; `time` is seconds since 1970."""


class Journal:
    """The writing end."""

    def __init__(self, path: Path) -> None:
        """Events go to `path`, which is created with the first one."""
        self._path = path

    def write(self, kind: str, **facts: Any) -> None:
        """Append one event. A disk that is full costs the event, nothing else."""
        line = json.dumps({"event": kind, "time": time.time(), **facts}, sort_keys=True)
        content = line.encode() + b"\n"
        if len(content) > _MAX_LINE_BYTES:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            handle = os.open(self._path, flags, 0o600)
            try:
                os.write(handle, content)
                size = os.fstat(handle).st_size
            finally:
                os.close(handle)
            if size > MAX_JOURNAL_BYTES:
                self._put_aside()
        except (OSError, StorageError):
            return

    def _put_aside(self) -> None:
        lock = self._path.with_name(f".{self._path.name}.lock")
        with locked(lock, timeout_seconds=_LOCK_SECONDS):
            # Another process may have done so meanwhile.
            if self._path.stat().st_size > MAX_JOURNAL_BYTES:
                self._path.replace(aside(self._path))


class JournalReader:
    """The reading end: gives every event once, in order."""

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        """Read `path`, which need not exist yet.

        Args:
            path: The journal's file.
            from_end: Leave out what is already in it.
        """
        self._path = path
        self._file, self._offset = 0, 0
        if from_end:
            try:
                found = path.stat()
            except OSError:
                return
            self._file, self._offset = found.st_ino, found.st_size

    def new(self) -> tuple[Event, ...]:
        """The events written since the last call."""
        content = b""
        # Opened before what is aside: a file that moves there meanwhile is the same.
        with ExitStack() as stack:
            newest = _opened(self._path, stack)
            if newest is None:
                return ()
            number = os.fstat(newest.fileno()).st_ino
            if number != self._file:
                content += self._left_over(_opened(aside(self._path), stack), number)
                self._file, self._offset = number, 0
            whole = _lines_from(newest, self._offset)
        self._offset += len(whole)
        return tuple(
            e for line in (content + whole).splitlines() if (e := _event(line))
        )

    def _left_over(self, older: BinaryIO | None, newest: int) -> bytes:
        """What was not read of the file before the one that is read from now on."""
        if older is None:
            return b""
        number = os.fstat(older.fileno()).st_ino
        if number == newest:
            return b""  # it was moved just now, and is read under its old name
        return _lines_from(older, self._offset if number == self._file else 0)


def _opened(path: Path, stack: ExitStack) -> BinaryIO | None:
    try:
        return stack.enter_context(path.open("rb"))
    except OSError:
        return None


def _lines_from(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    content = file.read()
    return content[: content.rfind(b"\n") + 1]


def _event(line: bytes) -> Event | None:
    try:
        facts = json.loads(line)
        return Event(str(facts.pop("event")), facts)
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
