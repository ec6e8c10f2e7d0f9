"""`mos-client layout`: look at a layout before anything is sampled."""

from pathlib import Path
from typing import Annotated

import typer

from mos_shared.console import console, new_app

layout = new_app("Layouts: what stands where in a picture.")


@layout.command()
def preview(
    file: Annotated[Path, typer.Argument(help="The layout's JSON file.")],
    out: Annotated[
        Path | None, typer.Option(help="PNG file; FILE.preview.png by default.")
    ] = None,
    size: Annotated[
        str, typer.Option(help="WxH in pixels, where the file gives none.")
    ] = "512x512",
) -> None:
    """Draw a layout's regions with their prompts."""
    from mos_client.commands.sample import parsed_size
    from mos_shared.files import write_atomically
    from mos_shared.sampling.layout_file import read_layout
    from mos_shared.sampling.record import png_bytes
    from mos_shared.sampling.showing import layout_preview

    picture = layout_preview(read_layout(file, size=parsed_size(size)))
    path = out or file.with_suffix(".preview.png")
    write_atomically(path, png_bytes(picture))
    console.print(f"{path}", markup=False)
