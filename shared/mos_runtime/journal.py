"""What happened, as one JSON line per event, for those who watch.

Flower's processes come and go, one per message, and their output goes to logs; the
commands that supervise them read this file instead. Several processes may write: every
event is one append. It is for people and scripts; nothing is ever decided from it.

Events are frozen dataclasses of plain values, and a journal's events are one union of
them: `FusionFailed(reason)` is the line `{"event": "fusion-failed", "reason": ...,
"time": ...}`. `Codec` reads it back; a line of another version is passed over.

A journal that has grown to `MAX_JOURNAL_BYTES` is put aside as `NAME.1`, in the place
of the one before it, and begun anew. A reader goes through what is aside first.
"""

import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Final, Generic, TypeVar, get_args

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
    """One thing that happened; fields are text, numbers, or tuples of text."""

    @classmethod
    def kind(cls) -> str:
        """The class's name as the journal has it, for instance `fusion-failed`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    TEXT: ClassVar[str] = ""
    """For people, with fields in braces; "" where it is not worth a line."""

    @property
    def line(self) -> str:
        """For people, in one line; "" where it is not worth one."""
        return self.TEXT.format_map(asdict(self))


E_co = TypeVar("E_co", bound=Event, covariant=True)


@dataclass(frozen=True)
class Entry(Generic[E_co]):
    """An event, and when it happened."""

    event: E_co
    time: float = field(default_factory=time.time)
    """Unix time, seconds."""

    @property
    def kind(self) -> str:
        """The event's kind."""
        return self.event.kind()

    @property
    def facts(self) -> Mapping[str, Any]:
        """The event's fields."""
        return asdict(self.event)

    def to_json(self) -> str:
        """The journal's line, without its end."""
        line = {"event": self.kind, "time": self.time, **self.facts}
        return json.dumps(line, sort_keys=True)


class Codec(Generic[E_co]):
    """Reads the lines of one union of events; `entry(x.to_json()) == x`."""

    def __init__(self, union: Any) -> None:
        """`union` is `One | Another | ...`, or one class."""
        self._kinds = {one.kind(): one for one in get_args(union) or (union,)}

    def entry(self, line: str | bytes) -> Entry[E_co] | None:
        """The event of a line; None where it is none of the union."""
        try:
            facts = json.loads(line)
            kind = self._kinds[facts["event"]]
            values = {
                one.name: _value(facts[one.name], one.type) for one in fields(kind)
            }
            return Entry(kind(**values), float(facts["time"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


def _value(value: Any, wanted: Any) -> Any:
    """A JSON value as a field's type; raises TypeError where it is of another."""
    if wanted is float and type(value) in (int, float):
        return float(value)
    if wanted in (str, int) and type(value) is wanted:
        return value
    if wanted == tuple[str, ...] and all(type(one) is str for one in value):
        return tuple(value)
    raise TypeError(f"not a {wanted}")


class Journal:
    """The writing end."""

    def __init__(self, path: Path) -> None:
        """Events go to `path`, which is created with the first one."""
        self._path = path

    def write(self, event: Event) -> None:
        """Append one event. A disk that is full costs the event, nothing else."""
        content = Entry(event).to_json().encode() + b"\n"
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


class JournalReader(Generic[E_co]):
    """The reading end: gives every event once, in order."""

    def __init__(
        self, path: Path, codec: Codec[E_co], *, from_end: bool = False
    ) -> None:
        """Read `path`, which need not exist yet.

        Args:
            path: The journal's file.
            codec: Of the events that it holds.
            from_end: Leave out what is already in it.
        """
        self._path, self._codec = path, codec
        self._file, self._offset = 0, 0
        if from_end:
            try:
                found = path.stat()
            except OSError:
                return
            self._file, self._offset = found.st_ino, found.st_size

    def new(self) -> tuple[Entry[E_co], ...]:
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
        found = map(self._codec.entry, (content + whole).splitlines())
        return tuple(entry for entry in found if entry is not None)

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
