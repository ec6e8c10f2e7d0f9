"""The stage `vae`: pictures to latents of an eighth of their size, and back.

A stock `AutoencoderKL` without attention, so that wide canvases are treated like square
ones. Its loss weighs subjects above backgrounds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from mos_zoo.training.dataset import Pictures, held_out, load_set
from mos_zoo.training.loop import Recipe
from mos_zoo.world.pictures import save_grid, to_pixels, to_tensor

LATENT_CHANNELS: Final = 12
DOWNSCALE: Final = 8
_SUBJECT_WEIGHT: Final = 4.0
_KL_WEIGHT: Final = 2e-4
_PIXELS: Final = 64
_WHOLE_EVERY: Final = 4
"""The other batches are of quarters: four times cheaper, nearly as good a lesson."""
_CROPPED_SETS: Final = ("medium", "double", "triple")


@dataclass
class VaeStage:
    """Trains the autoencoder."""

    data: Path
    """The folder of `dataset.render_sets`."""
    limit: int | None = 24_000
    """Square pictures held in memory, per process."""
    widths: tuple[int, ...] = (24, 48, 96, 128)
    batch_size: int = 8
    learning_rate: float = 2e-3
    name: str = "vae"

    @property
    def recipe(self) -> Recipe:
        """Muon on the convolutions between the first and the last."""
        outer = ("conv_in", "conv_out", "quant_conv")
        return Recipe(self.learning_rate, self.batch_size, 60, adam_names=outer)

    def build(self) -> AutoencoderKL:
        """Residual branches start near zero, the posterior narrow."""
        torch.manual_seed(0)
        levels = len(self.widths)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=self.widths,
            layers_per_block=1,
            latent_channels=LATENT_CHANNELS,
            norm_num_groups=8,
            sample_size=_PIXELS,
            mid_block_add_attention=False,
            scaling_factor=1.0,
        )
        for module in vae.modules():
            if hasattr(module, "conv1") and hasattr(module, "conv2"):
                nn.init.normal_(module.conv2.weight, std=1e-3)
                nn.init.zeros_(module.conv2.bias)
        vae.quant_conv.weight.data[LATENT_CHANNELS:] *= 0.1
        vae.quant_conv.bias.data[LATENT_CHANNELS:] = -5.0
        return vae

    def open(self, device: torch.device) -> None:
        """Load the pictures; wide ones are cropped to squares."""
        self._device = device
        self._square = load_set(self.data, "square", self.limit)
        self._wide: list[Pictures] = [
            load_set(self.data, name, 2000) for name in _CROPPED_SETS
        ]

    def loss(
        self, model: nn.Module, step: int, rng: np.random.Generator, samples: int
    ) -> dict[str, Tensor]:
        """Weighted absolute, squared and gradient error, and a little KL."""
        side = _PIXELS if step % _WHOLE_EVERY == 0 else _PIXELS // 2
        pixels, subject = self._batch(rng, samples, side)
        x = to_tensor(pixels, self._device)
        weight = subject_weights(torch.from_numpy(subject).to(self._device))
        with torch.autocast(self._device.type, torch.bfloat16):
            posterior = model.encode(x).latent_dist  # type: ignore[operator]
            decoded = model.decode(posterior.sample()).sample  # type: ignore[operator]
        error = (decoded.float() - x) * weight.sqrt()
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        across = (error[..., 1:] - error[..., :-1]).abs().mean()
        down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
        squared = error.square().mean()
        loss = error.abs().mean() + 3 * squared + 0.4 * (across + down)
        loss = loss + _KL_WEIGHT * kl
        return {"loss": loss, "squared": squared, "kl": kl}

    def show(self, model: nn.Module, folder: Path) -> dict[str, float]:
        """PSNR on held-out pictures, whole and on subjects."""
        return show_reconstructions(model, folder, self._device)

    def _batch(
        self, rng: np.random.Generator, samples: int, side: int
    ) -> tuple[UInt8[np.ndarray, "n side side 3"], UInt8[np.ndarray, "n side side"]]:
        pixels = np.empty((samples, side, side, 3), np.uint8)
        subject = np.empty((samples, side, side), np.uint8)
        for k in range(samples):
            wide = k % 4 == 3
            source = self._wide[rng.integers(3)] if wide else self._square
            i = rng.integers(len(source.pixels))
            height, width = source.subject.shape[1:]
            y, x = rng.integers(height - side + 1), rng.integers(width - side + 1)
            pixels[k] = source.pixels[i, y : y + side, x : x + side]
            subject[k] = source.subject[i, y : y + side, x : x + side]
        return pixels, subject


@torch.no_grad()
def show_reconstructions(
    vae: Any, folder: Path, device: torch.device
) -> dict[str, float]:
    """PSNR on held-out pictures, whole and on subjects; a grid of some of them."""
    scenes = list(held_out(64))
    originals = np.stack([scene.pixels for scene in scenes])
    x = to_tensor(originals, device)
    r = torch.cat([reconstruct(vae, part) for part in x.split(16)])
    mask = torch.from_numpy(np.stack([s.subject for s in scenes]))[:, None]
    mask = mask.to(device)
    on_subject = (r - x).square().mul(mask).sum() / mask.sum().mul(3)
    rows = [*originals[:32], *to_pixels(r[:32])]
    save_grid(folder / "reconstructions.png", rows, columns=16)
    return {
        "psnr": psnr(r, x),
        "psnr on subjects": float(10 * torch.log10(4 / on_subject)),
    }


def reconstruct(vae: Any, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """Through the latents' mean and back, clamped to -1..1."""
    decoded: Tensor = vae.decode(vae.encode(x).latent_dist.mode()).sample
    return decoded.float().clamp(-1, 1)


def psnr(a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> float:
    """Mean over pictures of 10 log10(4 / mse), for values in -1..1."""
    errors = (a - b).square().mean((1, 2, 3)).clamp(min=1e-10)
    return float((10 * torch.log10(4 / errors)).mean())


def subject_weights(subject: UInt8[Tensor, "n h w"]) -> Float[Tensor, "n 1 h w"]:
    """Heavier on subjects and their edges; 1 on average in every picture."""
    near = F.max_pool2d(subject[:, None].float(), 3, 1, 1)
    weight = 1 + (_SUBJECT_WEIGHT - 1) * near
    return weight / weight.mean((1, 2, 3), keepdim=True)
