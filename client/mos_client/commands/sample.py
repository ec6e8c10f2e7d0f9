"""`mos-client sample`: pictures from concepts, alone or together by region."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mos_shared.console import console, print_json, progress
from mos_shared.errors import LayoutError

_MAX_MODEL_BYTES: Final = 4 * 2**30


def sample(
    prompt: Annotated[str, typer.Option(help="What the picture shows.")],
    out: Annotated[Path, typer.Option(help="PNG file; -2, -3 .. for more.")],
    region: Annotated[
        list[str] | None, typer.Option(help="`x0,y0,x1,y1: prompt`, in fractions.")
    ] = None,
    release: Annotated[
        Path | None, typer.Option(help="A fused model or release file.")
    ] = None,
    concept: Annotated[
        Path | None, typer.Option(help="A single concept's file, unfused.")
    ] = None,
    base: Annotated[str, typer.Option(help="The base they were made for.")] = "mini",
    size: Annotated[
        str | None, typer.Option(help="WxH in pixels; the base's own by default.")
    ] = None,
    negative: Annotated[str, typer.Option(help="What it shall not show.")] = "",
    seed: Annotated[int, typer.Option(help="Of the first picture's noise.")] = 0,
    images: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 1,
    steps: Annotated[int | None, typer.Option(min=1, help="Sampling steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="A diffusers scheduler's name.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
) -> None:
    """Sample pictures; every region reads its own prompt."""
    from mos_shared.base import load_base
    from mos_shared.sampling import Layout, Region, sampling

    regions = tuple(Region.parse(text) for text in region or ())
    model = _model(release, concept)
    loaded = load_base(base)
    defaults = loaded.defaults.get("sample", {})
    side = int(loaded.unet.config.sample_size) * loaded.pipeline.vae_scale_factor
    own = (defaults.get("width", side), defaults.get("height", side))
    width, height = own if size is None else _size(size)
    layout = Layout(prompt, width, height, negative, regions)
    seeds = range(seed, seed + images)
    total = steps or defaults.get("steps", 25)
    with sampling(loaded, model) as sampler, progress() as display:
        task = display.add_task("sampling", total=total, note="")
        pictures = sampler.sample(
            layout,
            seeds=seeds,
            steps=steps,
            guidance=guidance,
            scheduler=scheduler,
            on_step=lambda: display.advance(task),
        )
    written = [_write(out, index, image) for index, image in enumerate(pictures)]
    if json:
        print_json({"pictures": [str(path) for path in written], "seeds": list(seeds)})
        return
    for path in written:
        console.print(f"{path}", markup=False)


def _model(release: Path | None, concept: Path | None) -> Any:
    from mos_shared.applying import as_fused
    from mos_shared.concept import Concept, FusedModel
    from mos_shared.errors import ConceptError
    from mos_shared.files import read_whole

    if release is not None and concept is not None:
        raise LayoutError("--release and --concept: give one of them, not both")
    path = release or concept
    if path is None:
        return None
    content = read_whole(path, what="a model", max_bytes=_MAX_MODEL_BYTES)
    try:
        if release is not None:
            return FusedModel.from_bytes(content)
        return as_fused(Concept.from_bytes(content))
    except ConceptError as error:
        raise ConceptError(f"{path}: {error}") from error


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height)
    except ValueError as error:
        raise LayoutError(f"--size {text}: write it as 512x384") from error


def _write(out: Path, index: int, image: Any) -> Path:
    import io

    from mos_shared.files import write_atomically

    path = out if index == 0 else out.with_stem(f"{out.stem}-{index + 1}")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())
    return path
