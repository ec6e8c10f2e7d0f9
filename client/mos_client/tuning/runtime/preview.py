"""Previews: what a run has learnt so far, at several strengths of its LoRA.

As the reference's validation: strength 0 shows what the words alone have learnt, 0.7
and 1 what the LoRA adds. A preview draws all its randomness from its own seeds and
leaves the base as it was, so a run with previews ends at the same bits as one without.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from PIL import Image

from mos_client.tuning.data.latents import working_side
from mos_client.tuning.training.adapters import ADAPTER
from mos_client.tuning.training.words import Words
from mos_model.bases.base import Base
from mos_model.devices import autocast
from mos_model.layouts.picture_file import picture_bytes
from mos_model.prompts.encoder import PromptEncoder
from mos_model.sampling import Layout, Sampler, contact_sheet
from mos_runtime.files import write_atomically

STRENGTHS: Final = (0.0, 0.7, 1.0)
"""Of the LoRA, from the top row to the bottom row."""

PROMPTS: Final = ("a photo of {}", "{} on the beach")
SEEDS: Final = (0, 1)


@torch.no_grad()
def preview_sheet(base: Base, name: str, words: Words) -> Image.Image:
    """A grid: a row per strength, in it every prompt with every seed.

    Args:
        base: Inside `lora_adapters`, outside `layerwise`; it is left as it was.
        name: The concept's.
        words: Its words as they stand.
    """
    side = working_side(base)
    drawing = base.defaults.get("sample", {})
    size = (int(drawing.get("width", side)), int(drawing.get("height", side)))
    pairs = [(prompt.format(f"<{name}>"), s) for prompt in PROMPTS for s in SEEDS]
    layouts = [Layout(prompt, *size) for prompt, _ in pairs]
    sampler = Sampler(base, PromptEncoder(base, {name: words.vectors()}))
    shown: list[Image.Image] = []
    for strength in STRENGTHS:
        with _scaled(base, strength), autocast(base.device, base.unet.dtype):
            shown += sampler.sample(layouts, seeds=[seed for _, seed in pairs])
    return contact_sheet(shown, columns=len(pairs))


def preview_writer(folder: Path) -> Callable[[int, Image.Image], None]:
    """What writes the grid of a step to `folder/step-000120.png`."""

    def write(step: int, sheet: Image.Image) -> None:
        write_atomically(folder / f"step-{step:06}.png", picture_bytes(sheet))

    return write


@contextmanager
def _scaled(base: Base, strength: float) -> Iterator[None]:
    """Inside, every LoRA pair counts `strength` times."""
    layers = [
        layer
        for component in ("unet", *base.text_encoders)
        for layer in getattr(base.pipeline, component).modules()
        if isinstance(layer, BaseTunerLayer)
    ]
    before = [layer.scaling[ADAPTER] for layer in layers]
    for layer, scale in zip(layers, before, strict=True):
        layer.scaling[ADAPTER] = scale * strength
    try:
        yield
    finally:
        for layer, scale in zip(layers, before, strict=True):
            layer.scaling[ADAPTER] = scale
