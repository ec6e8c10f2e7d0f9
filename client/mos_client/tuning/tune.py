"""ED-LoRA tuning (Mix-of-Show, arXiv:2305.18292, section 3.1).

In order: the words and LoRA pairs are put on the base; every step draws pictures,
captions, noise and timesteps from (seed, step) alone; a checkpoint is written now and
then, at Ctrl-C and at `StopTuning`; the base is left as it was. A step whose loss or
gradients are not finite is never applied, so that every checkpoint is a good one.
"""

import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Final

import torch
from PIL import Image

from mos_client.pictures import Picture
from mos_client.tuning.data.latents import TrainingSet, training_set
from mos_client.tuning.runtime.checkpoint import (
    FILE,
    RunIdentity,
    load_checkpoint,
    save_checkpoint,
)
from mos_client.tuning.runtime.memory import gradient_checkpointing
from mos_client.tuning.runtime.preview import preview_sheet
from mos_client.tuning.runtime.processes import Processes
from mos_client.tuning.settings import TuneSettings
from mos_client.tuning.training.adapters import lora_adapters, lora_factors
from mos_client.tuning.training.memory_efficient import lean_projections
from mos_client.tuning.training.objective import Objective
from mos_client.tuning.training.optimiser import Optimiser
from mos_client.tuning.training.words import Words, initial_words
from mos_model.bases.base import Base
from mos_model.concepts.concept import Concept, ConceptFacts
from mos_model.concepts.names import checked_name
from mos_model.errors import TuningError
from mos_model.prompts.layerwise import layerwise

CHECKPOINT_EVERY: Final = 100
_LARGEST_SEED: Final = 2**31
_SMOOTHING: Final = 0.95


@dataclass(frozen=True)
class TuneProgress:
    """Where a tuning run stands."""

    step: int
    steps: int
    loss: float
    """Smoothed over the last steps or so."""


class StopTuning(Exception):
    """Raised by `on_progress` to stop as Ctrl-C does: a checkpoint is kept."""


OnProgress = Callable[[TuneProgress], None]


@dataclass(frozen=True)
class Previews:
    """Grids of what the concept shows while it is tuned (see `preview`)."""

    every: int
    """Steps from one grid to the next."""

    show: Callable[[int, Image.Image], None]
    """Takes the number of steps done and the grid."""

    def __post_init__(self) -> None:
        """Refuse a count below 1.

        Raises:
            TuningError: it is.
        """
        if self.every < 1:
            raise TuningError(f"--preview-every {self.every}: at least 1 step")


def _no_callback(progress: TuneProgress) -> None:
    pass


@dataclass(frozen=True)
class RunOptions:
    """How a tuning run proceeds; nothing here changes its result."""

    work_dir: Path | None = None
    """Folder for checkpoints; None writes none."""

    resume: bool = False
    """Continue from the checkpoint in `work_dir`."""

    on_progress: OnProgress = _no_callback
    """Called after every step; it may raise `StopTuning`."""

    previews: Previews | None = None
    """Sample grids to draw during the run."""

    processes: Processes = field(default_factory=Processes)
    """Processes that share the run; `settings.accumulate` counts the passes of all."""


DEFAULT_RUN: Final = RunOptions()


def tune_concept(
    pictures: Sequence[Picture],
    *,
    base: Base,
    name: str,
    class_word: str,
    settings: TuneSettings,
    licence: str = "",
    run: RunOptions = DEFAULT_RUN,
) -> Concept:
    """Tune a concept on some pictures.

    Args:
        pictures: At least one.
        base: The base; unchanged afterwards.
        name: The concept's name; `<name>` in prompts.
        class_word: What V_class starts from.
        settings: Steps, rates, rank, seed.
        licence: Terms of use, recorded in the concept.
        run: Checkpoints, callbacks and processes; they do not change the result.

    Raises:
        ConceptError: `name` cannot be a name.
        TuningError: no pictures, an unknown class word, a base in float16, a foreign
            checkpoint, or a loss or gradients that are not finite.
    """
    checked_name(name, "concept")
    if not pictures:
        raise TuningError("no pictures to tune on")
    if base.unet.dtype == torch.float16:
        raise TuningError(
            "float16 loses the small gradients of tuning; pass --precision bfloat16"
        )
    generator = torch.Generator().manual_seed(settings.seed)
    data = training_set(base, pictures, name, settings)
    words = initial_words(base, class_word, generator, settings.method)
    with (
        lora_adapters(base, settings.rank, generator),
        lean_projections(base),
        gradient_checkpointing(base, wanted=settings.gradient_checkpointing),
    ):
        identity = RunIdentity(
            base.inventory.base,
            name,
            class_word,
            settings.decisive(),
            data.digest(),
        )
        _Run(base, name, words, data, settings, run).train(identity)
        lora = lora_factors(base)
    facts = ConceptFacts(name, class_word, base.inventory.base, settings.rank, licence)
    return Concept(facts, lora, words.finished())


class _Run:
    """One run: its parameters, optimiser and steps."""

    def __init__(
        self,
        base: Base,
        name: str,
        words: Words,
        data: TrainingSet,
        settings: TuneSettings,
        options: RunOptions,
    ) -> None:
        self._options, self._processes = options, options.processes
        self._base, self._name, self._words = base, name, words
        self._data, self._settings = data, settings
        self._objective = Objective(base, name, words, settings)
        self._optimiser = Optimiser(base, words, settings)
        self._step = 0

    def train(self, identity: RunIdentity) -> None:
        """Run all steps, or those after the checkpoint when resuming."""
        work_dir = self._options.work_dir
        parameters, adam = self._optimiser.parameters, self._optimiser.adam
        if self._options.resume and work_dir is not None:
            self._step = load_checkpoint(work_dir, identity, parameters, adam)
        saved = self._step
        writes = work_dir if self._processes.leads else None
        smooth: float | None = None
        try:
            while self._step < self._settings.steps:
                loss = self._gradients(saved)
                with _interrupts_wait():
                    self._optimiser.step(self._step)
                    self._step += 1
                kept = loss if smooth is None else smooth
                smooth = _SMOOTHING * kept + (1 - _SMOOTHING) * loss
                self._options.on_progress(
                    TuneProgress(self._step, self._settings.steps, smooth)
                )
                self._preview()
                if writes is not None and self._step % CHECKPOINT_EVERY == 0:
                    save_checkpoint(writes, identity, self._step, parameters, adam)
                    saved = self._step
        except (KeyboardInterrupt, StopTuning):
            if writes is not None and self._step > saved:
                save_checkpoint(writes, identity, self._step, parameters, adam)
            raise

    def _preview(self) -> None:
        previews = self._options.previews if self._processes.leads else None
        if previews is not None and self._step % previews.every == 0:
            sheet = preview_sheet(self._base, self._name, self._words)
            previews.show(self._step, sheet)

    def _gradients(self, saved: int) -> float:
        """Leave the next step's gradients on the parameters; its loss.

        Raises:
            TuningError: the loss, or a gradient, is not finite.
        """
        settings, data = self._settings, self._data
        # All of a step's randomness comes from here, so that a resumed run agrees.
        rng = random.Random(f"{settings.seed} {self._step}")
        generator = torch.Generator().manual_seed(rng.randrange(_LARGEST_SEED))
        losses: list[torch.Tensor] = []
        own = self._processes.passes(settings.accumulate)
        for number in range(settings.accumulate):
            if number:
                generator = generator.manual_seed(rng.randrange(_LARGEST_SEED))
            batch = data.batch(rng, settings.batch_size)
            if number not in own:
                continue
            with layerwise(self._base.unet):
                loss = self._objective.loss(
                    batch.latents,
                    batch.captions,
                    generator,
                    masks=batch.masks,
                    subjects=batch.subject_masks,
                    sizes=torch.tensor(batch.sizes),
                )
                (loss / settings.accumulate).backward()
            losses.append(loss.detach())
        loss = torch.stack(losses).sum() / settings.accumulate
        loss = self._processes.add_up(self._optimiser.parameters.values(), loss)
        value, finite = self._optimiser.finite(loss)
        if not finite:
            raise TuningError(self._failure(value, saved))
        return value

    def _failure(self, loss: float, saved: int) -> str:
        work_dir = self._options.work_dir
        names = ("embedding_rate", "text_rate", "unet_rate", "kv_rate")
        rates = {name: getattr(self._settings, name) for name in names}
        tried = ", ".join(f"{name} {rate:g}" for name, rate in rates.items() if rate)
        likely = [name for name in names[2:] if rates[name]] or [names[0]]
        lower = " ".join(f"--set {name}={rates[name] / 4:g}" for name in likely)
        way = f"start anew with lower ones, such as {lower}"
        if work_dir is not None and saved:
            way = (
                f"{work_dir / FILE} holds step {saved}: go on from it with --resume "
                f"{lower}, or {way}"
            )
        what = "has gradients that are not finite" if isfinite(loss) else f"is {loss}"
        return (
            f"the loss {what} at step {self._step + 1}: the rates are too high for "
            f"this base ({tried}); {way}"
        )


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C waits for the end of this, so that no half step is ever saved."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals only ever interrupt the main thread
        return
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if caught:
        raise KeyboardInterrupt
