"""`mos-client tune`: pictures in, a concept out."""

from pathlib import Path
from typing import Annotated, Final

import typer

from mos_client.commands.options import HomeOption, JsonOption
from mos_runtime.console import ForceOption

_DATA: Final = "Pictures and concept"
_METHOD: Final = "Method"
_MACHINE: Final = "Machine"
_RUN: Final = "The run"
_SIGNING: Final = "Signing and privacy"


def tune(
    data: Annotated[
        Path,
        typer.Option(help="Folder of pictures of one subject.", rich_help_panel=_DATA),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Output file (default: NAME.safetensors).", rich_help_panel=_DATA
        ),
    ] = None,
    concept: Annotated[
        str | None,
        typer.Option(
            help="Its name (default: concept.toml's, or the folder's).",
            rich_help_panel=_DATA,
        ),
    ] = None,
    class_word: Annotated[
        str | None,
        typer.Option(
            help="Ordinary word for the subject, as `cat` (default: inferred).",
            rich_help_panel=_DATA,
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            help="Terms of use, recorded in the concept.", rich_help_panel=_DATA
        ),
    ] = None,
    min_side: Annotated[
        int | None,
        typer.Option(
            help="Pixels the short side of a picture needs.", rich_help_panel=_DATA
        ),
    ] = None,
    base: Annotated[
        str,
        typer.Option(
            help="`mini`, a pipeline directory, or a hub name.",
            rich_help_panel=_METHOD,
        ),
    ] = "mini",
    steps: Annotated[
        int | None, typer.Option(help="Optimiser steps.", rich_help_panel=_METHOD)
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(help="Rank of the LoRA pairs.", rich_help_panel=_METHOD),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Random seed (default: 0).", rich_help_panel=_METHOD),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="`ed-lora`, or `lora` for comparison.", rich_help_panel=_METHOD
        ),
    ] = None,
    settings_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Another setting, as `snr_gamma=5`; repeatable.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            help="`auto`, `cpu`, `cuda`, `cuda:1` or `mps`.", rich_help_panel=_MACHINE
        ),
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="Precision of the base: `auto`, `float32` or `bfloat16`.",
            rich_help_panel=_MACHINE,
        ),
    ] = "auto",
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Check the folder and draw NAME.check.png; tune nothing.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue a stopped run.", rich_help_panel=_RUN),
    ] = False,
    preview_every: Annotated[
        int | None,
        typer.Option(
            help="Steps between grids in .NAME.tuning/previews.", rich_help_panel=_RUN
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(help="Folder of a TensorBoard log.", rich_help_panel=_RUN),
    ] = None,
    share: Annotated[
        bool,
        typer.Option(
            help="Sign the concept into the outbox for the centre.",
            rich_help_panel=_SIGNING,
        ),
    ] = True,
    site: Annotated[
        str | None,
        typer.Option(
            help="This site's name, until it has enrolled.", rich_help_panel=_SIGNING
        ),
    ] = None,
    skip_privacy_check: Annotated[
        bool,
        typer.Option(
            "--skip-privacy-check",
            help="Do not look for repeated pictures.",
            rich_help_panel=_SIGNING,
        ),
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="CLIPModel directory that judges pictures for that check.",
            rich_help_panel=_SIGNING,
        ),
    ] = None,
    force: ForceOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Tune an ED-LoRA concept on your pictures; they stay here.

    The concept is one file, and a signed copy of it waits in the outbox for the centre.
    Its name leaves with it: the folder's, unless --concept or `concept.toml` says
    another; `concept.toml` may also hold class_word, licence and captions.
    --check exits with 0 if tuning would start, else with 2.
    Ctrl-C keeps a checkpoint; --resume goes on to the same result.
    """
    from mos_client.commands.tuning.run import TuneCommand, run_tune

    given = {
        "method": method,
        "steps": steps,
        "rank": rank,
        "seed": seed,
        "min_side": min_side,
    }
    command = TuneCommand(
        data=data,
        out=out,
        concept=concept,
        class_word=class_word,
        licence=licence,
        base=base,
        assignments=tuple(settings_ or ()),
        given=given,
        device=device,
        precision=precision,
        check=check,
        resume=resume,
        preview_every=preview_every,
        tensorboard=tensorboard,
        share=share,
        site=site,
        privacy_check=not skip_privacy_check,
        metrics=metrics,
        force=force,
        home=home,
        json=json,
    )
    run_tune(command)
