"""`mos-server report`: what the fusion behind a release kept of each concept."""

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from mos_runtime.console import ForceOption, console
from mos_runtime.files import read_whole, write_atomically
from mos_runtime.outputs import output_file
from mos_server.commands.options import HomeOption
from mos_server.errors import RegistryError


def report(
    out: Annotated[Path, typer.Option(help="The page, one HTML file.")],
    release: Annotated[
        int | None, typer.Argument(help="Which release; the newest by default.")
    ] = None,
    force: ForceOption = False,
    home: HomeOption = None,
) -> None:
    """Write a release's fusion report as a page with heat maps.

    It tells per concept and layer what is lost, and which concepts disturb each other.
    """
    from mos_server.fusion.report.page import render_report
    from mos_server.registry.home import CentreHome
    from mos_server.registry.registry import Registry

    output_file(out, force=force, suffixes=(".html", ".htm"))
    published = Registry(CentreHome.open(home)).published.all()
    wanted = [one for one in published if release in (None, one.version)]
    if not wanted:
        which = "no release yet" if release is None else f"release {release}: none such"
        raise RegistryError(f"{which}; `mos-server releases` lists what there is")
    path = wanted[-1].path.with_suffix(".report.json")
    if not path.is_file():
        raise RegistryError(
            f"release {wanted[-1].version} was not fused anew, so it has no report of "
            "its own; name an earlier one"
        )
    told = json_format.loads(read_whole(path, what="a fusion report"))
    write_atomically(out, render_report(told).encode())
    console.print(f"report of release {wanted[-1].version}: {out}", markup=False)
