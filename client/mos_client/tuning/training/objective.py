"""What a tuning run minimises: the loss of a batch on the base with its adapters."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mos_client.tuning.settings import TuneSettings
from mos_client.tuning.training.attention import watched
from mos_client.tuning.training.loss import diffusion_loss, draw_noise, draw_timesteps
from mos_client.tuning.training.words import Words
from mos_model.bases.base import Base
from mos_model.devices import autocast
from mos_model.prompts.encoder import EncodedPrompts, PromptEncoder


class Objective:
    """The loss of one concept in training; parameters stay with who made them."""

    def __init__(
        self, base: Base, name: str, words: Words, settings: TuneSettings
    ) -> None:
        """Take a base inside `lora_adapters` and `layerwise`, and the concept's words.

        Args:
            base: It computes in its own dtype, under autocast where that is narrow.
            name: The concept's placeholder is `<name>`.
            words: Read at every call.
            settings: Weights of the loss.
        """
        self._base, self._name, self._words = base, name, words
        self._settings = settings
        self._scheduler = base.noise_scheduler()

    def loss(
        self,
        latents: Float[Tensor, "n c h w"],
        prompts: Sequence[str],
        generator: torch.Generator,
        *,
        masks: Float[Tensor, "n 1 h w"] | None = None,
        subjects: Float[Tensor, "n 1 h w"] | None = None,
        sizes: Int[Tensor, "n 6"] | None = None,
    ) -> Float[Tensor, ""]:
        """Diffusion loss, plus the attention penalty where subjects are known.

        Args:
            latents: Clean latents, float32, on the base's device.
            prompts: One a picture.
            generator: Of noise and timesteps; on the CPU, so that every device draws
                alike.
            masks: Weights of the diffusion loss per cell.
            subjects: Where the subject is, 0..1 per cell (see `attention`).
            sizes: SDXL's original height and width, top and left of the crop, target
                height and width; the latents' own size by default.
        """
        settings = self._settings
        noise = draw_noise(latents, settings.noise_offset, generator)
        last = self._scheduler.config.num_train_timesteps
        bias = settings.timestep_bias
        timesteps = draw_timesteps(len(prompts), last, bias, generator)
        timesteps = timesteps.to(latents.device)
        noisy = self._scheduler.add_noise(latents, noise, timesteps)
        encoder = PromptEncoder(self._base, {self._name: self._words.vectors()})
        weight = 0.0 if subjects is None else settings.attention_weight
        with autocast(self._base.device, self._base.unet.dtype):
            encoded = encoder.encode(prompts)
            if subjects is None or not weight:
                predicted = self._predict(noisy, timesteps, encoded, sizes)
            else:
                with watched(self._base.unet) as watch:
                    predicted = self._predict(noisy, timesteps, encoded, sizes)
        loss = diffusion_loss(
            predicted, latents, noise, timesteps, self._scheduler, settings, masks
        )
        if subjects is not None and weight:
            tokens = [encoder.tokenize(prompt) for prompt in prompts]
            loss = loss + weight * watch.penalty(tokens, subjects)
        return loss

    def _predict(
        self,
        noisy: Float[Tensor, "n c h w"],
        timesteps: Int[Tensor, " n"],
        encoded: EncodedPrompts,
        sizes: Int[Tensor, "n 6"] | None,
    ) -> Float[Tensor, "n c h w"]:
        dtype = self._base.unet.dtype
        conditions = added_conditions(self._base, encoded, noisy, sizes)
        output: Tensor = self._base.unet(
            noisy.to(dtype), timesteps, encoded.stacked().to(dtype), **conditions
        ).sample
        return output


def added_conditions(
    base: Base,
    encoded: EncodedPrompts,
    latents: Float[Tensor, "n c h w"],
    sizes: Int[Tensor, "n 6"] | None = None,
) -> dict[str, Any]:
    """What SDXL's UNet reads besides: pooled text and sizes; {} for other bases.

    Args:
        base: The base.
        encoded: The prompts.
        latents: Whose size counts where `sizes` is None.
        sizes: See `Objective.loss`.
    """
    if encoded.pooled is None or not base.is_xl:
        return {}
    if sizes is None:
        factor = 2 ** (len(base.vae.config.block_out_channels) - 1)
        height, width = (factor * side for side in latents.shape[2:])
        whole = torch.tensor([height, width, 0, 0, height, width])
        sizes = whole.repeat(len(latents), 1)
    return {
        "added_cond_kwargs": {
            "text_embeds": encoded.pooled.to(base.unet.dtype),
            # Not in the base's dtype: bfloat16 has no 1023.
            "time_ids": sizes.to(latents.device, torch.float32),
        }
    }
