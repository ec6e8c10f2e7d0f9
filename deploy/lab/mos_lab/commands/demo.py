"""`mos-lab demo`: the whole path once, on made-up pictures."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mos_lab.commands.progress_lines import ProgressLines
from mos_lab.commands.simulate import SimulationDisplay
from mos_runtime.console import console, print_json
from mos_server.commands.options import JsonOption


def demo(
    out: Annotated[Path, typer.Option(help="Output folder.")],
    base: Annotated[
        str, typer.Option(help="`mini`, a pipeline directory, or a hub name.")
    ] = "mini",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps of each site.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    open_: Annotated[
        bool, typer.Option("--open", help="Show the report in the browser.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run the demo: three sites, one federation, a picture of all, and a page.

    OUT/picture.png and OUT/report.html tell the story; OUT/release.safetensors is the
    signed release; OUT/federation holds the homes of centre and sites.
    """
    from mos_lab.demo.run import FEDERATION_FOLDER, run_demo
    from mos_runtime.outputs import output_folder

    output_folder(out, own=(FEDERATION_FOLDER,))
    with SimulationDisplay() if console.is_terminal else ProgressLines() as display:
        result = run_demo(
            out,
            base=base,
            steps=steps,
            seed=seed,
            on_progress=display.show,
            on_picture=lambda what, done, total: display.count(
                "drawing", done, total, what
            ),
        )
    for name, share in result.kept.items():
        console.print(f"<{name}> keeps {share:.0%} of its change", markup=False)
    home = max((out / FEDERATION_FOLDER / "sites").iterdir())
    console.print(
        f"`make studio` opens a page to draw with this release, or: mos-client studio "
        f"--open --home {home}",
        markup=False,
        soft_wrap=True,
    )
    if json:
        print_json(result.to_dict())
    else:
        sys.stdout.write(f"{result.picture}\n{result.report}\n")
    if open_:
        _show(result.report)


def _show(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        console.print(f"no browser was found; open {page} yourself", markup=False)
