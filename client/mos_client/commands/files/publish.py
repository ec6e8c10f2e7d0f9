"""`mos-client publish`: a concept or a release as a folder for a model hub."""

from pathlib import Path
from typing import Annotated

import typer

from mos_client.commands.options import HomeOption, JsonOption
from mos_client.commands.sampling.display import SamplingDisplay
from mos_runtime.console import ForceOption, console, print_json


def publish(
    file: Annotated[
        str,
        typer.Argument(
            help="A concept's or a release's file; a release received: its number, "
            "or `newest`."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Output folder.")],
    base: Annotated[str, typer.Option(help="The base it was made for.")] = "mini",
    title: Annotated[
        str, typer.Option(help="Heading of the model card (default: its name).")
    ] = "",
    licence: Annotated[
        str, typer.Option(help="Terms of use, where the file does not state them.")
    ] = "",
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            help="Of the sample pictures (default: `a photo of` every concept)."
        ),
    ] = None,
    images: Annotated[
        int, typer.Option(min=0, help="Sample pictures of each prompt; 0 for none.")
    ] = 2,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    data: Annotated[
        Path | None,
        typer.Option(
            help="The concept's training pictures: likeness goes into the card. They "
            "are not published."
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(help="CLIPModel directory that measures likeness."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="OWNER/NAME on the hub to upload to, with the token of $HF_TOKEN or "
            "`hf auth login`."
        ),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Make a new repository public.")
    ] = False,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, float32, bfloat16 or float16.")
    ] = "auto",
    force: ForceOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Write a model card, sample pictures and the model; upload them with --to."""
    from mos_client.publishing import Hub, PublishRequest
    from mos_client.publishing import publish as run

    hub = None if to is None else Hub.open(to, private=not public)
    request = PublishRequest(
        file=file,
        out=out,
        base=base,
        title=title,
        licence=licence,
        prompts=tuple(prompt or ()),
        images=images,
        seed=seed,
        data=data,
        metrics=metrics,
        force=force,
        device=device,
        precision=precision,
        home=home,
    )
    with SamplingDisplay(out.name) as display:
        published = run(request, display.show)
    address = "" if hub is None else hub.push(out)
    if json:
        print_json(
            {
                "folder": str(out),
                "files": list(published.files),
                "notes": list(published.notes),
                "address": address,
            }
        )
        return
    for note in published.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    console.print(f"{out}: {len(published.files)} files", markup=False)
    if address:
        console.print(address, markup=False, soft_wrap=True)
