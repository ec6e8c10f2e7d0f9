"""The diffusion loss of tuning."""

from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mos_client.tuning.settings import TuneSettings

_LEAST_SNR: Final = 1e-8


def draw_noise(
    latents: Float[Tensor, "n c h w"], offset: float, generator: torch.Generator
) -> Float[Tensor, "n c h w"]:
    """Gaussian noise plus `offset` times noise that is constant over each channel."""
    noise = torch.randn(latents.shape, generator=generator)
    if offset:
        shift = torch.randn(*latents.shape[:2], 1, 1, generator=generator)
        noise = noise + offset * shift
    return noise.to(latents)


def draw_timesteps(
    count: int, last: int, bias: float, generator: torch.Generator
) -> Int[Tensor, " n"]:
    """`count` timesteps from 0 to `last` - 1: last (1 - u^bias), u uniform in 0..1.

    The T2I-Adapter paper (arXiv:2302.08453, section 3.3) trains with bias 3, since what
    stands where is decided while noise is strong.
    """
    if bias == 1:
        return torch.randint(0, last, (count,), generator=generator)
    uniform = torch.rand(count, generator=generator)
    return (last * (1 - uniform**bias)).long().clamp(0, last - 1)


def diffusion_loss(
    predicted: Float[Tensor, "n c h w"],
    latents: Float[Tensor, "n c h w"],
    noise: Float[Tensor, "n c h w"],
    timesteps: Int[Tensor, " n"],
    scheduler: Any,
    settings: TuneSettings,
    mask: Float[Tensor, "n 1 h w"] | None,
) -> Float[Tensor, ""]:
    """Squared error against what the base was trained to predict.

    Args:
        predicted: The UNet's output.
        latents: Clean latents.
        noise: The noise that was added.
        timesteps: Of each picture.
        scheduler: The base's `DDPMScheduler`; its `prediction_type` decides.
        settings: `snr_gamma` weights each timestep by min(SNR, gamma) where the base
            predicts the sample, by that over SNR where it predicts the noise, over
            SNR + 1 where it predicts the velocity (arXiv:2303.09556, section 3.4).
        mask: Weights of the loss per cell; normalised to mean 1 a picture.
    """
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        target = scheduler.get_velocity(latents, noise, timesteps)
    else:
        target = noise if kind == "epsilon" else latents
    errors = (predicted.float() - target.float()).square()
    if mask is not None:
        errors = errors * mask / mask.mean((1, 2, 3), keepdim=True).clamp_min(1e-3)
    each = errors.mean((1, 2, 3))
    if settings.snr_gamma is not None:
        kept = scheduler.alphas_cumprod.to(timesteps.device)[timesteps]
        snr = kept / (1 - kept)
        over = {"epsilon": snr, "v_prediction": snr + 1}.get(kind, torch.ones_like(snr))
        # The noise of a step without any signal (SNR 0) counts fully, as min(1, ..).
        each = each * snr.clamp(_LEAST_SNR, settings.snr_gamma) / over.clamp(_LEAST_SNR)
    loss: Float[Tensor, ""] = each.mean()
    return loss
