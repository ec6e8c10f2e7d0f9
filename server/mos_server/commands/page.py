"""`mos-server page`: the centre's page, for its operator and for those who look on."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mos_runtime.console import console
from mos_server.commands.options import HomeOption
from mos_server.federation import events

if TYPE_CHECKING:
    from mos_pages import Keys


def page(
    base: Annotated[
        str, typer.Option(help="Base of all concepts, as `serve` has it.")
    ] = "mini",
    address: Annotated[
        str, typer.Option(help="host:port at which sites reach the centre.")
    ] = "",
    insecure: Annotated[
        bool, typer.Option(help="The centre serves without TLS, on loopback.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="TCP port; 0 is any free one.")
    ] = 8643,
    host: Annotated[
        str, typer.Option(help="Address to listen on; needs --password.")
    ] = "127.0.0.1",
    password: Annotated[
        str | None,
        typer.Option(
            envvar="MOS_PAGE_PASSWORD",
            help="Read-only access for other machines; actions need the token.",
        ),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Open the operator's page in a browser.")
    ] = False,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File with the passphrase of the private keys.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Serve the centre's page: its state, and the operator's actions.

    It runs next to `mos-server serve`, or alone; `serve --page` starts both. There are
    two addresses: the operator's, and a read-only one.
    """
    from mos_pages import Page, serve
    from mos_protocol.signed.keys import use_passphrase_file
    from mos_runtime.errors import MosError
    from mos_runtime.files import private_folder, write_atomically
    from mos_runtime.journal import Journal
    from mos_server.federation.names import JOURNAL_FILE
    from mos_server.page import PageSettings, centre_app
    from mos_server.registry.home import CentreHome
    from mos_server.registry.registry import Registry

    use_passphrase_file(passphrase_file)
    served = Page(
        "Centre", "mos-server page", host, port, password or None, viewers=True
    )
    centre = CentreHome.open(home)
    registry = Registry(centre)
    private_folder(centre.page, ours=False)
    addresses = centre.page / "addresses"
    journal = Journal(centre.flower / JOURNAL_FILE)

    def ready(keys: "Keys") -> None:
        lines = f"operator {keys.address}\nviewers  {keys.viewing_address}\n"
        write_atomically(addresses, lines.encode(), mode=0o600)
        journal.write(events.Page(file=str(addresses)))
        _say(addresses)
        if open_:
            import webbrowser

            webbrowser.open(keys.address)

    settings = PageSettings(base, address, insecure)
    try:
        serve(
            served,
            lambda keys: centre_app(registry, keys, settings),
            lock=centre.page / ".lock",
            ready=ready,
        )
    except MosError as error:
        journal.write(events.PageFailed(reason=str(error)))
        raise
    with suppress(OSError):
        addresses.unlink()


def _say(addresses: Path) -> None:
    """The addresses to a terminal; to a log only where they are."""
    if not console.is_terminal:
        console.print(f"page: {addresses} has its addresses", soft_wrap=True)
        return
    console.print(addresses.read_text().strip(), soft_wrap=True)
    console.print("Ctrl-C stops the page, and nothing else")
