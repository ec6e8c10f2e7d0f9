"""Events in words: what `mos-server serve` prints, and the centre's page shows."""

from collections.abc import Callable
from typing import Final

from mos_runtime.journal import Event


def line_of(event: Event) -> str:
    """An event in one line; "" for one that is not worth a line."""
    return _LINES[event.kind](event) if event.kind in _LINES else ""


_LINES: Final[dict[str, Callable[[Event], str]]] = {
    "monitored": lambda event: (
        f"http://127.0.0.1:{event.facts['port']}/healthz and /metrics"
    ),
    "page": lambda event: f"the page's addresses are in {event.facts['file']}",
    "page-failed": lambda event: f"no page: {event.facts['reason']}",
    "listening": lambda event: f"sites may connect to {event.facts['address']}",
    "serving": lambda _: "ready",
    "restarting": lambda event: f"starting anew: {event.facts['reason']}",
    "resubmitting": lambda event: f"a new run: {event.facts['reason']}",
    "crashed": lambda event: f"the run crashed: {event.facts['reason']}",
    "door-open": lambda event: f"{event.facts['site']} may connect",
    "door-shut": lambda event: f"{event.facts['site']} may not connect any more",
    "not-registered": lambda event: (
        f"{event.facts['site']}: its node key was not taken: {event.facts['reason']}"
    ),
    "joined": lambda event: (
        f"{event.facts['site']} is here and holds release {event.facts['release']}"
    ),
    "left": lambda event: f"{event.facts['site']} is gone",
    "stranger": lambda _: "a node that no site enrolled is ignored",
    "accepted": lambda event: (
        f"{event.facts['site']}: bundle {event.facts['digest'][:12]} accepted, "
        f"{event.facts['bytes']} bytes"
    ),
    "refused": lambda event: (
        f"{event.facts['site']}: bundle {event.facts['digest'][:12]} refused, "
        f"{event.facts['reason']}"
    ),
    "left-out": lambda event: (
        f"{event.facts['site']}/{event.facts['concept']} is left out: "
        f"{event.facts['reason']}"
    ),
    "fusion-started": lambda event: f"fusing {event.facts['concepts']} concept(s)",
    "published": lambda event: (
        f"release {event.facts['version']}: "
        + (", ".join(event.facts["concepts"]) or "no concept is left")
    ),
    "fusion-failed": lambda event: f"no release: {event.facts['reason']}",
    "delivered": lambda event: (
        f"{event.facts['site']} holds release {event.facts['version']}"
    ),
    "not-delivered": lambda event: (
        f"{event.facts['site']} refused release {event.facts['version']}: "
        f"{event.facts['reason']}"
    ),
    "tuned": lambda event: f"{event.facts['site']} has tuned what it was asked for",
    "tune-failed": lambda event: (
        f"{event.facts['site']} did not tune: {event.facts['reason']}"
    ),
    "tune-postponed": lambda event: (
        f"{event.facts['site']} does not tune now: {event.facts['reason']}"
    ),
    "failed": lambda event: (
        f"{event.facts['site']}: {event.facts['action']} failed: "
        f"{event.facts['reason']}"
    ),
}
