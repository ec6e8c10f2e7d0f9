"""The stage `decoder`: the autoencoder's second half goes on, its latents stay.

What was trained on the latents (denoiser, controls) stays valid, since only the way
back to pictures changes. Latents are read from where `latents` left them, so a step
costs no encoding. Colours count here: small parts in odd colours are what the first
training, most of it on quarters of pictures, greys most. Pictures are seen whole: a
part of the latents would bring its neighbours' traces without the neighbours.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from jaxtyping import Float
from torch import Tensor, nn

from mos_model.errors import ZooError
from mos_zoo.models.vae import show_reconstructions, subject_weights
from mos_zoo.training.dataset import load_set
from mos_zoo.training.journal import Journal
from mos_zoo.training.latents import load_latents, vae_folder
from mos_zoo.training.loop import Recipe, trained
from mos_zoo.world.pictures import to_tensor

_COLOUR_WEIGHT: Final = 2.0


class Decoder(nn.Module):
    """Normalised latents to pictures; the names are the autoencoder's own."""

    def __init__(self, vae: Any) -> None:
        """Take the second half of an autoencoder."""
        super().__init__()
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder

    def forward(self, z: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 H W"]:
        """Pictures in -1..1, about."""
        decoded: Tensor = self.decoder(self.post_quant_conv(z))
        return decoded


@dataclass
class DecoderStage:
    """Trains the decoder on the cached latents."""

    state: Path
    limit: int | None = None
    """Pictures held in memory, per process; all by default."""
    batch_size: int = 8
    learning_rate: float = 1e-3
    name: str = "decoder"

    @property
    def recipe(self) -> Recipe:
        """Muon on the convolutions between the first and the last."""
        outer = ("conv_in", "conv_out", "quant_conv")
        return Recipe(self.learning_rate, self.batch_size, 60, adam_names=outer)

    def build(self) -> Decoder:
        """Starts from the autoencoder as `latents` normalised it."""
        folder = vae_folder(self.state)
        if not folder.is_dir():
            raise ZooError(f"{folder}: missing; run the stage `latents` first")
        return Decoder(AutoencoderKL.from_pretrained(folder))

    def open(self, device: torch.device) -> None:
        """Load pictures and their latents."""
        self._device = device
        self._pictures = load_set(self.state / "data", "square", self.limit)
        self._latents = torch.from_numpy(load_latents(self.state, "square"))

    def loss(
        self, model: nn.Module, step: int, rng: np.random.Generator, samples: int
    ) -> dict[str, Tensor]:
        """Weighted absolute, squared, gradient and colour error."""
        rows = rng.integers(len(self._pictures.pixels), size=samples)
        z = self._latents[torch.from_numpy(rows)].to(self._device).float()
        x = to_tensor(self._pictures.pixels[rows], self._device)
        subject = torch.from_numpy(self._pictures.subject[rows])
        weight = subject_weights(subject.to(self._device))
        with torch.autocast(self._device.type, torch.bfloat16):
            decoded = model(z)
        error = (decoded.float() - x) * weight.sqrt()
        across = (error[..., 1:] - error[..., :-1]).abs().mean()
        down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
        squared = error.square().mean()
        # Errors that agree over neighbours are shifts of colour, not blur.
        shift = F.avg_pool2d(error, 3, 1).square().mean()
        loss = error.abs().mean() + 3 * squared + 0.4 * (across + down)
        return {
            "loss": loss + _COLOUR_WEIGHT * shift,
            "squared": squared,
            "shift": shift,
        }

    @torch.no_grad()
    def show(self, model: nn.Module, folder: Path) -> dict[str, float]:
        """As the autoencoder's own stage shows itself."""
        vae: Any = AutoencoderKL.from_pretrained(vae_folder(self.state))
        vae.post_quant_conv.load_state_dict(_part(model, "post_quant_conv"))
        vae.decoder.load_state_dict(_part(model, "decoder"))
        return show_reconstructions(vae.to(self._device).eval(), folder, self._device)


def with_trained_decoder(state: Path) -> Any:
    """The normalised autoencoder, its decoder as trained last.

    Raises:
        ZooError: the autoencoder was not trained yet.
    """
    vae: Any = AutoencoderKL.from_pretrained(vae_folder(state))
    model = trained(DecoderStage(state), state, Journal())
    vae.post_quant_conv.load_state_dict(_part(model, "post_quant_conv"))
    vae.decoder.load_state_dict(_part(model, "decoder"))
    return vae


def _part(model: nn.Module, name: str) -> Any:
    return model.get_submodule(name).state_dict()
