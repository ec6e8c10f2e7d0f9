"""`mos-client sample`: pictures from concepts, alone or together by region."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from mos_client.commands.options import HomeOption, JsonOption
from mos_model.errors import LayoutError
from mos_runtime.console import console, print_json, progress

if TYPE_CHECKING:
    from mos_model.base import Base
    from mos_model.concept import FusedModel
    from mos_model.layouts.record import PictureRecord
    from mos_model.sampling import Layout, SamplingSettings
    from mos_model.sampling.settings import Given


def sample(
    out: Annotated[Path, typer.Option(help="PNG file; -2, -3 .. for more.")],
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="What the picture shows; several give a picture each."),
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(
            help="`x0,y0,x1,y1: prompt` in fractions; or a polygon `x,y x,y x,y: ..`, "
            "or `MASK.png: ..`. Before the colon: `;weight=2`, `;feather=0.05`, "
            "`;z=1`, `;not=..`."
        ),
    ] = None,
    layout: Annotated[
        Path | None, typer.Option(help="A layout's JSON file (docs/layouts.md).")
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(
            help="`MODEL:IMAGE[:WEIGHT]`, a T2I-Adapter or ControlNet, as "
            "`mini-adapter:outlines.png:0.8`; `:1,0.5,0` outside and by region."
        ),
    ] = None,
    from_picture: Annotated[
        Path | None,
        typer.Option(help="Make a picture again from what its PNG tells."),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            help="File or folder of the masks and controls that --from-picture needs; "
            "the picture's folder and the current one are looked into besides."
        ),
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
    negative: Annotated[
        str | None, typer.Option(help="What it shall not show.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the first picture's noise; 0 by default.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Pictures of each prompt.")] = 1,
    grid: Annotated[
        bool, typer.Option("--grid", help="One sheet: prompts down, seeds across.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, help="Pictures sampled at once.")] = 8,
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
    base_ratio: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Part of --prompt inside the regions."),
    ] = None,
    exclude_others: Annotated[
        bool | None,
        typer.Option(
            "--exclude-others",
            help="Other regions' concepts become each region's negative prompt.",
        ),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="A diffusers scheduler's name.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, float32, bfloat16 or float16.")
    ] = "auto",
    offload: Annotated[
        bool,
        typer.Option(
            "--offload", help="Keep on the device only the part that computes."
        ),
    ] = False,
    preview_every: Annotated[
        int | None,
        typer.Option(min=1, help="Steps between previews, in OUT's .preview.png."),
    ] = None,
    no_metadata: Annotated[
        bool, typer.Option("--no-metadata", help="Leave out how it was made.")
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Sample pictures; every region reads its own prompt."""
    from mos_client.store.models import open_model
    from mos_model.applying import check_base
    from mos_model.layouts.record import read_record
    from mos_model.sampling import Control, Region, SamplingSettings
    from mos_model.sampling.resources import AtHand

    if from_picture is not None and (layout or prompt):
        raise LayoutError(
            "--from-picture brings its own prompt; leave out --layout and --prompt"
        )
    if files and from_picture is None:
        raise LayoutError("--files: goes with --from-picture alone")
    if not (from_picture or layout or prompt):
        raise LayoutError("nothing to draw: give --prompt, --layout or --from-picture")
    record = None if from_picture is None else read_record(from_picture)
    extra = {
        "regions": tuple(Region.parse(text) for text in region or ()),
        "controls": tuple(Control.parse(text) for text in control or ()),
    }
    wanted = None if size is None else parsed_size(size)
    model = open_model(release, concept or (), home)
    loaded = _load(base, device, precision, offload)
    given: dict[str, Any] = {
        "steps": steps,
        "guidance": guidance,
        "scheduler": scheduler,
        "lead": lead,
        "isolation": isolation,
        "base_ratio": base_ratio,
        "exclude_others": exclude_others,
    }
    if record is not None and from_picture is not None:
        check_base(loaded, record.base, f"{from_picture}")
        model.check_made(record.model, from_picture)
        places = [*(files or ()), from_picture.parent, Path()]
        first = record.layout_again(AtHand(places))
        own = asdict(record.settings)
        given = {k: own[k] if v is None else v for k, v in given.items()}
        seed = record.seed if seed is None else seed
    else:
        first = _first_layout(loaded, layout, wanted)
    settings = SamplingSettings.of(loaded, cast("Given", given))
    seeds = range(seed or 0, (seed or 0) + images)
    layouts = _layouts(first, prompt or (), negative, wanted, extra)
    pairs = [(each, number) for each in layouts for number in seeds]
    order = _Order(out, pairs, settings, batch, preview_every)
    pictures = order.painted(loaded, model.fused)
    written = order.written(
        pictures,
        columns=images if grid else None,
        origin=None if no_metadata else (loaded.inventory.base, model.origin),
    )
    if json:
        told = [number for _, number in pairs]
        print_json({"pictures": [str(path) for path in written], "seeds": told})
        return
    for path in written:
        console.print(f"{path}", markup=False)


@dataclass(frozen=True)
class _Order:
    """The pictures to be drawn, and how."""

    out: Path
    pairs: Sequence[tuple["Layout", int]]
    """(layout, seed) of every picture."""

    settings: "SamplingSettings"
    batch: int
    preview_every: int | None

    def painted(self, base: "Base", model: "FusedModel | None") -> list[Any]:
        """Sample them all, with a progress bar and previews."""
        from mos_model.sampling import contact_sheet, sampling

        layouts = [layout for layout, _ in self.pairs]
        seeds = [seed for _, seed in self.pairs]
        preview = self.out.with_suffix(".preview.png")
        with sampling(base, model) as sampler, progress() as display:
            batches = sampler.batches(layouts, seeds=seeds, batch_size=self.batch)
            steps = batches * self.settings.steps
            task = display.add_task("sampling", total=steps, note="")

            def told(pipe: Any, step: int, timestep: Any, tensors: Any) -> Any:
                display.update(task, total=batches * pipe.num_timesteps, advance=1)
                if self.preview_every and (step + 1) % self.preview_every == 0:
                    now = sampler.decoded(tensors["latents"])
                    _write(preview, contact_sheet(now, columns=len(now)))
                return tensors

            try:
                return sampler.sample(
                    layouts,
                    seeds=seeds,
                    batch_size=self.batch,
                    callback_on_step_end=told,
                    **cast("Given", asdict(self.settings)),
                )
            finally:
                if self.preview_every:
                    preview.unlink(missing_ok=True)

    def written(
        self,
        pictures: Sequence[Any],
        *,
        columns: int | None,
        origin: tuple[str, Mapping[str, Any]] | None,
    ) -> list[Path]:
        """Write a file of each picture, or one sheet.

        Args:
            pictures: What was sampled.
            columns: Of the sheet; None is a file each.
            origin: The base's fingerprint and the model's origin, to be told in the
                files; None is to tell nothing.
        """
        from mos_model.layouts.record import PictureRecord
        from mos_model.sampling import contact_sheet

        told: list[PictureRecord] = []
        if origin is not None:
            base, model = origin
            told = [
                PictureRecord.of(
                    layout, self.settings, seed=seed, base=base, model=model
                )
                for layout, seed in self.pairs
            ]
        if columns is not None:
            return [_write(self.out, contact_sheet(pictures, columns=columns), told)]
        written = []
        for index, picture in enumerate(pictures):
            stem = self.out.stem if index == 0 else f"{self.out.stem}-{index + 1}"
            path = self.out.with_stem(stem)
            written.append(_write(path, picture, told[index : index + 1]))
        return written


def _load(name: str, device: str, precision: str, offload: bool) -> "Base":
    from mos_model.base import load_base
    from mos_model.devices import pick_device, pick_dtype
    from mos_model.errors import DeviceError

    where = pick_device(device)
    dtype = pick_dtype(precision, where)
    if not offload:
        return load_base(name, device=where, dtype=dtype)
    if where.type == "cpu":
        raise DeviceError("--offload: frees a GPU's memory, and the device is cpu")
    loaded = load_base(name, dtype=dtype)
    loaded.pipeline.enable_model_cpu_offload(device=where)
    return loaded


def _first_layout(
    base: "Base", path: Path | None, size: tuple[int, int] | None
) -> "Layout":
    """The layout's file, or an empty layout of the base's own size."""
    from mos_model.sampling import Layout, read_layout

    defaults = base.defaults.get("sample", {})
    side = int(base.unet.config.sample_size) * int(base.pipeline.vae_scale_factor)
    own = (int(defaults.get("width", side)), int(defaults.get("height", side)))
    if path is not None:
        return read_layout(path, size=size or own)
    width, height = size or own
    return Layout("", width, height)


def _layouts(
    first: "Layout",
    prompts: Sequence[str],
    negative: str | None,
    size: tuple[int, int] | None,
    extra: Mapping[str, tuple[Any, ...]],
) -> list["Layout"]:
    """The first layout with what else the command line gives, for every prompt."""
    changed = replace(
        first,
        regions=first.regions + extra["regions"],
        controls=first.controls + extra["controls"],
    )
    if size is not None:
        changed = replace(changed, width=size[0], height=size[1])
    if negative is not None:
        changed = replace(changed, negative_prompt=negative)
    return [replace(changed, prompt=prompt) for prompt in prompts or [first.prompt]]


def parsed_size(text: str) -> tuple[int, int]:
    """Width and height from `WxH`.

    Raises:
        LayoutError: not of that form.
    """
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height)
    except ValueError as error:
        raise LayoutError(f"--size {text}: write it as 512x384") from error


def _write(path: Path, image: Any, records: Sequence["PictureRecord"] = ()) -> Path:
    from mos_model.layouts.record import png_bytes
    from mos_runtime.files import write_atomically

    write_atomically(path, png_bytes(image, records))
    return path
