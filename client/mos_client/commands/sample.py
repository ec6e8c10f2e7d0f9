"""`mos-client sample`: pictures from concepts, alone or together by region."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from mos_client.commands.options import HomeOption, JsonOption
from mos_shared.console import console, print_json, progress
from mos_shared.errors import LayoutError

_MAX_MODEL_BYTES: Final = 4 * 2**30

T = TypeVar("T")


def sample(
    prompt: Annotated[str, typer.Option(help="What the picture shows.")],
    out: Annotated[Path, typer.Option(help="PNG file; -2, -3 .. for more.")],
    region: Annotated[
        list[str] | None, typer.Option(help="`x0,y0,x1,y1: prompt`, in fractions.")
    ] = None,
    release: Annotated[
        str | None,
        typer.Option(help="A release received: its number or `newest`; or a file."),
    ] = None,
    concept: Annotated[
        list[Path] | None,
        typer.Option(help="A concept's file, unfused; several are added up."),
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
    lead: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Share of the steps that --prompt lays out alone."
        ),
    ] = None,
    isolation: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Share of the steps that regions do not see each other."
        ),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="A diffusers scheduler's name.")
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Sample pictures; every region reads its own prompt."""
    from mos_shared.base import load_base
    from mos_shared.sampling import Layout, Region, sampling

    regions = tuple(Region.parse(text) for text in region or ())
    model = _model(release, concept or (), home)
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
            lead=lead,
            isolation=isolation,
            on_step=lambda: display.advance(task),
        )
    written = [_write(out, index, image) for index, image in enumerate(pictures)]
    if json:
        print_json({"pictures": [str(path) for path in written], "seeds": list(seeds)})
        return
    for path in written:
        console.print(f"{path}", markup=False)


def _model(release: str | None, concepts: Sequence[Path], home: Path | None) -> Any:
    from mos_shared.applying import added_up
    from mos_shared.concept import Concept, FusedModel
    from mos_shared.errors import ConceptError

    if release is not None and concepts:
        raise LayoutError("--release and --concept: give one of them, not both")
    if release is not None:
        return _opened(FusedModel.from_bytes, *_release(release, home))
    if not concepts:
        return None
    opened = [_opened(Concept.from_bytes, path, _content(path)) for path in concepts]
    try:
        return added_up(opened)
    except ConceptError as error:
        raise ConceptError(f"--concept: {error}") from error


def _release(release: str, home: Path | None) -> tuple[Path, bytes]:
    """A release's file and content; one of the site's own is verified once more."""
    if release != "newest" and not release.isdigit():
        return Path(release), _content(Path(release))
    from mos_client.home import SiteHome
    from mos_client.releases import ReleaseStore

    store = ReleaseStore(SiteHome.open(home))
    return store.path(release), store.read(release).payload


def _opened(reader: Callable[[bytes], T], path: Path, content: bytes) -> T:
    from mos_shared.errors import ConceptError

    try:
        return reader(content)
    except ConceptError as error:
        raise ConceptError(f"{path}: {error}") from error


def _content(path: Path) -> bytes:
    from mos_shared.files import read_whole

    return read_whole(path, what="a model", max_bytes=_MAX_MODEL_BYTES)


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
