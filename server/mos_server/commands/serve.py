"""`mos-server serve`: the federation, until Ctrl-C or SIGTERM."""

import json as json_format
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer
from rich.markup import escape

from mos_runtime.console import console
from mos_server.commands.options import DeviceOption

if TYPE_CHECKING:
    from mos_runtime.journal import Event


def serve(
    address: Annotated[
        str, typer.Option(help="HOST:PORT that sites connect to.")
    ] = "127.0.0.1:9092",
    home: Annotated[Path | None, typer.Option(help="The centre's home.")] = None,
    base: Annotated[
        str, typer.Option(help="`mini`, a pipeline directory, or a hub name.")
    ] = "mini",
    device: DeviceOption = "auto",
    host: Annotated[
        list[str] | None,
        typer.Option(help="A further name of this machine, for its certificate."),
    ] = None,
    fuse_after: Annotated[
        float,
        typer.Option(min=0, help="Seconds without a new bundle before a fusion."),
    ] = 5.0,
    fuse_within: Annotated[
        float,
        typer.Option(
            min=0, help="Longest wait for a fusion while bundles keep coming, seconds."
        ),
    ] = 300.0,
    gate: Annotated[
        Literal["on", "off"],
        typer.Option(
            help="Hold a release that changes generic pictures or other concepts."
        ),
    ] = "on",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="No TLS, no node keys; loopback only.")
    ] = False,
    keep_releases: Annotated[
        int, typer.Option(min=1, help="Releases kept whole; older ones' proofs stay.")
    ] = 10,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of /healthz, /metrics; loopback."),
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Holds the passphrase of the private keys.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", "--log-json", help="Print JSON, one event a line.")
    ] = False,
) -> None:
    """Serve the federation: verify bundles, fuse them, send out releases.

    Sites may be admitted and revoked while it serves. It restarts what fails, and
    leaves no process behind. `mos-server status` tells how it stands.
    """
    from mos_model.bases.base_files import read_inventory
    from mos_protocol.signed.keys import use_passphrase_file
    from mos_runtime.processes import stopping_on_signals
    from mos_server.registry.home import CentreHome
    from mos_server.serving.supervising import ServeSettings, serve_centre

    settings = ServeSettings(
        address,
        base=base,
        device=device,
        gate=gate == "on",
        insecure=insecure,
        hosts=tuple(host or ()),
        settle_seconds=fuse_after,
        longest_settle_seconds=fuse_within,
        keep_releases=keep_releases,
        metrics_port=metrics_port,
    )
    read_inventory(base)
    if device != "auto":
        from mos_model.devices import pick_device  # it brings torch along

        pick_device(device)
    use_passphrase_file(passphrase_file)
    centre = CentreHome.open(home, create=True)
    line = console.status("starting") if console.is_terminal and not json else None

    def tell(event: "Event") -> None:
        if json:
            words = {"event": event.kind, **event.facts}
            sys.stdout.write(json_format.dumps(words, sort_keys=True) + "\n")
            sys.stdout.flush()
        elif event.kind in _LINES:
            _say(_LINES[event.kind](event))

    with stopping_on_signals() as stopping, line or nullcontext():
        serve_centre(
            centre,
            settings,
            stopping=stopping,
            on_event=tell,
            on_status=None if line is None else lambda told: line.update(escape(told)),
        )
    if not json:
        _say("stopped")


_LINES: Final[dict[str, Callable[["Event"], str]]] = {
    "monitored": lambda event: (
        f"http://127.0.0.1:{event.facts['port']}/healthz and /metrics"
    ),
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


def _say(line: str) -> None:
    clock = time.strftime("%H:%M:%S")
    console.print(f"{clock} {line}", markup=False, soft_wrap=True)
