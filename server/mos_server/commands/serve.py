"""`mos-server serve`: the federation, until Ctrl-C or SIGTERM."""

import json as json_format
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mos_shared.console import console

if TYPE_CHECKING:
    from mos_protocol.journal import Event


def serve(
    address: Annotated[
        str, typer.Option(help="HOST:PORT that sites connect to.")
    ] = "127.0.0.1:9092",
    home: Annotated[Path | None, typer.Option(help="The centre's home.")] = None,
    base: Annotated[
        str, typer.Option(help="`mini`, a pipeline directory, or a hub name.")
    ] = "mini",
    host: Annotated[
        list[str] | None,
        typer.Option(help="A further name of this machine, for its certificate."),
    ] = None,
    fuse_after: Annotated[
        float,
        typer.Option(min=0, help="Seconds without a new bundle before a fusion."),
    ] = 5.0,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="No TLS, no node keys; loopback only.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line.")
    ] = False,
) -> None:
    """Serve the federation: verify bundles, fuse them, send out releases.

    Sites may be admitted and revoked while it serves. It restarts what fails, and
    leaves no process behind.
    """
    from mos_protocol.processes import stopping_on_signals
    from mos_server.home import CentreHome
    from mos_server.supervising import ServeSettings, serve_centre
    from mos_shared.base_files import read_inventory

    settings = ServeSettings(
        address,
        base=base,
        insecure=insecure,
        hosts=tuple(host or ()),
        settle_seconds=fuse_after,
    )
    read_inventory(base)
    centre = CentreHome.open(home, create=True)

    def tell(event: "Event") -> None:
        if json:
            line = {"event": event.kind, **event.facts}
            sys.stdout.write(json_format.dumps(line, sort_keys=True) + "\n")
            sys.stdout.flush()
        elif event.kind in _LINES:
            _say(_LINES[event.kind](event))

    with stopping_on_signals() as stopping:
        serve_centre(centre, settings, stopping=stopping, on_event=tell)
    if not json:
        _say("stopped")


_LINES: Final[dict[str, Callable[["Event"], str]]] = {
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
    "fusion-started": lambda event: f"fusing {event.facts['concepts']} concept(s)",
    "published": lambda event: (
        f"release {event.facts['version']}: " + ", ".join(event.facts["concepts"])
    ),
    "fusion-failed": lambda event: f"no release: {event.facts['reason']}",
    "delivered": lambda event: (
        f"{event.facts['site']} holds release {event.facts['version']}"
    ),
    "not-delivered": lambda event: (
        f"{event.facts['site']} refused release {event.facts['version']}: "
        f"{event.facts['reason']}"
    ),
    "failed": lambda event: (
        f"{event.facts['site']}: {event.facts['action']} failed: "
        f"{event.facts['reason']}"
    ),
}


def _say(line: str) -> None:
    clock = time.strftime("%H:%M:%S")
    console.print(f"{clock} {line}", markup=False, soft_wrap=True)
