"""`mos-client studio`: the page to draw, sample and tune."""

from typing import Annotated

import typer

from mos_client.commands.options import HomeOption
from mos_runtime.console import console


def studio(
    base: Annotated[
        str, typer.Option(help="Base that the concepts were made for.")
    ] = "mini",
    open_: Annotated[
        bool, typer.Option("--open", help="Open the page in a browser.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="TCP port; 0 is any free one.")
    ] = 8642,
    host: Annotated[
        str, typer.Option(help="Address to listen on; needs --password.")
    ] = "127.0.0.1",
    password: Annotated[
        str | None,
        typer.Option(
            envvar="MOS_STUDIO_PASSWORD", help="Password for other machines' browsers."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, float32, bfloat16 or float16.")
    ] = "auto",
    home: HomeOption = None,
) -> None:
    """Serve a page on this machine to draw layouts, sample, and tune concepts."""
    from mos_client.studio import Studio
    from mos_client.studio.app import studio_app
    from mos_pages import Keys, Page, serve

    def ready(keys: Keys) -> None:
        console.print(f"studio: {keys.address}", markup=False, soft_wrap=True)
        console.print("Ctrl-C stops it; queued pictures are kept", markup=False)
        if open_:
            import webbrowser

            webbrowser.open(keys.address)

    page = Page("Studio", "mos-client studio", host, port, password or None)
    studio = Studio(home, base=base, device=device, precision=precision)
    serve(
        page,
        lambda keys: studio_app(studio, keys),
        lock=studio.home.studio / ".lock",
        ready=ready,
    )
