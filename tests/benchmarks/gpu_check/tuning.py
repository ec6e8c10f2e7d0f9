"""Tuning steps: seconds and memory of ours, the naive one and diffusers'."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch
from PIL import Image

from mos_client.pictures import Picture, read_folder
from mos_client.tuning import RunOptions, TuneProgress, TuneSettings, tune_concept
from mos_client.tuning.data.latents import working_side
from mos_model.bases.base import Base
from tests.benchmarks._other_tuning import naive_edlora, text_to_image_lora
from tests.benchmarks.gpu_check.bases import random_base
from tests.benchmarks.gpu_check.machine import Machine
from tests.benchmarks.gpu_check.report import Row
from tests.support.pictures import save_pictures

Add = Callable[[Row], None]

PRECISION: Final = torch.bfloat16


@dataclass(frozen=True)
class Way:
    """One way to make a step."""

    name: str
    checkpointing: bool = False
    compiled: bool = False
    published: Any = None
    """A step of `_other_tuning`; None for the project's own."""


PLAIN: Final = (
    Way("ours"),
    Way("ours, checkpointing", checkpointing=True),
    Way("naive ED-LoRA", published=naive_edlora),
    Way("diffusers' LoRA, no words", published=text_to_image_lora),
)
OURS: Final = PLAIN[:2]
COMPILED: Final = (
    Way("ours, compiled", compiled=True),
    Way("ours, compiled, checkpointing", checkpointing=True, compiled=True),
)


def measure_tuning(
    machine: Machine, add: Add, family: str, batch: int, ways: Sequence[Way]
) -> None:
    """One row for each way, in bfloat16 at the size that the base works at."""
    base = random_base(machine, family, PRECISION)
    held = machine.held()
    # CPU autocast, unlike CUDA's, leaves the naive way's mixed layer norms to fail.
    plain = random_base(machine, family, torch.float32) if machine.smoke else base
    section = f"tuning {family}"
    side = working_side(base)
    pictures = _pictures(side)
    warm, counted = (1, 1) if machine.smoke else (4, 10)
    for way in ways:
        machine.free()
        settings = TuneSettings(
            steps=warm + counted,
            batch_size=batch,
            augmentations=1,
            gradient_checkpointing=way.checkpointing,
        )
        used = base if way.published is None else plain
        figures = _measured(machine, used, pictures, settings, way, warm)
        size = {"batch": batch, "side": side}
        add(Row(section, way.name, figures | size | held))
    if base.is_xl:
        reason = "written out for one text encoder alone"
        add(Row(section, PLAIN[2].name, skipped=reason))
        reason = f"{base.inventory.layers} blocks are compiled one by one: minutes"
        add(Row(section, COMPILED[0].name, skipped=reason))


def _measured(
    machine: Machine,
    base: Base,
    pictures: list[Picture],
    settings: TuneSettings,
    way: Way,
    warm: int,
) -> dict[str, Any]:
    begun = machine.now()
    if way.published is not None:
        images = [picture.image for picture in pictures]
        ends = _published(machine, base, images, settings, way.published, warm)
    else:
        with _compiled(machine, base) if way.compiled else _as_it_is():
            ends = _ours(machine, base, pictures, settings, warm)
    seconds = [after - before for before, after in pairwise(ends[warm - 1 :])]
    return {
        "seconds_a_step": round(median(seconds), 4),
        "first_step_after": round(ends[0] - begun, 1),
        **machine.peak(),
    }


def _ours(
    machine: Machine,
    base: Base,
    pictures: list[Picture],
    settings: TuneSettings,
    warm: int,
) -> list[float]:
    """When each step of `tune_concept` was done."""
    ends: list[float] = []

    def note(progress: TuneProgress) -> None:
        ends.append(machine.now())
        if len(ends) == warm:
            machine.reset_peak()

    tune_concept(
        pictures,
        base=base,
        name="rex",
        class_word="cat",
        settings=settings,
        run=RunOptions(on_progress=note),
    )
    return ends


def _published(
    machine: Machine,
    base: Base,
    images: Sequence[Image.Image],
    settings: TuneSettings,
    steps_of: Any,
    warm: int,
) -> list[float]:
    ends: list[float] = []
    with steps_of(base, images, settings) as step:
        for _ in range(settings.steps):
            step()
            ends.append(machine.now())
            if len(ends) == warm:
                machine.reset_peak()
    return ends


@contextmanager
def _compiled(machine: Machine, base: Base) -> Iterator[None]:
    """Inside, the UNet's transformer blocks are compiled, each when it is first met.

    A smoke run traces them, which finds what cannot be compiled, and builds no kernels.
    """
    backend = "eager" if machine.smoke else "inductor"
    base.unet.compile_repeated_blocks(backend=backend, dynamic=False)
    try:
        # Each block reads its own layer of the text, so each is compiled by itself.
        with torch._dynamo.config.patch(recompile_limit=2 * base.inventory.layers):
            yield
    finally:
        for module in base.unet.modules():
            module._compiled_call_impl = None
        torch._dynamo.reset()


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


def _pictures(side: int) -> list[Picture]:
    with tempfile.TemporaryDirectory() as folder:
        saved = save_pictures(Path(folder), count=4, side=side)
        return list(read_folder(saved, min_side=side).pictures)
