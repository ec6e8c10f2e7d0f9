"""A folder of pictures tuned to a concept's file: the one way there is.

Command, page, notebook and a centre's request all come here. In order: name, licence,
captions, pictures and settings are judged (`checked`); then (`tuned`) the class word is
found where none is given; the concept is tuned, with checkpoints and previews in its
work folder; its file is written; samples of it are compared with the pictures
(`memorisation`). Nothing is signed and nothing leaves: sharing is a step of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from PIL import Image

from mos_client.tuning.checks.checked_run import CheckedRun
from mos_client.tuning.checks.class_word import infer_class_word
from mos_client.tuning.checks.memorisation import (
    Memorisation,
    bare_samples,
    compared,
    metrics_for,
)
from mos_client.tuning.checks.preflight import ConceptTerms, preflight
from mos_client.tuning.runtime.checkpoint import FILE
from mos_client.tuning.runtime.preview import preview_writer
from mos_client.tuning.runtime.processes import Processes
from mos_client.tuning.settings import TuneSettings
from mos_client.tuning.tune import Previews, RunOptions, TuneProgress, tune_concept
from mos_model.bases.base import Base
from mos_model.bases.base_outline import BaseOutline
from mos_protocol.signed.blob import signature_path
from mos_runtime.files import write_atomically

PREVIEWS: Final = "previews"
"""Where in the work folder the grids are, `step-000120.png`."""


@dataclass(frozen=True)
class TuneRequest:
    """A folder of pictures, what becomes of it, and where it goes."""

    data: Path
    """Pictures, with captions, masks and `concept.toml` where there are any."""

    out: Path | None = None
    """The concept's file; None writes none."""

    work_dir: Path | None = None
    """Checkpoint and previews; None keeps none."""

    name: str | None = None
    """This and the next two: None is what `concept.toml` says. Without one the name is
    the folder's, and the base finds the class word."""

    class_word: str | None = None
    licence: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of `TuneSettings`, by name; None is the base's own."""

    assignments: Sequence[str] = ()
    """Further settings, as `snr_gamma=5`; they have the last word."""

    resume: bool = False
    """Continue from the checkpoint in `work_dir`."""

    preview_every: int | None = None
    """Steps from one grid to the next."""

    previews: int = 0
    """How many grids are drawn where `preview_every` is None."""

    compare: bool = True
    """Whether samples are compared with the pictures."""

    metrics: str | None = None
    """CLIPModel directory that judges them (see `metrics_for`)."""


@dataclass(frozen=True)
class TuneCallbacks:
    """What a run reports; whatever they raise ends it."""

    on_phase: Callable[[str], None] = lambda _: None
    """A line on what is done now."""

    on_class_word: Callable[[str, str], None] = lambda _word, _next: None
    """The class word, and the next best where the base found it, else ""."""

    on_progress: Callable[[TuneProgress], None] = lambda _: None
    """After every step; it may raise `StopTuning`."""

    on_preview: Callable[[int], None] = lambda _: None
    """A grid of this step was written."""


SILENT: Final = TuneCallbacks()


@dataclass(frozen=True)
class Tuned:
    """A finished concept."""

    name: str
    class_word: str
    content: bytes
    """The concept's file."""

    path: Path | None
    """Where it was written."""

    samples: Sequence[Image.Image] = ()
    """Of the bare concept, as they were compared."""

    memorisation: Memorisation | None = None
    """What comparing them with the pictures found; None where they were not."""


def checked(
    request: TuneRequest, outline: BaseOutline, processes: Processes | None = None
) -> CheckedRun:
    """Judge a run; nothing is loaded or written.

    Args:
        request: The run.
        outline: Of the base.
        processes: Those that share it; each makes its passes of every step.

    Raises:
        DataError: no such folder, or a broken `concept.toml`.
        ConceptError: name or class word cannot be one.
        ProtocolError: the licence cannot be recorded.
        TuningError: settings that cannot be, or a class word that the base lacks.
    """
    terms = ConceptTerms.of(
        request.data,
        concept=request.name,
        class_word=request.class_word,
        licence=request.licence,
    )
    settings = TuneSettings.for_base(outline, request.assignments, **request.settings)
    passes = settings.accumulate * (1 if processes is None else processes.count)
    settings = replace(settings, accumulate=passes)
    _previews(request, settings, SILENT)  # refuses a count of steps below 1
    flight = preflight(request.data, outline, terms, settings)
    return CheckedRun(flight, terms, settings, outline)


def tuned(
    run: CheckedRun,
    request: TuneRequest,
    base: Base,
    callbacks: TuneCallbacks = SILENT,
    processes: Processes | None = None,
) -> Tuned:
    """Carry a run out.

    Args:
        run: As `checked` found it.
        request: What was checked.
        base: The base; unchanged afterwards.
        callbacks: What is told meanwhile.
        processes: Those that share the run; only the leading one writes and compares.

    Raises:
        DataError: the pictures are not ready (see `CheckedRun.verdict`).
        MetricsError: no model where `request.metrics` says.
        TuningError: see `tune_concept`.
        StorageError: a file cannot be written.
        StopTuning: a callback stopped it; its checkpoint is kept.
    """
    run.flight.require_ready()
    processes = processes or Processes()
    compare = request.compare and processes.leads
    metrics = metrics_for(base, request.metrics) if compare else None
    pictures, name = run.flight.folder.pictures, run.terms.concept.name
    word = _class_word(run, base, callbacks)
    callbacks.on_phase("preparing the pictures")
    concept = tune_concept(
        pictures,
        base=base,
        name=name,
        class_word=word,
        settings=run.settings,
        licence=run.terms.licence,
        run=RunOptions(
            work_dir=request.work_dir,
            resume=request.resume,
            on_progress=callbacks.on_progress,
            previews=_previews(request, run.settings, callbacks),
            processes=processes,
        ),
    )
    content = concept.to_bytes()
    if not processes.leads:
        return Tuned(name, word, content, None)
    _write(request, content)
    if not compare:
        return Tuned(name, word, content, request.out)
    callbacks.on_phase("comparing samples with the pictures")
    samples = bare_samples(concept, base=base)
    found = compared(samples, pictures, metrics=metrics)
    return Tuned(name, word, content, request.out, samples, found)


def _class_word(run: CheckedRun, base: Base, callbacks: TuneCallbacks) -> str:
    word, next_best = run.terms.class_word, ""
    if word is None:
        callbacks.on_phase("finding the class word")
        guess = infer_class_word(base, run.flight.folder.pictures, run.settings)
        word, next_best = guess.word, guess.runner_up
    callbacks.on_class_word(word, next_best)
    return word


def _previews(
    request: TuneRequest, settings: TuneSettings, callbacks: TuneCallbacks
) -> Previews | None:
    every = request.preview_every
    if every is None and request.previews:
        every = max(1, settings.steps // request.previews)
    if every is None or request.work_dir is None:
        return None
    write = preview_writer(request.work_dir / PREVIEWS)

    def show(step: int, sheet: Image.Image) -> None:
        write(step, sheet)
        callbacks.on_preview(step)

    return Previews(every, show)


def _write(request: TuneRequest, content: bytes) -> None:
    """Write the concept's file; the checkpoint goes, previews stay."""
    if request.out is not None:
        # An older signature would not be this concept's.
        signature_path(request.out).unlink(missing_ok=True)
        write_atomically(request.out, content)
    if request.work_dir is not None:
        (request.work_dir / FILE).unlink(missing_ok=True)
        with suppress(OSError):  # previews are still in it
            request.work_dir.rmdir()
