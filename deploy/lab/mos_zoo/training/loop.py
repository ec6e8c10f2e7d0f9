"""One training loop for every stage: resumable, on one GPU or on several cores.

Rules:
* A batch depends on the seed, the step and the process's number alone, so a resumed
  run goes on exactly as an uninterrupted one.
* The learning rate never depends on when training will end: warm-up, then slow decay.
  The moving average stands in for annealing; `finish` is a short cool-down beside the
  ordinary state, which can still be trained on.
* A checkpoint that cannot be written costs a warning, not the run.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from mos_model.errors import ZooError
from mos_runtime.errors import StorageError
from mos_zoo.training.checkpoint import (
    Checkpoint,
    newest_checkpoint,
    save_checkpoint,
    set_aside,
)
from mos_zoo.training.journal import Journal
from mos_zoo.training.optimizer import Buffers, SharedOptimizer, Slot, layout

_BARRIER_SECONDS: Final = 900
_STOP, _RATE, _DECAY, _STEP, _ASKED_TO_STOP = range(5)


@dataclass(frozen=True)
class Recipe:
    """How a stage is trained."""

    learning_rate: float
    batch_size: int
    """Samples of the plainest shape in a step, over all processes."""
    warmup_steps: int = 150
    hold_steps: int = 4000
    """From here on the rate falls with the square root of the steps."""
    weight_decay: float = 0.0
    adam_names: tuple[str, ...] = ()
    """Matrices left to Adam: see `optimizer.layout`."""
    average_power: float = 17.0
    """Weight of step k in the average grows like k to this power; 17 averages over
    about the last twentieth of all steps (Karras et al., arXiv:2312.02696)."""


@runtime_checkable
class Stage(Protocol):
    """What the loop needs of one part of the zoo. Must pickle."""

    @property
    def name(self) -> str:
        """Also the name of its folder of checkpoints."""

    @property
    def recipe(self) -> Recipe:
        """How it is trained."""

    def build(self) -> nn.Module:
        """The model at the start; the same one every time."""

    def open(self, device: torch.device) -> None:
        """Load what `loss` needs, once in every process."""

    def loss(
        self, model: nn.Module, step: int, rng: np.random.Generator, samples: int
    ) -> dict[str, Tensor]:
        """The loss under "loss" and figures for the log, on a batch of chance.

        What takes time (shapes) may depend on `step` alone: processes wait for each
        other.
        """

    def show(self, model: nn.Module, folder: Path) -> dict[str, float]:
        """Figures on held-out data; writes pictures to look at into `folder`."""


@dataclass(frozen=True)
class Span:
    """How long to train, and how often to save and show."""

    seconds: float
    finish: bool = False
    """Cool down: the rate falls to 0 over `seconds`; saved apart."""
    save_every: float = 240.0
    show_every: float = 600.0
    log_every: int = 100
    max_steps: int | None = None
    """Stop after this many steps even if time is left."""


def train(
    stage: Stage, state: Path, span: Span, *, workers: int, device: torch.device
) -> int:
    """Train a stage from its newest checkpoint on, and save it.

    Args:
        stage: What to train.
        state: The folder of all stages' state.
        span: When to stop.
        workers: Processes of one thread each; 1 on a GPU.
        device: Where.

    Returns:
        The number of steps behind the stage now.

    Raises:
        ZooError: a training process ended by itself.
        StorageError: the last checkpoint could not be written.
    """
    model = stage.build()
    slots = layout(model, stage.recipe.adam_names)
    workers = 1 if device.type == "cuda" else workers
    buffers = Buffers.for_slots(slots, workers, device)
    control = torch.zeros(5, dtype=torch.float64).share_memory_()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(workers) if workers > 1 else None
    journal = Journal(state / "train.log")
    shared = _Shared(stage, slots, buffers, control, barrier)
    found = _restore(shared, state, span.finish, journal)
    run = _Run(shared, state, span, journal, device)
    others = [
        context.Process(target=_help, args=(shared, rank), daemon=True)
        for rank in range(1, workers)
    ]
    with _stop_on_signals(control):
        for other in others:
            other.start()
        try:
            return run.lead(model, found)
        finally:
            if barrier is not None:
                barrier.abort()
            for other in others:
                other.join(timeout=10)


@dataclass(frozen=True)
class _Shared:
    """What the processes of a run share."""

    stage: Stage
    slots: list[Slot]
    buffers: Buffers
    control: Tensor
    """Written by the leading process before every step; see `_STOP` and the others."""
    barrier: Any
    """None in a run of one process."""


class _Run:
    """The leading process's side of a run: clock, journal, checkpoints."""

    def __init__(
        self,
        shared: _Shared,
        state: Path,
        span: Span,
        journal: Journal,
        device: torch.device,
    ) -> None:
        stage = shared.stage
        self.shared, self.stage, self.span = shared, stage, span
        self.slots, self.buffers = shared.slots, shared.buffers
        self.control, self.journal, self.device = shared.control, journal, device
        self.folder = state / (f"{stage.name}-finish" if span.finish else stage.name)
        self.start = self.saved = self.shown = time.monotonic()

    def lead(self, model: nn.Module, found: Checkpoint | None) -> int:
        step = first = found.step if found else 0
        worker = _Worker(self.shared, model, 0, self.device)
        worker.begin(take_values=found is None)
        while True:
            elapsed = time.monotonic() - self.start
            self.control[_STOP] = self._is_over(step - first, elapsed)
            self.control[_RATE] = self._rate(step, elapsed)
            self.control[_DECAY] = self._decay(step, first)
            self.control[_STEP] = step
            figures = worker.step(self.control)
            if figures is None:
                break
            step += 1
            self._tell(step, first, figures)
        self._save(step, last=True)
        self._show(model, step)
        return step

    def _is_over(self, steps: int, elapsed: float) -> bool:
        enough = self.span.max_steps is not None and steps >= self.span.max_steps
        stopped = bool(self.control[_ASKED_TO_STOP])
        return enough or stopped or elapsed >= self.span.seconds

    def _rate(self, step: int, elapsed: float) -> float:
        recipe = self.stage.recipe
        rate = recipe.learning_rate * min(1.0, (step + 1) / recipe.warmup_steps)
        rate *= min(1.0, float((recipe.hold_steps / (step + 1)) ** 0.5))
        if self.span.finish:
            rate *= max(0.0, 1 - elapsed / self.span.seconds)
        return rate

    def _decay(self, step: int, first: int) -> float:
        decay: float = (1 - 1 / (step + 1)) ** (self.stage.recipe.average_power + 1)
        return min(decay, 0.99) if self.span.finish else decay

    def _tell(self, step: int, first: int, figures: dict[str, float]) -> None:
        self.journal.gather(figures)
        now = time.monotonic()
        if step % self.span.log_every == 0:
            speed = (step - first) * self.stage.recipe.batch_size / (now - self.start)
            self.journal.say(
                f"{self.folder.name} step {step} {self.journal.averages()} "
                f"rate {float(self.control[_RATE]):.2e} {speed:.0f} samples/s"
            )
        if now - self.saved >= self.span.save_every:
            self._save(step)
            self.saved = time.monotonic()
        if now - self.shown >= self.span.show_every:
            self._show(None, step)
            self.shown = time.monotonic()

    def _save(self, step: int, *, last: bool = False) -> None:
        tensors = {name: getattr(self.buffers, name) for name in Buffers.SAVED}
        facts: dict[str, object] = {"layout": _layout_facts(self.slots)}
        checkpoint = Checkpoint(step, facts, {k: v.cpu() for k, v in tensors.items()})
        try:
            save_checkpoint(self.folder, checkpoint)
        except StorageError as error:
            if last:
                raise
            self.journal.say(f"{error}; training goes on, the older checkpoint stays")

    def _show(self, model: nn.Module | None, step: int) -> None:
        shown = averaged(self.stage, self.slots, self.buffers.average, self.device)
        figures = self.stage.show(shown, self.folder / "shown")
        text = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.journal.say(f"{self.folder.name} step {step} held out: {text}")


class _Worker:
    """What every process does in a step."""

    def __init__(
        self, shared: _Shared, model: nn.Module, rank: int, device: torch.device
    ) -> None:
        self.stage, self.slots = shared.stage, shared.slots
        self.buffers, self.barrier = shared.buffers, shared.barrier
        self.rank, self.device = rank, device
        self.model = model.to(device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def wait(self) -> None:
        if self.barrier is None:
            return
        try:
            self.barrier.wait(_BARRIER_SECONDS)
        except Exception as error:
            raise ZooError(
                "a training process ended by itself (see the messages above); run the "
                "same command again to go on from the last checkpoint"
            ) from error

    def begin(self, *, take_values: bool) -> None:
        if self.barrier is not None:
            torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self.stage.open(self.device)
        self.optimizer = SharedOptimizer(
            self.model,
            self.slots,
            self.buffers,
            self.rank,
            self.wait,
            weight_decay=self.stage.recipe.weight_decay,
            take_values=take_values,
        )
        self.model.train()
        self.wait()

    def step(self, control: Tensor) -> dict[str, float] | None:
        """One step; None when the run is over."""
        self.wait()
        if control[_STOP]:
            return None
        number = int(control[_STEP])
        processes = len(self.buffers.gradients)
        rng = np.random.default_rng([20261123, number, self.rank])
        torch.manual_seed((number * 64 + self.rank) % 2**63)
        self.optimizer.zero_gradients()
        figures = self.stage.loss(
            self.model, number, rng, self.stage.recipe.batch_size // processes
        )
        figures["loss"].backward()
        logged = {name: float(value.detach()) for name, value in figures.items()}
        logged["norm"] = self.optimizer.step(
            number, float(control[_RATE]), float(control[_DECAY])
        )
        self.wait()
        return logged


def _help(shared: _Shared, rank: int) -> None:
    """The other processes' main function."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = os.getppid()
    device = torch.device("cpu")
    worker = _Worker(shared, shared.stage.build(), rank, device)
    try:
        worker.begin(take_values=False)
        while worker.step(shared.control) is not None and os.getppid() == parent:
            pass
    except ZooError:
        return  # the leading process has said why, or has ended


def averaged(
    stage: Stage, slots: list[Slot], average: Tensor, device: torch.device
) -> nn.Module:
    """The stage's model with averaged parameters, for use."""
    model = stage.build()
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for slot in slots:
            parameters[slot.name].copy_(slot.view(average.cpu()))
    return model.eval().to(device)


def trained(stage: Stage, state: Path, journal: Journal) -> nn.Module:
    """The stage's averaged model: the finished one where it is the newest.

    Raises:
        ZooError: the stage was never trained here.
    """
    found = [
        newest_checkpoint(state / f"{stage.name}{suffix}", journal.say)
        for suffix in ("-finish", "")
    ]
    model = stage.build()
    slots = layout(model, stage.recipe.adam_names)
    facts = _layout_facts(slots)
    own = [c for c in found if c is not None and c.facts["layout"] == facts]
    best = max(own, key=lambda c: c.step, default=None)
    if best is None:
        raise ZooError(
            f"{state}: no trained {stage.name!r}; run `python -m mos_zoo.train "
            f"{stage.name}` first"
        )
    average = best.tensors["average"]
    return averaged(stage, slots, average, torch.device("cpu"))


def _restore(
    shared: _Shared, state: Path, finish: bool, journal: Journal
) -> Checkpoint | None:
    stage, slots, buffers = shared.stage, shared.slots, shared.buffers
    found = newest_checkpoint(state / stage.name, journal.say)
    if finish and found is None:
        raise ZooError(f"{stage.name}: nothing to finish; train it first")
    if found is not None and found.facts["layout"] != _layout_facts(slots):
        journal.say(f"{stage.name}: the checkpoint is of another model; starting anew")
        # Its higher steps would pass for newer ones otherwise.
        set_aside(state / stage.name)
        found = None
    if found is not None:
        for name in Buffers.SAVED:
            getattr(buffers, name).copy_(found.tensors[name])
        journal.say(f"{stage.name}: going on from step {found.step}")
    return found


def _layout_facts(slots: list[Slot]) -> list[list[object]]:
    return [[slot.name, list(slot.shape)] for slot in slots]


@contextmanager
def _stop_on_signals(control: Tensor) -> Iterator[None]:
    """SIGINT and SIGTERM end the run after the current step, with a checkpoint."""

    def stop(number: int, frame: object) -> None:
        control[_ASKED_TO_STOP] = 1

    previous: dict[signal.Signals, Any] = {}
    handler: Callable[[int, object], None] = stop
    for name in (signal.SIGINT, signal.SIGTERM):
        try:
            previous[name] = signal.signal(name, handler)
        except ValueError:
            continue  # not the main thread: a test, a notebook
    try:
        yield
    finally:
        for name, old in previous.items():
            signal.signal(name, old)
