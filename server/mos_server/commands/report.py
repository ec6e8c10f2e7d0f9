"""`mos-server report`: what the fusion behind a release kept of each concept."""

from pathlib import Path
from typing import Annotated

import typer

from mos_runtime.console import ForceOption, console
from mos_runtime.files import write_atomically
from mos_runtime.outputs import output_file
from mos_server.commands.options import HomeOption


def report(
    out: Annotated[Path, typer.Option(help="The page, one HTML file.")],
    release: Annotated[
        int | None, typer.Argument(help="Which release; the newest by default.")
    ] = None,
    force: ForceOption = False,
    home: HomeOption = None,
) -> None:
    """Write a release's fusion report as a page with heat maps.

    It shows the loss of each concept and layer, and which concepts interfere.
    """
    from mos_server.fusion.report.page import render_report
    from mos_server.registry.home import CentreHome
    from mos_server.registry.registry import Registry

    output_file(out, force=force, suffixes=(".html", ".htm"))
    content = Registry(CentreHome.open(home)).published.report(release)
    write_atomically(out, render_report(content).encode())
    console.print(f"report of release {content['version']}: {out}", markup=False)
