"""Where the inputs of K and V and of spatial attention come from.

As in Mix-of-Show (arXiv:2305.18292, section 3.2, and its supplement): K and V of
cross-attention read the features of a concept's prompts, spatial attention is recorded
during a sampling run of the concept.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler

from mos_model.bases.base import Base
from mos_model.prompts.encoder import EncodedPrompts, PromptEncoder
from mos_model.prompts.layerwise import layerwise
from mos_server.fusion.focus import Focus
from mos_server.fusion.moments import SPATIAL, Gram, moment, recording
from mos_server.fusion.settings import FusionSettings

_PICTURES_AT_ONCE = 9
"""As many as the usual settings have prompts: a rest of one would cost a whole run."""


def sampling_steps(prompts: Sequence[str], settings: FusionSettings) -> int:
    """How many sampling steps these prompts take: calls of `on_step`."""
    batches = -(-len(prompts) // _PICTURES_AT_ONCE)
    return batches * settings.steps


def text_feature_moments(
    base: Base,
    encoder: PromptEncoder,
    prompts: Sequence[str],
    encoded: EncodedPrompts,
    settings: FusionSettings,
) -> dict[str, Gram]:
    """Moments of the K/V inputs of each cross-attention block, from its own layer.

    Args:
        base: The base, as it is adapted at the moment.
        encoder: What `prompts` were encoded with.
        prompts: The prompts.
        encoded: Their features.
        settings: Which token positions count.
    """
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


def sample_recorded(
    base: Base,
    encoder: PromptEncoder,
    prompts: Sequence[str],
    encoded: EncodedPrompts,
    settings: FusionSettings,
    sink: dict[str, Gram],
    on_step: Callable[[], None],
) -> None:
    """Sample every prompt once, recording the conditional half's spatial inputs.

    Where all prompts name the concept, `settings.focus` weighs each latent pixel by
    its attention to the concept's tokens.

    Args:
        base: The base, as it is adapted at the moment.
        encoder: What `prompts` were encoded with.
        prompts: The prompts.
        encoded: Their features.
        settings: Steps, guidance, seed and focus.
        sink: Input name -> moment, added to.
        on_step: Called after every sampling step.
    """
    named = [encoder.tokenize(prompt).concept_positions() for prompt in prompts]
    stacked, negative = encoded.stacked(), encoder.encode([None]).stacked()
    guided = settings.guidance > 1
    pipeline = base.pipeline
    kept_scheduler = pipeline.scheduler
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(kept_scheduler.config)
    focus = Focus()
    focused = settings.focus and all(named)

    def weighted(inputs: torch.Tensor) -> torch.Tensor:
        own = inputs[inputs.shape[0] // 2 :] if guided else inputs
        return focus.weighted(own) if focused else own

    try:
        with (
            layerwise(base.unet),
            focus.follow(base.unet, guided=guided) if focused else nullcontext(),
            recording(base, SPATIAL, sink, rows=weighted),
        ):
            for first in range(0, len(stacked), _PICTURES_AT_ONCE):
                batch = slice(first, first + _PICTURES_AT_ONCE)
                focus.start(named[batch])
                pipeline(
                    prompt_embeds=stacked[batch],
                    negative_prompt_embeds=negative.expand(len(stacked[batch]), -1, -1),
                    num_inference_steps=settings.steps,
                    guidance_scale=settings.guidance,
                    generator=[
                        torch.Generator().manual_seed(settings.seed + first + index)
                        for index in range(len(stacked[batch]))
                    ],
                    output_type="latent",
                    callback_on_step_end=_step_callback(on_step),
                    **_pooled(encoder, encoded, batch),
                )
    finally:
        pipeline.scheduler = kept_scheduler


def _step_callback(on_step: Callable[[], None]) -> Callable[..., dict[str, Any]]:
    """`on_step` as diffusers calls back."""

    def callback(
        pipe: Any, step: int, timestep: Any, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        on_step()
        return kwargs

    return callback


def _pooled(
    encoder: PromptEncoder, encoded: EncodedPrompts, batch: slice
) -> dict[str, Any]:
    """SDXL's pooled text, for the prompts and for no prompt."""
    if encoded.pooled is None:
        return {}
    pooled = encoded.pooled[batch]
    empty = encoder.encode([None]).pooled
    assert empty is not None
    return {
        "pooled_prompt_embeds": pooled,
        "negative_pooled_prompt_embeds": empty.expand(len(pooled), -1),
    }
