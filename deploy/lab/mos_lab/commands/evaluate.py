"""`mos-lab evaluate`: the paper's protocol, its tables next to ours."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mos_lab.commands.progress_lines import ProgressLines
from mos_lab.commands.simulate import SimulationDisplay
from mos_lab.errors import EvaluationError
from mos_runtime.console import console, print_json
from mos_server.commands.options import DeviceOption, JsonOption

if TYPE_CHECKING:
    from mos_lab.evaluation.draws.config import DrawsConfig


def evaluate(
    out: Annotated[Path, typer.Option(help="Output folder.")],
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
        str | None,
        typer.Option(help="How many to fuse (default: 1,2,4,8,16; draws: 8,16)."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="gradient, chained, published, average or sum."),
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
            help="Fusion with changed settings, as ridge=0.001 or ridge=0.001&prior=1: "
            "a row of the table settings; of draws, a method more."
        ),
    ] = None,
    device: DeviceOption = "auto",
    plain: Annotated[
        int,
        typer.Option(min=0, help="Concepts tuned as plain LoRA as well; 0 for none."),
    ] = 8,
    draws: Annotated[
        int,
        typer.Option(
            min=0,
            help="Sets of individuals of the mini world to evaluate; figures get "
            "95% intervals. 0: the sixteen fixed individuals.",
        ),
    ] = 0,
    range_name: Annotated[
        str,
        typer.Option(
            "--range",
            help="Which draws: choose (to choose defaults on), report, or reserve.",
        ),
    ] = "report",
    large_draws: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Draws that fuse all of --counts, the others the smallest alone "
            "(default: half).",
        ),
    ] = None,
    layouts: Annotated[
        int, typer.Option(min=1, help="Regional pictures of three concepts, a draw.")
    ] = 60,
    jobs: Annotated[
        int, typer.Option(min=1, help="Draws at a time, each in its own process.")
    ] = 1,
    json: JsonOption = False,
) -> None:
    """Evaluate tuning, fusion and regional pictures with the paper's protocol.

    OUT/evaluation.md holds the tables, OUT/evaluation.json the figures, OUT/grids the
    pictures they come from. With --draws these are OUT/draws.md, OUT/draws.json, and a
    folder for each draw. Run again, it goes on where it stopped.
    """
    if draws:
        from mos_lab.evaluation.draws.config import DrawsConfig

        given: dict[str, Any] = {"methods": tuple(method)} if method else {}
        draws_config = DrawsConfig(
            range_name=range_name,
            draws=draws,
            counts=_counts(counts or "8,16"),
            large_draws=-(-draws // 2) if large_draws is None else large_draws,
            seeds=seeds,
            layouts=layouts,
            plain=plain,
            changes=tuple(change or ()),
            steps=steps,
            tune_steps=tune_steps,
            base=base,
            metrics=metrics,
            device=device,
            jobs=jobs,
            **given,
        )
        _over_draws(draws_config, out, as_json=json)
        return
    from mos_lab.evaluation.config import (
        DEFAULT_METHODS,
        DEFAULT_TABLES,
        EvaluationConfig,
    )
    from mos_lab.evaluation.report import write_report
    from mos_lab.evaluation.run import OWN_FOLDERS
    from mos_lab.evaluation.run import evaluate as find
    from mos_runtime.outputs import output_folder

    output_folder(out, own=OWN_FOLDERS)
    config = EvaluationConfig(
        base=base,
        metrics=metrics,
        subjects=subjects,
        tables=tuple(only) if only else DEFAULT_TABLES,
        counts=_counts(counts or "1,2,4,8,16"),
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
        evaluation = find(config, out, on_progress=display.show, on_table=display.count)
    page = write_report(evaluation, out)
    if json:
        print_json(evaluation.to_dict())
    else:
        sys.stdout.write(f"{page.read_text('utf-8')}\n{page}\n")


def _over_draws(config: "DrawsConfig", out: Path, *, as_json: bool) -> None:
    from mos_lab.evaluation.draws.run import JSON_FILE, evaluate_draws
    from mos_runtime.outputs import output_folder

    own = [f"{config.range_name}-{number}" for number in range(config.draws)]
    output_folder(out, own=own)

    def show(done: int, total: int) -> None:
        console.print(f"draws: {done}/{total}", markup=False)

    page = evaluate_draws(config, out, on_draw=show)
    shown = out / JSON_FILE if as_json else page
    sys.stdout.write(shown.read_text("utf-8"))


def _counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise EvaluationError(
            f"--counts {text!r}: whole numbers with commas, as 1,2,4"
        ) from error
