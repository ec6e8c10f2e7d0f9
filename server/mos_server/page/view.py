"""What the page shows: the registry and a running `serve`'s own word, as plain values.

Reading is all that happens here. Tabs ask every second or two; they share one answer,
which is made anew no more often than a quarter of one core can.
"""

import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from mos_runtime.errors import MosError
from mos_runtime.journal import JournalReader
from mos_server.federation.events import CENTRE_EVENTS, Page, PageFailed
from mos_server.federation.names import JOURNAL_FILE
from mos_server.page.evidence import has_evidence
from mos_server.registry.home import CentreHome
from mos_server.registry.records import ReleaseRecord
from mos_server.registry.registry import Registry
from mos_server.registry.storage.tables import CURRENT
from mos_server.serving.status import centre_status, site_rows

MOST_ROWS: Final = 200
"""Bundles and refusals shown, the newest ones."""

_MOST_LINES: Final = 60
_OWN: Final = (Page, PageFailed)
"""Events of the page itself, which tell paths of this machine."""

_FRESH_SECONDS: Final = 0.8
_REST: Final = 3.0
"""Seconds of rest for each second that an answer took."""

_LONG_PARTS: Final = ("layers", "spill")
"""What of a fusion report grows with layers and with pairs of concepts."""


class CentreView:
    """One centre as its page shows it; threads may share it."""

    def __init__(self, home: CentreHome, registry: Registry) -> None:
        """Nothing is read yet."""
        self._home, self._registry = home, registry
        self._journal = JournalReader(home.flower / JOURNAL_FILE, CENTRE_EVENTS)
        self._lines: deque[dict[str, Any]] = deque(maxlen=_MOST_LINES)
        self._reports: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._answer: dict[str, Any] = {}
        self._again_at = float("-inf")

    def centre(self) -> dict[str, Any]:
        """All but the releases; `seen` changes whenever anything else does.

        Raises:
            MosError: the registry cannot be read.
        """
        with self._lock:
            began = time.monotonic()
            if began >= self._again_at:
                found = self._read()
                text = json.dumps(found, sort_keys=True).encode()
                self._answer = {"seen": hashlib.sha256(text).hexdigest(), **found}
                now = time.monotonic()
                self._again_at = now + max(_FRESH_SECONDS, _REST * (now - began))
            return self._answer

    def forget(self) -> None:
        """Read anew at the next question: something was changed here."""
        with self._lock:
            self._again_at = float("-inf")

    def releases(self) -> list[dict[str, Any]]:
        """Every release, the newest first, with its report's figures where kept."""
        return [
            {
                "version": one.version,
                "digest": one.digest,
                "created": one.created,
                "expires": one.expires,
                "bytes": one.size,
                "base": one.base,
                "signer": one.signer,
                "whole": one.whole,
                "concepts": list(one.concepts),
                "report": self._figures(one),
            }
            for one in reversed(self._registry.published.all())
        ]

    def _read(self) -> dict[str, Any]:
        home, registry, now = self._home, self._registry, int(time.time())
        status = centre_status(home, registry)
        stands = {site["site"]: site for site in status.pop("sites")}
        return {
            "status": status,
            "sites": [
                row
                | {
                    "connected": stands.get(row["site"], {}).get("connected", False),
                    "heard": stands.get(row["site"], {}).get("heard"),
                }
                for row in site_rows(registry, now)
            ],
            "bundles": self._bundles(),
            "refusals": self._refusals(),
            "left_out": [asdict(one) for one in registry.bundles.left_out()][
                : -MOST_ROWS - 1 : -1
            ],
            "quarantine": [
                asdict(one) | {"pictures": has_evidence(home, one.digest)}
                for one in registry.quarantine.held()
            ],
            "orders": [
                asdict(one) | {"state": one.state} for one in registry.orders.all()
            ][: -MOST_ROWS - 1 : -1],
            "activity": self._activity(),
        }

    def _bundles(self) -> list[dict[str, Any]]:
        """The newest ones; of those of revoked sites the state is `revoked`."""
        fused = {one.digest for one in self._registry.bundles.current()}
        return [
            asdict(one)
            | {
                "state": "revoked"
                if one.state == CURRENT and one.digest not in fused
                else one.state,
                "pictures": has_evidence(self._home, one.digest),
            }
            for one in self._registry.bundles.newest(MOST_ROWS)
        ]

    def _refusals(self) -> list[dict[str, Any]]:
        names = {one.key.key_id: one.name for one in self._registry.membership.sites()}
        newest = self._registry.refusals.all()[: -MOST_ROWS - 1 : -1]
        return [
            {
                "site": names.get(one.sender, ""),
                "sender": one.sender,
                "digest": one.digest,
                "reason": one.reason,
                "text": one.text,
                "received": one.received,
                "kept": one.path is not None,
            }
            for one in newest
        ]

    def _activity(self) -> list[dict[str, Any]]:
        """What happened of late, the newest first."""
        for entry in self._journal.new():
            if entry.event.line and not isinstance(entry.event, _OWN):
                self._lines.append(
                    {
                        "time": entry.time,
                        "kind": entry.kind,
                        "text": entry.event.line,
                    }
                )
        return list(reversed(self._lines))

    def _figures(self, release: ReleaseRecord) -> dict[str, Any] | None:
        """The short part of a release's report, which never changes.

        None where it was renewed without a fusion, or its report is not kept any more.
        """
        known = self._reports.get(release.digest)
        if known is not None or not release.report_path.is_file():
            return known
        try:
            report = self._registry.published.report(release.version)
        except MosError:
            return None  # damaged, or gone just now
        found = self._reports[release.digest] = _short(report)
        return found


def _short(report: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in report.items() if key not in _LONG_PARTS}
    found["concepts"] = {
        name: {key: value for key, value in one.items() if key not in _LONG_PARTS}
        for name, one in report["concepts"].items()
    }
    return found
