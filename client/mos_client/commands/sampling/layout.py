"""`mos-client layout`: look at a layout before anything is sampled."""

from pathlib import Path
from typing import Annotated

import typer

from mos_runtime.console import ForceOption, console, new_app

layout = new_app("Layouts: the regions of a picture.")


@layout.command()
def preview(
    file: Annotated[Path, typer.Argument(help="The layout's JSON file.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Picture to write (default: FILE.preview.png)."),
    ] = None,
    size: Annotated[
        str, typer.Option(help="WxH in pixels, where the file gives none.")
    ] = "512x512",
    force: ForceOption = False,
) -> None:
    """Draw a layout's regions with their prompts."""
    from mos_client.commands.options import parsed_size
    from mos_model.layouts.layout_file import read_layout
    from mos_model.layouts.picture_file import SUFFIXES, picture_bytes
    from mos_model.layouts.preview import layout_preview
    from mos_runtime.files import write_atomically
    from mos_runtime.outputs import output_file

    path = file.with_suffix(".preview.png") if out is None else out
    output_file(path, force=force, suffixes=SUFFIXES)
    picture = layout_preview(read_layout(file, size=parsed_size(size)))
    write_atomically(path, picture_bytes(picture, path.suffix))
    console.print(f"{path}", markup=False)
