"""What a running centre knows of itself that is in no registry.

`mos-server serve` sees every event and keeps the sum in HOME/flower/live.json, which
`mos-server status` reads: who is connected, what is being fused, what was counted since
the start. It is for people and scripts; nothing is ever decided from it.
"""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from mos_runtime.errors import MosError, StorageError
from mos_runtime.files import read_whole, write_atomically
from mos_runtime.journal import Entry
from mos_runtime.locking import HeldError, locked
from mos_server.federation import events
from mos_server.federation.events import CentreEvent
from mos_server.registry.home import CentreHome

COUNTED: Final = (
    *(events.Accepted, events.Refused, events.Delivered, events.NotDelivered),
    *(events.Failed, events.Published, events.FusionFailed),
    *(events.Restarting, events.Resubmitting, events.Crashed),
)
"""Events that are counted."""


@dataclass
class LiveFacts:
    """A running centre, as far as its events have told."""

    pid: int = 0
    since: float = 0.0
    """When `serve` began, Unix time in seconds."""

    address: str = ""
    ready: bool = False
    """Whether sites can be talked to."""

    connected: dict[str, float] = field(default_factory=dict)
    """Site -> when it was last heard of, Unix time in seconds."""

    fusing: float | None = None
    """Share of the fusion that is done; None while there is none."""

    failure: str = ""
    """Why the last fusion failed; "" where it did not."""

    counts: dict[str, int] = field(
        default_factory=lambda: {one.kind(): 0 for one in COUNTED}
    )
    """Since `serve` began."""

    @staticmethod
    def read(path: Path) -> "LiveFacts":
        """What a centre has written; nothing known where it has not.

        Raises:
            StorageError: the file cannot be read.
        """
        if not path.is_file():
            return LiveFacts()
        content = read_whole(path, what="a centre's state", max_bytes=2**20)
        try:
            values: dict[str, Any] = json.loads(content)
            return LiveFacts(**values)
        except (ValueError, TypeError) as error:
            raise StorageError(f"{path}: not a centre's state; delete it") from error


class Watch:
    """Sums up events, and writes the sum."""

    def __init__(self, home: CentreHome, address: str) -> None:
        """Nothing has happened yet."""
        self.facts = LiveFacts(os.getpid(), time.time(), address)
        self._path = home.live_path

    def see(self, entry: Entry[CentreEvent]) -> None:
        """Take an event in."""
        facts, event = self.facts, entry.event
        if isinstance(event, COUNTED):
            facts.counts[event.kind()] += 1
        match event:
            case events.Serving():
                facts.ready, facts.connected = True, {}
            case events.Restarting() | events.Resubmitting() | events.Crashed():
                facts.ready, facts.connected, facts.fusing = False, {}, None
            case events.Joined(site):
                facts.connected[site] = entry.time
            case events.Left(site):
                facts.connected.pop(site, None)
            case events.FusionStarted():
                facts.fusing, facts.failure = 0.0, ""
            case events.Fusing(share=share):
                facts.fusing = share
            case events.Published():
                facts.fusing, facts.failure = None, ""
            case events.FusionFailed(reason):
                facts.fusing, facts.failure = None, reason
        site = getattr(event, "site", "")
        if site in facts.connected:
            facts.connected[site] = entry.time

    def write(self) -> None:
        """Put the sum on the disk; a disk that is full costs it, nothing else."""
        try:
            write_atomically(self._path, json.dumps(asdict(self.facts)).encode())
        except MosError:
            return


def is_serving(home: CentreHome) -> bool:
    """Whether a `mos-server serve` runs from this home, on this machine."""
    if not home.serving_lock.exists():
        return False
    try:
        with locked(home.serving_lock, timeout_seconds=0.0):
            return False
    except HeldError:
        return True
