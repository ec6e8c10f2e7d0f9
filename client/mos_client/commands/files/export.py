"""`mos-client export`: a concept or a release in the files of other tools."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mos_client.commands.options import HomeOption, JsonOption
from mos_runtime.console import ForceOption, console, print_json

if TYPE_CHECKING:
    from mos_model.concepts.concept import FusedModel

_MAX_MODEL_BYTES: Final = 4 * 2**30


class ExportFormat(StrEnum):
    """Whose files are written."""

    DIFFUSERS = "diffusers"
    KOHYA = "kohya"
    MERGED = "merged"


def export(
    file: Annotated[
        str,
        typer.Argument(
            help="A concept's or a release's file; a release received: its number, "
            "or `newest`."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Output folder.")],
    format_: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="LoRA for diffusers; LoRA for ComfyUI, A1111 and kohya; or a whole "
            "pipeline.",
        ),
    ] = ExportFormat.DIFFUSERS,
    base: Annotated[
        str, typer.Option(help="The base it was made for; `merged` needs it.")
    ] = "mini",
    force: ForceOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Write a concept or a release as files that other tools open."""
    from mos_model.bases.base import load_base
    from mos_model.interop import (
        export_diffusers,
        export_kohya,
        export_merged,
        layers_differ,
        words_of,
    )
    from mos_model.interop.folder import filled_folder
    from mos_runtime.outputs import output_folder

    output_folder(out, force=force)
    model = _model(file, home)
    with filled_folder(out) as folder:
        if format_ is ExportFormat.MERGED:
            export_merged(model, load_base(base), folder)
        elif format_ is ExportFormat.KOHYA:
            export_kohya(model, folder)
        else:
            export_diffusers(model, folder)
    words = [f"<{token}>" for token in words_of(model)]
    averaged = layers_differ(model)
    if json:
        print_json(
            {
                "folder": str(out),
                "format": format_.value,
                "words": words,
                "averaged": averaged,
                "files": sorted(
                    str(path.relative_to(out))
                    for path in out.rglob("*")
                    if path.is_file()
                ),
            }
        )
        return
    console.print(f"{out}: {', '.join(words)} for {format_.value}", markup=False)
    if averaged:
        console.print(
            "lost in it: a word of its own for every layer; other tools get the mean "
            "over layers, and draw the concept less exactly",
            markup=False,
        )


def _model(file: str, home: Path | None) -> "FusedModel":
    """A concept or a release as one model; one of the site's own is verified."""
    from mos_model.concepts.applying import as_fused
    from mos_model.concepts.concept import FUSED_FORMAT, Concept, FusedModel, format_of
    from mos_model.errors import ConceptError
    from mos_runtime.files import read_whole

    if file == "newest" or file.isdigit():
        from mos_client.store.home import SiteHome
        from mos_client.store.releases import ReleaseStore

        release, warnings = ReleaseStore(SiteHome.open(home)).usable(file)
        for warning in warnings:
            console.print(f"note: {warning}", markup=False, soft_wrap=True)
        return FusedModel.from_bytes(release.payload)
    path = Path(file)
    content = read_whole(
        path, what="a concept or a release", max_bytes=_MAX_MODEL_BYTES
    )
    try:
        if format_of(content) == FUSED_FORMAT:
            return FusedModel.from_bytes(content)
        return as_fused(Concept.from_bytes(content))
    except ConceptError as error:
        raise ConceptError(f"{path}: {error}") from error
