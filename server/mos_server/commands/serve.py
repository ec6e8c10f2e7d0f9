"""`mos-server serve`: the federation, until Ctrl-C or SIGTERM."""

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

import mos_server
from mos_runtime.console import console
from mos_server.commands.options import DeviceOption

if TYPE_CHECKING:
    from mos_runtime.journal import Entry
    from mos_server.federation.events import CentreEvent
    from mos_server.registry.home import CentreHome
    from mos_server.serving.supervising import ServeSettings


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
    longest_poll: Annotated[
        float,
        typer.Option(
            min=0,
            max=300,
            help="Seconds for which a site waits for news before it asks again.",
        ),
    ] = 20.0,
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
    page: Annotated[
        bool, typer.Option("--page", help="Serve the centre's page too; see `page`.")
    ] = False,
    page_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Loopback port of the page.")
    ] = 8643,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File with the passphrase of the private keys.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", "--log-json", help="Print JSON, one event a line.")
    ] = False,
) -> None:
    """Serve the federation: verify bundles, fuse them, send out releases.

    Sites may be admitted and revoked while it serves. It restarts what fails, and
    leaves no process behind. `mos-server status` shows its state.
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
        wait_seconds=longest_poll,
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

    def show(entry: "Entry[CentreEvent]") -> None:
        if json:
            sys.stdout.write(entry.to_json() + "\n")
            sys.stdout.flush()
        elif entry.event.line:
            _say(entry.event.line)

    page_process = nullcontext() if not page else _page(centre, settings, page_port)
    with stopping_on_signals() as stopping, page_process, line or nullcontext():
        serve_centre(
            centre,
            settings,
            stopping=stopping,
            on_event=show,
            on_status=None
            if line is None
            else lambda status: line.update(escape(status)),
        )
    if not json:
        _say("stopped")


def _page(
    centre: "CentreHome", settings: "ServeSettings", port: int
) -> AbstractContextManager[None]:
    """The page, kept running by a process of its own."""
    from mos_runtime.companions import companion
    from mos_runtime.flower_env import split_address

    command = [sys.executable, "-m", mos_server.__name__, "page"]
    command += ["--home", str(centre.folder), "--port", str(port)]
    command += ["--base", settings.base]
    if split_address(settings.address)[0] not in ("0.0.0.0", "::"):
        command += ["--address", settings.address]
    if settings.insecure:
        command += ["--insecure"]
    return companion(command, log=centre.flower / "page.log")


def _say(line: str) -> None:
    clock = time.strftime("%H:%M:%S")
    console.print(f"{clock} {line}", markup=False, soft_wrap=True)
