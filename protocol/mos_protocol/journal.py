"""What happened, as one JSON line per event, for those who watch.

Flower's processes come and go, one per message, and their output goes to logs; the
commands that supervise them read this file instead. Several processes may write: every
event is one append. It is for people and scripts; nothing is ever decided from it.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MAX_LINE_BYTES = 16 * 2**10


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
            finally:
                os.close(handle)
        except OSError:
            return


class JournalReader:
    """The reading end: gives every event once, in order."""

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        """Read `path`, which need not exist yet.

        Args:
            path: The journal's file.
            from_end: Leave out what is already in it.
        """
        self._path = path
        self._offset = path.stat().st_size if from_end and path.exists() else 0

    def new(self) -> tuple[Event, ...]:
        """The events written since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except OSError:
            return ()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return tuple(e for line in whole.splitlines() if (e := _event(line)))


def _event(line: bytes) -> Event | None:
    try:
        facts = json.loads(line)
        return Event(str(facts.pop("event")), facts)
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
