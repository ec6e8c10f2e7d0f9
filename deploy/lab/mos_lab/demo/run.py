"""The demo from its first picture to its page.

In order: the sites' pictures are rendered; the federation is simulated; its release is
verified; the pictures are drawn; release, manifest, picture and page are written.
"""

import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mos_lab.demo.drawing import OnPicture, draw, working_side
from mos_lab.demo.figures import enlarged
from mos_lab.demo.page import render_page
from mos_lab.demo.progress import DemoConfig, tell
from mos_lab.demo.record import Record, read_record
from mos_lab.demo.story import DemoStory
from mos_lab.simulation.outcome import SimulationOutcome
from mos_lab.simulation.simulation import OnProgress, simulate
from mos_model.bases.base import load_base
from mos_model.bases.base_files import resolve_base
from mos_runtime.files import write_atomically
from mos_zoo.world.demo import render_demo_sites

PICTURES_FOLDER: Final = "pictures"
FEDERATION_FOLDER: Final = "federation"
_PICTURE_WIDTH: Final = 1152
"""A smaller picture is written enlarged, so that a viewer shows it well."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo wrote."""

    picture: Path
    """All concepts by region, a PNG file, enlarged where the base draws small."""

    report: Path
    """The page."""

    release: Path
    """The release's safetensors file; its signature is next to it."""

    manifest: Path
    """What the centre signed, as JSON."""

    kept: Mapping[str, float]
    """Concept -> share of its change that fusion kept."""

    drift: float
    """How far the release moves the base on generic prompts, relative."""

    seconds: Mapping[str, float]
    """Phase -> wall time in seconds."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "picture": str(self.picture),
            "report": str(self.report),
            "release": str(self.release),
            "manifest": str(self.manifest),
            "kept": dict(self.kept),
            "drift": self.drift,
            "seconds": dict(self.seconds),
        }


def run_demo(
    out: Path,
    *,
    base: str = "mini",
    steps: int | None = None,
    seed: int = 0,
    on_progress: OnProgress = lambda _: None,
    on_picture: OnPicture = lambda _what, _done, _total: None,
) -> DemoResult:
    """Run the demo.

    Args:
        out: The folder for everything; an earlier demo in it is replaced.
        base: `mini`, a pipeline directory, or a hub name.
        steps: Optimiser steps of each site; the base's own number by default.
        seed: Of every site's tuning, and of every picture.
        on_progress: Called with the state of the federation.
        on_picture: Called after every picture.

    Raises:
        SimulationError: the federation came to nothing, or not to a whole release.
        MosError: the base cannot be used, or a file not be written.
    """
    clock = _Clock()
    side = working_side(resolve_base(base))
    folders = render_demo_sites(out / PICTURES_FOLDER, size=side)
    clock.lap("rendering the sites' pictures")
    federation = out / FEDERATION_FOLDER
    outcome = simulate(
        out / PICTURES_FOLDER,
        federation,
        base=base,
        steps=steps,
        seed=seed,
        on_progress=on_progress,
    )
    clock.take_over(outcome)
    loaded = load_base(base)
    record = read_record(federation, outcome, loaded.inventory, now=int(time.time()))
    clock.lap("verifying the release")
    pictures = draw(
        loaded, record.concepts, record.model, seed=seed, on_picture=on_picture
    )
    clock.lap("drawing")
    config = DemoConfig(base, seed, {path.name: path for path in folders})
    story = tell(config, outcome, record, pictures, clock.seconds)
    return _write(out, story, record)


class _Clock:
    """Wall time by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._mark = time.monotonic()

    def lap(self, phase: str) -> None:
        now = time.monotonic()
        self.seconds[phase] = round(now - self._mark, 2)
        self._mark = now

    def take_over(self, outcome: SimulationOutcome) -> None:
        """The simulation's own phases, which it timed itself."""
        for phase, name in _PHASES.items():
            self.seconds[name] = outcome.seconds[phase]
        self._mark = time.monotonic()


_PHASES: Final = {
    "start": "starting Flower and the sites",
    "tune": "tuning, all sites",
    "verify": "sending and verifying",
    "fuse": "fusing",
    "deliver": "sending the release back",
}


def _write(out: Path, story: DemoStory, record: Record) -> DemoResult:
    """Everything that the demo leaves; the page last, as it shows the rest."""
    result = DemoResult(
        picture=out / "picture.png",
        report=out / "report.html",
        release=out / "release.safetensors",
        manifest=out / "manifest.json",
        kept={site.concept: site.kept["all"] for site in story.sites},
        drift=story.drift,
        seconds=story.seconds,
    )
    record.release.write(result.release)
    manifest = json.dumps(record.manifest(), indent=1).encode()
    write_atomically(result.manifest, manifest + b"\n")
    picture = io.BytesIO()
    enlarged(story.regional, _PICTURE_WIDTH).save(picture, "PNG")
    write_atomically(result.picture, picture.getvalue())
    write_atomically(result.report, render_page(story).encode())
    return result
