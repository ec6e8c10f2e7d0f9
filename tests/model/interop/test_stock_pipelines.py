"""What was exported draws, in plain diffusers, what the concept draws here.

The pictures are compared at one seed; the bound is a 255th of full scale in the mean.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image

from mos_model.applying import as_fused
from mos_model.base import load_base
from mos_model.concept import Concept
from mos_model.interop import export_diffusers, export_kohya, export_merged
from mos_model.interop.exporting import KOHYA_FILE
from mos_model.inventory import Inventory
from mos_model.sampling import Layout, sampling
from tests.support.concepts import random_concept

STEPS, GUIDANCE, SEED = 4, 3.0, 3
PROMPT, PLAIN = "a photo of a <rex> on the beach", "a photo of a cat on the beach"


@pytest.fixture(scope="module")
def concept(inventory: Inventory) -> Concept:
    """Strong enough to change every picture; its words are equal over layers."""
    made = random_concept(inventory, strength=0.5)
    words = {
        encoder: (20 * vectors[:, :1]).expand_as(vectors).contiguous()
        for encoder, vectors in made.embeddings.items()
    }
    return Concept(made.facts, made.lora, words)


@pytest.fixture(scope="module")
def wanted(base: str, concept: Concept) -> dict[str, Image.Image]:
    """Our own pictures of both prompts."""
    return {p: ours(base, concept, p) for p in (PROMPT, PLAIN)}


def ours(base: str, concept: Concept | None, prompt: str) -> Image.Image:
    model = None if concept is None else as_fused(concept)
    with sampling(load_base(base), model) as sampler:
        pictures = sampler.sample(
            Layout(prompt, 32, 32), seeds=[SEED], steps=STEPS, guidance=GUIDANCE
        )
    return pictures[0]


def stock(base: str) -> Any:
    pipeline = StableDiffusionPipeline.from_pretrained(
        base, safety_checker=None, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config
    )
    return pipeline


def drawn(pipeline: Any, prompt: str) -> Image.Image:
    output = pipeline(
        prompt,
        height=32,
        width=32,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=torch.Generator().manual_seed(SEED),
    )
    picture: Image.Image = output.images[0]
    return picture


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of the pixels, 0 to 255."""
    first, second = (np.asarray(image, dtype=float) for image in (one, other))
    return float(np.abs(first - second).mean())


def test_plain_lora_draws_the_same_picture(
    base: str, concept: Concept, wanted: dict[str, Image.Image], out: Path
) -> None:
    export_diffusers(as_fused(concept), out)
    pipeline = stock(base)
    untouched = drawn(pipeline, PLAIN)
    pipeline.load_lora_weights(out)
    assert difference(drawn(pipeline, PLAIN), wanted[PLAIN]) < 1
    assert difference(untouched, wanted[PLAIN]) > 5


def test_words_equal_over_layers_draw_the_same_picture(
    base: str, concept: Concept, wanted: dict[str, Image.Image], out: Path
) -> None:
    export_diffusers(as_fused(concept), out)
    pipeline = stock(base)
    pipeline.load_lora_weights(out)
    before = drawn(pipeline, PROMPT)
    pipeline.load_textual_inversion(out / "embeddings" / "rex.safetensors")
    assert difference(drawn(pipeline, PROMPT), wanted[PROMPT]) < 1
    assert difference(before, wanted[PROMPT]) > 1


def test_kohya_file_and_a1111_words_draw_the_same_picture(
    base: str, concept: Concept, wanted: dict[str, Image.Image], out: Path
) -> None:
    export_kohya(as_fused(concept), out)
    pipeline = stock(base)
    pipeline.load_lora_weights(out, weight_name=KOHYA_FILE)
    words = out / "embeddings" / "rex.safetensors"
    pipeline.load_textual_inversion(words, token="<rex>")
    assert difference(drawn(pipeline, PROMPT), wanted[PROMPT]) < 1


def test_merged_pipeline_needs_neither_lora_nor_words(
    base: str, concept: Concept, wanted: dict[str, Image.Image], out: Path
) -> None:
    export_merged(as_fused(concept), load_base(base), out)
    pipeline = stock(str(out))
    for prompt in (PROMPT, PLAIN):
        assert difference(drawn(pipeline, prompt), wanted[prompt]) < 1
    # The result is itself a base.
    assert difference(ours(str(out), None, PLAIN), wanted[PLAIN]) < 1
    assert (out / "tokenizer" / "vocab.json").is_file()
