"""`mos-lab simulate`: a whole federation on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mos_lab.commands.progress_lines import JUDGED, MOST_SITES, ProgressLines
from mos_runtime.console import console, print_json, progress

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from mos_lab.simulation.progress import SimulationProgress, SiteProgress

_MEGABYTE = 10**6


def simulate(
    out: Annotated[Path, typer.Option(help="Output folder.")],
    sites: Annotated[
        Path | None,
        typer.Option(help="Folder that holds one folder of pictures per site."),
    ] = None,
    synthetic_sites: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of sites with random weights, in place of --sites."
        ),
    ] = None,
    bundle_mb: Annotated[
        float, typer.Option(min=0, help="Approximate size of a synthetic bundle, MB.")
    ] = 0.0,
    base: Annotated[
        str, typer.Option(help="`mini`, a pipeline directory, or a hub name.")
    ] = "mini",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps of each site.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of tuning.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Simulate a federation: every site tunes, the centre fuses, all get the release.

    The same two apps as in a real federation run on Flower's simulation engine.
    """
    from mos_lab.errors import SimulationError
    from mos_lab.simulation.plan import PLAN_FILE
    from mos_lab.simulation.simulation import SyntheticSites
    from mos_lab.simulation.simulation import simulate as run_simulation
    from mos_runtime.outputs import output_folder

    if (sites is None) == (synthetic_sites is None):
        raise SimulationError("pass either --sites or --synthetic-sites")
    output_folder(out, own=(PLAN_FILE,))
    made = SyntheticSites(synthetic_sites or 0, round(bundle_mb * _MEGABYTE))
    with SimulationDisplay() if console.is_terminal else ProgressLines() as display:
        outcome = run_simulation(
            sites or made,
            out,
            base=base,
            steps=steps,
            seed=seed,
            on_progress=display.show,
        )
    if json:
        print_json(outcome.to_dict())
        return
    for site in outcome.sites if len(outcome.sites) <= MOST_SITES else ():
        verdict = f"<{site.concept}> accepted" if site.accepted else site.reason
        console.print(
            f"{site.site}: {verdict}; {site.bytes_sent} bytes sent, release "
            f"{site.release} held",
            markup=False,
        )
    console.print(
        f"release {outcome.release}: {out / outcome.release_file}", soft_wrap=True
    )


class SimulationDisplay:
    """A bar per site, one for the fusion, one for the deliveries."""

    def __init__(self) -> None:
        """Nothing is shown before it is entered."""
        self._display: Progress = progress()
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> "SimulationDisplay":
        """Start showing."""
        self._display.start()
        self._bar("", "starting Flower", total=1)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state on the screen."""
        self._display.stop()

    def show(self, now: "SimulationProgress") -> None:
        """Show where the simulation stands."""
        if now.started:
            self._update("", completed=1)
        if len(now.sites) > MOST_SITES:
            done = sum(site.state in JUDGED for site in now.sites.values())
            self.count("bundles judged", done, len(now.sites))
        for name, site in now.sites.items():
            if not now.started or len(now.sites) > MOST_SITES:
                continue
            title = f"{name} tunes <{site.concept}>" if site.concept else name
            self._display.update(
                self._bar(name, title),
                description=title,
                completed=site.step,
                total=site.steps or None,
                note=_note(site),
            )
        if now.fusing or now.release:
            self._bar("/fuse", "fusing", total=100)
            self._update(
                "/fuse", completed=round(100 * now.fusing), what=now.fusing_what
            )
        if now.release:
            held = sum(site.state == "delivered" for site in now.sites.values())
            self._bar("/deliver", f"release {now.release} to sites", len(now.sites))
            self._update("/deliver", completed=held)

    def count(self, title: str, done: int, total: int, note: str = "") -> None:
        """Show another piece of work in a bar of its own."""
        self._bar(title, title, total=total)
        self._update(title, completed=done, what=note)

    def _bar(self, key: str, title: str, total: int | None = None) -> "TaskID":
        if key not in self._bars:
            self._bars[key] = self._display.add_task(title, total=total, note="")
        return self._bars[key]

    def _update(self, key: str, *, completed: int, what: str = "") -> None:
        self._display.update(self._bars[key], completed=completed, note=what)


def _note(site: "SiteProgress") -> str:
    if site.state == "tuning" and site.loss is not None:
        return f"loss {site.loss:.4f}"
    if site.state == "preparing":
        return site.what
    return f"{site.state}: {site.reason}" if site.reason else site.state
