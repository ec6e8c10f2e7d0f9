"""`mos-client join`: stay connected, send what is signed, receive releases."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mos_runtime.console import console

if TYPE_CHECKING:
    from mos_client.federation.events import SiteEvent
    from mos_runtime.journal import Entry


def join(
    welcome: Annotated[
        Path | None,
        typer.Argument(help="The centre's welcome (default: the stored one)."),
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="The site's home; see `enroll`.")
    ] = None,
    until_release: Annotated[
        int | None, typer.Option(min=1, help="Stop once this release is stored.")
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File with the passphrase of the site's key.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", "--log-json", help="Print JSON, one event a line.")
    ] = False,
) -> None:
    """Join a centre: send signed concepts from the outbox, receive releases.

    Runs and reconnects until Ctrl-C or SIGTERM. Only signed bundles leave this machine;
    no code from the centre runs on it.
    """
    from mos_client.errors import IdentityError
    from mos_client.federation.events import Release
    from mos_client.federation.joining import join_centre
    from mos_client.store.enrolment import keep_welcome, read_welcome
    from mos_client.store.home import SiteHome
    from mos_client.store.releases import ReleaseStore
    from mos_protocol.signed.keys import use_passphrase_file
    from mos_runtime.files import read_whole
    from mos_runtime.processes import stopping_on_signals

    use_passphrase_file(passphrase_file)
    site = SiteHome.open(home)
    if welcome is not None:
        content = read_whole(welcome, what="a welcome", max_bytes=_MAX_WELCOME_BYTES)
        known = keep_welcome(site, content)
    else:
        found = read_welcome(site)
        if found is None:
            raise IdentityError(
                f"{site.folder}: no welcome is stored; pass the welcome file that the "
                "centre sent for your enrolment request"
            )
        known = found
    held = ReleaseStore(site).held()
    if until_release and held is not None and held.version >= until_release:
        _say(f"release {held.version} is here already", json)
        return
    if not json:
        _say(f"{known.site} joins the centre at {known.address}; Ctrl-C leaves", json)

    def show(entry: "Entry[SiteEvent]") -> bool:
        if json:
            sys.stdout.write(entry.to_json() + "\n")
            sys.stdout.flush()
        elif entry.event.line:
            _say(entry.event.line, json)
        reached = entry.event.version if isinstance(entry.event, Release) else 0
        return bool(until_release and reached >= until_release)

    with stopping_on_signals() as stopping:
        join_centre(site, known, stopping=stopping, on_event=show)
    _say("left the centre", json)


_MAX_WELCOME_BYTES: Final = 2**20


def _say(line: str, json: bool) -> None:
    if not json:
        clock = time.strftime("%H:%M:%S")
        console.print(f"{clock} {line}", markup=False, soft_wrap=True)
