"""`mos-lab evaluate`: the paper's protocol, its tables beside ours."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mos_lab.commands.progress_lines import ProgressLines
from mos_lab.commands.simulate import SimulationDisplay
from mos_lab.errors import EvaluationError
from mos_runtime.console import console, print_json
from mos_server.commands.options import DeviceOption, JsonOption


def evaluate(
    out: Annotated[Path, typer.Option(help="Folder for everything.")],
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="A table: tuning, fusion or regions; these three by default. Or "
            "settings: what each setting of fusion changes."
        ),
    ] = None,
    base: Annotated[
        str, typer.Option(help="`mini`, a pipeline directory, or a hub name.")
    ] = "mini",
    subjects: Annotated[
        Path | None,
        typer.Option(
            help="Folder of subjects: each a folder with its pictures and its concept "
            "file. Made on the mini world without it."
        ),
    ] = None,
    metrics: Annotated[
        str, typer.Option(help="`mini-clip`, or a CLIPModel directory to judge with.")
    ] = "mini-clip",
    counts: Annotated[
        str, typer.Option(help="Numbers of concepts to fuse.")
    ] = "1,2,4,8,16",
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="A way to fuse: gradient, chained, published, average or sum."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Pictures of every prompt.")] = 2,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Sampling steps of every picture.")
    ] = None,
    tune_steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps of what is tuned.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            help="A row of the table settings, as ridge=0.001 or ridge=0.001&prior=1."
        ),
    ] = None,
    device: DeviceOption = "auto",
    plain: Annotated[
        int,
        typer.Option(min=0, help="Concepts tuned as plain LoRA as well; 0 for none."),
    ] = 8,
    json: JsonOption = False,
) -> None:
    """Judge tuning, fusion and regional pictures by the paper's protocol.

    OUT/evaluation.md holds the tables, OUT/evaluation.json the figures, OUT/grids the
    pictures they come from. Run again, it goes on where it stopped.
    """
    from mos_lab.evaluation.config import DEFAULT_METHODS, DEFAULT_TABLES, Asked
    from mos_lab.evaluation.report import write_report
    from mos_lab.evaluation.run import OWN_FOLDERS
    from mos_lab.evaluation.run import evaluate as find
    from mos_runtime.outputs import output_folder

    output_folder(out, own=OWN_FOLDERS)
    asked = Asked(
        base=base,
        metrics=metrics,
        subjects=subjects,
        tables=tuple(only) if only else DEFAULT_TABLES,
        counts=_counts(counts),
        methods=tuple(method) if method else DEFAULT_METHODS,
        seeds=seeds,
        steps=steps,
        tune_steps=tune_steps,
        changes=tuple(change or ()),
        device=device,
        plain=plain,
    )
    display: Any = SimulationDisplay() if console.is_terminal else ProgressLines()
    with display:
        evaluation = find(
            asked,
            out,
            on_progress=display.show,
            on_table=display.count,
        )
    page = write_report(evaluation, out)
    if json:
        print_json(evaluation.to_dict())
    else:
        sys.stdout.write(f"{page.read_text('utf-8')}\n{page}\n")


def _counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise EvaluationError(
            f"--counts {text!r}: whole numbers with commas, as 1,2,4"
        ) from error
