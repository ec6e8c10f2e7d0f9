"""Run a base with a concept on it, and keep the moments of its layers' inputs.

Stages as in Mix-of-Show (arXiv:2305.18292, section 3.2, and its supplement): the text
encoder on prompts of the concept; K and V of cross-attention on the features of these
prompts; spatial attention during a sampling run of the concept.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler

from mos_model.applying import applied
from mos_model.base import Base
from mos_model.concept import LayerwiseEmbeddings, LoraFactors
from mos_model.layerwise import layerwise
from mos_model.prompts import EncodedPrompts, PromptEncoder
from mos_server.fusion.focus import Focus
from mos_server.fusion.moments import (
    CROSS,
    SPATIAL,
    STAGES,
    TEXT,
    Gram,
    moment,
    recording,
)
from mos_server.fusion.settings import FusionSettings

_PICTURES_AT_ONCE = 9
"""As many as the usual settings have prompts: a rest of one would cost a whole run."""


@torch.no_grad()
def capture(
    base: Base,
    lora: Mapping[str, LoraFactors],
    words: Mapping[str, LayerwiseEmbeddings],
    prompts: Sequence[str],
    settings: FusionSettings,
    *,
    stages: Sequence[str] = STAGES,
    on_step: Callable[[], None] = lambda: None,
) -> dict[str, Gram]:
    """The moments of every input of some stages, for one concept or for none.

    Args:
        base: The base; as it was, afterwards.
        lora: The update to run with; empty for the base's own behaviour.
        words: Placeholder -> embeddings of the concepts that the prompts name.
        prompts: What is encoded and sampled.
        settings: Steps, guidance, seed and text positions.
        stages: Which moments are wanted.
        on_step: Called after every sampling step.

    Returns:
        Input name (see `moments.input_of`) -> X X^T, float32, [d_in, d_in].
    """
    moments: dict[str, Gram] = {}
    with applied(base, lora):
        encoder = PromptEncoder(base, words)
        with recording(base, TEXT, moments if TEXT in stages else {}):
            encoded = encoder.encode(prompts)
        if CROSS in stages:
            moments |= _text_features(base, encoder, prompts, encoded, settings)
        if SPATIAL in stages:
            named = [encoder.tokenize(p).concept_positions() for p in prompts]
            _sample(base, encoder, encoded, named, settings, moments, on_step)
    return moments


def sampling_steps(prompts: Sequence[str], settings: FusionSettings) -> int:
    """How often `capture` calls `on_step` for these prompts."""
    batches = -(-len(prompts) // _PICTURES_AT_ONCE)
    return batches * settings.steps


def _text_features(
    base: Base,
    encoder: PromptEncoder,
    prompts: Sequence[str],
    encoded: EncodedPrompts,
    settings: FusionSettings,
) -> dict[str, Gram]:
    """Moments of the K/V inputs of each cross-attention block, from its own layer."""
    kept = [_positions(encoder, prompt, settings) for prompt in prompts]
    moments: dict[str, Gram] = {}
    for layer, block in enumerate(base.inventory.cross_attention_modules()):
        features = [
            encoded.hidden[row, layer, list(positions)]
            for row, positions in enumerate(kept)
        ]
        moments[f"{block}.kv"] = moment(torch.cat(features))
    return moments


def _positions(
    encoder: PromptEncoder, prompt: str, settings: FusionSettings
) -> Sequence[int]:
    tokenized = encoder.tokenize(prompt)
    if settings.positions == "concept" and tokenized.concepts:
        return (*tokenized.concept_positions(), tokenized.end)
    return range(len(tokenized.ids))


def _sample(
    base: Base,
    encoder: PromptEncoder,
    encoded: EncodedPrompts,
    named: Sequence[Sequence[int]],
    settings: FusionSettings,
    sink: dict[str, Gram],
    on_step: Callable[[], None],
) -> None:
    """Sample every prompt once, recording the conditional half's spatial inputs.

    `named` are the concept's positions in each prompt; where all prompts name it,
    `settings.focus` weighs the cells by the attention to them.
    """
    stacked, negative = encoded.stacked(), encoder.encode([""]).stacked()
    guided = settings.guidance > 1
    pipeline = base.pipeline
    kept_scheduler = pipeline.scheduler
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(kept_scheduler.config)
    focus = Focus()
    focused = settings.focus and all(named)

    def counting(inputs: torch.Tensor) -> torch.Tensor:
        own = inputs[inputs.shape[0] // 2 :] if guided else inputs
        return focus.weighted(own) if focused else own

    def tell(
        pipe: Any, step: int, timestep: Any, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        on_step()
        return kwargs

    try:
        with (
            layerwise(base.unet),
            focus.follow(base.unet, guided=guided) if focused else nullcontext(),
            recording(base, SPATIAL, sink, rows=counting),
        ):
            for first in range(0, len(stacked), _PICTURES_AT_ONCE):
                batch = slice(first, first + _PICTURES_AT_ONCE)
                count = len(stacked[batch])
                focus.start(named[batch])
                pipeline(
                    prompt_embeds=stacked[batch],
                    negative_prompt_embeds=negative.expand(count, -1, -1),
                    num_inference_steps=settings.steps,
                    guidance_scale=settings.guidance,
                    generator=[
                        torch.Generator().manual_seed(settings.seed + first + index)
                        for index in range(count)
                    ],
                    output_type="latent",
                    callback_on_step_end=tell,
                    **_pooled(encoder, encoded, batch),
                )
    finally:
        pipeline.scheduler = kept_scheduler


def _pooled(
    encoder: PromptEncoder, encoded: EncodedPrompts, batch: slice
) -> dict[str, Any]:
    """SDXL's pooled text, for the prompts and for the empty one."""
    if encoded.pooled is None:
        return {}
    pooled = encoded.pooled[batch]
    empty = encoder.encode([""]).pooled
    assert empty is not None
    return {
        "pooled_prompt_embeds": pooled,
        "negative_pooled_prompt_embeds": empty.expand(len(pooled), -1),
    }
