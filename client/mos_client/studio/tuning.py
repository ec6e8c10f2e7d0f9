"""Tuning in the studio: what `mos-client tune` does, step by step, without a terminal.

In order: pictures, captions and settings are judged; the class word is found where none
is given; the concept is tuned, with checkpoints and previews in its work folder; its
file is written; samples of it are compared with the pictures (`memorisation`). Nothing
is signed and nothing leaves: sharing is a step of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mos_model.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

    from mos_client.tuning import TuneProgress
    from mos_client.tuning.checks.checked_run import CheckedRun
    from mos_client.tuning.checks.memorisation import Memorisation
    from mos_model.bases.base import Base
    from mos_model.bases.base_outline import BaseOutline

_COUNTS: Final = ("steps", "rank", "seed", "preview_every")
_MOST: Final = {"steps": 100_000, "rank": 256, "seed": 2**31 - 1}


@dataclass(frozen=True)
class TuneOptions:
    """How a concept is tuned; None leaves the base's own."""

    class_word: str = ""
    """Ordinary word for the subject; "" has the base find one."""

    licence: str = ""
    """Terms of use, recorded in the concept."""

    steps: int | None = None
    rank: int | None = None
    seed: int | None = None
    preview_every: int | None = None
    """Steps from one grid to the next; None is a sixth of all."""

    further: tuple[str, ...] = ()
    """Other settings, as `snr_gamma=5`."""

    @staticmethod
    def from_json(entries: Any) -> "TuneOptions":
        """Options from the page.

        Raises:
            DataError: naming what is wrong in them.
        """
        if not isinstance(entries, dict):
            raise DataError("the options: an object was expected")
        given: dict[str, Any] = {}
        for key, value in entries.items():
            if key in ("class_word", "licence") and isinstance(value, str):
                given[key] = value.strip()
            elif key in _COUNTS and (value is None or type(value) is int):
                most = _MOST.get(key, _MOST["steps"])
                if value is not None and not int(key != "seed") <= value <= most:
                    raise DataError(f"{key} {value}: {int(key != 'seed')}..{most}")
                given[key] = value
            elif key == "further" and isinstance(value, list | tuple):
                given[key] = tuple(str(each).strip() for each in value if each)
            else:
                raise DataError(f"option {key!r}: not known, or no such value")
        return TuneOptions(**given)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads them."""
        return asdict(self)


@dataclass(frozen=True)
class TuneRequest:
    """A folder of pictures, and where its concept goes."""

    data: Path
    name: str
    options: TuneOptions
    out: Path
    """The concept's file."""

    work_dir: Path
    """Checkpoint and previews."""

    resume: bool = False


@dataclass(frozen=True)
class Tuned:
    """A finished concept."""

    name: str
    class_word: str
    path: Path
    bytes: int
    samples: Sequence["Image.Image"]
    """Of the bare concept."""

    memorisation: "Memorisation"
    """What comparing them with the pictures found."""


@dataclass(frozen=True)
class TuneCallbacks:
    """What a run reports; whatever they raise ends it."""

    on_phase: Callable[[str], None] = lambda _: None
    """A line on what is done now."""

    on_progress: Callable[["TuneProgress"], None] = lambda _: None
    """After every step; see `mos_client.tuning.StopTuning`."""

    on_preview: Callable[[int], None] = lambda _: None
    """A grid of this step was written."""


def checked(request: TuneRequest, outline: "BaseOutline") -> "CheckedRun":
    """Judge a run, as `mos-client tune --check` does.

    Raises:
        MosError: no such folder, a broken `concept.toml`, or settings that cannot be.
    """
    from mos_client.store.outbox import checked_terms
    from mos_client.tuning.checks.checked_run import CheckedRun
    from mos_client.tuning.checks.preflight import ConceptTerms, preflight
    from mos_client.tuning.settings import TuneSettings

    options = request.options
    terms = ConceptTerms.of(
        request.data,
        concept=request.name,
        class_word=options.class_word or None,
        licence=options.licence or None,
    )
    checked_terms(licence=terms.licence, class_word=terms.class_word or "")
    own: Mapping[str, Any] = {
        key: getattr(options, key) for key in ("steps", "rank", "seed")
    }
    settings = TuneSettings.for_base(outline, options.further, **own)
    flight = preflight(request.data, outline, terms, settings)
    return CheckedRun(flight, terms, settings, outline)


def tuned(
    request: TuneRequest,
    base: "Base",
    outline: "BaseOutline",
    callbacks: TuneCallbacks,
) -> Tuned:
    """Tune a concept and compare its samples with the pictures.

    Raises:
        MosError: it cannot start, or failed.
        StopTuning: a callback stopped it; its checkpoint is kept.
    """
    from mos_client.tuning import Previews, RunOptions, tune_concept
    from mos_client.tuning.checks.class_word import infer_class_word
    from mos_client.tuning.checks.memorisation import (
        bare_samples,
        compared,
        metrics_for,
    )
    from mos_client.tuning.runtime.checkpoint import FILE
    from mos_client.tuning.runtime.preview import preview_writer
    from mos_runtime.files import write_atomically

    run = checked(request, outline)
    run.flight.require_ready()
    pictures, terms = run.flight.folder.pictures, run.terms
    if terms.class_word is None:
        callbacks.on_phase("finding the class word")
        guess = infer_class_word(base, pictures, run.settings)
        terms = replace(terms, class_word=guess.word)
    callbacks.on_phase("preparing the pictures")
    write = preview_writer(request.work_dir / "previews")

    def show(step: int, sheet: "Image.Image") -> None:
        write(step, sheet)
        callbacks.on_preview(step)

    every = request.options.preview_every or max(1, run.settings.steps // 6)
    concept = tune_concept(
        pictures,
        base=base,
        name=request.name,
        class_word=terms.class_word or "",
        settings=run.settings,
        licence=terms.licence,
        run=RunOptions(
            work_dir=request.work_dir,
            resume=request.resume,
            on_progress=callbacks.on_progress,
            previews=Previews(every, show),
        ),
    )
    content = concept.to_bytes()
    write_atomically(request.out, content)
    (request.work_dir / FILE).unlink(missing_ok=True)
    callbacks.on_phase("comparing samples with the pictures")
    samples = bare_samples(concept, base=base)
    found = compared(samples, pictures, metrics=metrics_for(base, None))
    word = terms.class_word or ""
    return Tuned(request.name, word, request.out, len(content), samples, found)


@dataclass
class TuningJob:
    """A run of the studio, and how far it is."""

    request: TuneRequest
    state: str = "queued"
    """queued, running, stopping, stopped, done or failed."""

    phase: str = ""
    step: int = 0
    steps: int = 0
    losses: list[tuple[int, float]] = field(default_factory=list)
    started: tuple[float, int] | None = None
    """`time.monotonic` and the step of the first report."""

    seconds_left: float | None = None
    previews: list[int] = field(default_factory=list)
    error: str = ""

    def shown(self) -> dict[str, Any]:
        """The run as the page has it."""
        return {
            "state": self.state,
            "phase": self.phase,
            "step": self.step,
            "steps": self.steps,
            "losses": thinned(self.losses),
            "seconds_left": self.seconds_left,
            "previews": list(self.previews),
            "error": self.error,
        }

    def progress(self, now: "TuneProgress", moment: float) -> None:
        """Take up a step's report, made at `moment` in seconds."""
        self.phase, self.step, self.steps = "", now.step, now.steps
        self.losses.append((now.step, now.loss))
        if self.started is None:
            self.started = (moment, now.step)
            return
        since, first = self.started
        pace = (moment - since) / (now.step - first)
        self.seconds_left = pace * (now.steps - now.step)


def thinned(
    points: Sequence[tuple[int, float]], most: int = 240
) -> list[tuple[int, float]]:
    """At most about `most` of the points, the last one always."""
    every = -(-len(points) // most) if points else 1
    kept = [*points[::every]]
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return [(step, round(loss, 5)) for step, loss in kept]
