"""`mos-client sample`: pictures from concepts, alone or together by region."""

from pathlib import Path
from typing import Annotated

import typer

from mos_client.commands.options import HomeOption, JsonOption, parsed_size
from mos_client.commands.sampling.display import SamplingDisplay
from mos_runtime.console import ForceOption, console, print_json


def sample(
    out: Annotated[
        Path,
        typer.Option(help="Picture to write, .png, .jpg or .webp; -2, -3 .. for more."),
    ],
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
        typer.Option(help="Make a picture again from the record in it."),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            help="File or folder with masks and controls that --from-picture needs; "
            "the picture's folder and the current one are searched too."
        ),
    ] = None,
    release: Annotated[
        str | None,
        typer.Option(help="A received release: its number or `newest`; or a file."),
    ] = None,
    concept: Annotated[
        list[Path] | None,
        typer.Option(help="Concept file, unfused; several are added up."),
    ] = None,
    base: Annotated[
        str, typer.Option(help="Base that the model was made for.")
    ] = "mini",
    size: Annotated[
        str | None, typer.Option(help="WxH in pixels (default: the base's own).")
    ] = None,
    negative: Annotated[str | None, typer.Option(help="Negative prompt.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the first picture (default: 0); -1: random."),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Pictures of each prompt.")] = 1,
    grid: Annotated[
        bool, typer.Option("--grid", help="One sheet: prompts down, seeds across.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, help="Pictures sampled at once.")] = 8,
    steps: Annotated[int | None, typer.Option(min=1, help="Sampling steps.")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Guidance scale; 1 disables it.")
    ] = None,
    lead: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Share of the first steps that use --prompt alone."
        ),
    ] = None,
    isolation: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Share of the steps in which regions are isolated."
        ),
    ] = None,
    base_ratio: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Weight of --prompt inside the regions."),
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
        typer.Option("--offload", help="Keep only the submodel in use on the device."),
    ] = False,
    preview_every: Annotated[
        int | None,
        typer.Option(min=1, help="Steps between previews, in a temporary file."),
    ] = None,
    no_metadata: Annotated[
        bool,
        typer.Option("--no-metadata", help="Do not store the settings in the picture."),
    ] = False,
    force: ForceOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Sample pictures; every region has its own prompt."""
    from mos_client.sampling import SampleRequest
    from mos_client.sampling import sample as run
    from mos_model.sampling import Control, Region

    request = SampleRequest(
        prompts=tuple(prompt or ()),
        layout=layout,
        regions=tuple(Region.parse(text) for text in region or ()),
        controls=tuple(Control.parse(text) for text in control or ()),
        negative=negative,
        size=None if size is None else parsed_size(size),
        from_picture=from_picture,
        files=tuple(files or ()),
        release=release,
        concepts=tuple(concept or ()),
        base=base,
        seed=seed,
        images=images,
        settings={
            "steps": steps,
            "guidance": guidance,
            "scheduler": scheduler,
            "lead": lead,
            "isolation": isolation,
            "base_ratio": base_ratio,
            "exclude_others": exclude_others,
        },
        out=out,
        force=force,
        grid=grid,
        metadata=not no_metadata,
        batch=batch,
        preview_every=preview_every,
        device=device,
        precision=precision,
        offload=offload,
        home=home,
    )
    with SamplingDisplay(out.stem) as display:
        sampled = run(request, display.show)
    if json:
        print_json(
            {
                "pictures": [str(path) for path in sampled.paths],
                "seeds": list(sampled.seeds),
                "notes": list(sampled.notes),
            }
        )
        return
    if seed == -1:
        console.print(f"seed {sampled.seeds[0]}", markup=False)
    for path in sampled.paths:
        console.print(f"{path}", markup=False)
