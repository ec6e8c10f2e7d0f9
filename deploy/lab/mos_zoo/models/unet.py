"""The stage `unet`: the denoiser and the text encoder, together.

v-prediction with min-SNR weighting, from cached latents; the text encoder starts from
the text half of the stage `clip`. One batch in three is of wider canvases, so that
pictures are not tiled where several subjects stand side by side.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UNet2DConditionModel,
)
from torch import Tensor, nn
from transformers import CLIPTextModel

from mos_model.errors import ZooError
from mos_zoo.models.clip import ClipStage, clip_config, encode_captions
from mos_zoo.models.vae import LATENT_CHANNELS
from mos_zoo.training.dataset import load_captions
from mos_zoo.training.journal import Journal
from mos_zoo.training.latents import load_latents, vae_folder
from mos_zoo.training.loop import Recipe, trained
from mos_zoo.training.tokenizer import encode, load_tokenizer
from mos_zoo.world.pictures import save_grid, to_pixels

_WITHOUT_CAPTION: Final = 0.1
_MOST_WEIGHT: Final = 6.0
_SHAPES: Final = ("square",) * 6 + ("double", "medium", "triple")
"""Which set step k draws from, in turn."""
_WIDTHS: Final = {"square": 2, "medium": 3, "double": 4, "triple": 6}
_SHOWN: Final = (
    *(
        "a red cat on the beach",
        "a blue dog in the snow",
        "a yellow bird in the forest",
    ),
    *("a green fish in the ocean", "a purple robot in the city", "a pink car at night"),
    *("a white boat in the ocean", "a black house in the desert", "a cat", "a dog"),
    *("a red striped cat in a room", "a blue robot with yellow spots at night"),
    *("a green bird with a red hat in the snow", "a pink dog with a blue scarf"),
    *("a red cat and a blue dog on the beach", "a robot and a car in the city"),
)


class Denoiser(nn.Module):
    """What is trained: a `CLIPTextModel` and a `UNet2DConditionModel`."""

    def __init__(self, widths: tuple[int, ...], layers: int) -> None:
        """Residual branches start near zero."""
        super().__init__()
        torch.manual_seed(2)
        config = clip_config().text_config
        self.text = CLIPTextModel(config)
        levels = len(widths)
        self.unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            layers_per_block=layers,
            block_out_channels=widths,
            down_block_types=("CrossAttnDownBlock2D",) * levels,
            up_block_types=("CrossAttnUpBlock2D",) * levels,
            mid_block_type="UNetMidBlock2DCrossAttn",
            cross_attention_dim=config.hidden_size,
            attention_head_dim=tuple(width // 32 for width in widths),
            norm_num_groups=16,
        )
        ends = (".conv2", ".proj_out", "attn1.to_out.0", "attn2.to_out.0", "ff.net.2")
        for name, module in self.unet.named_modules():
            if name.endswith(ends) or name == "conv_out":
                module.weight.data.mul_(0.0 if name == "conv_out" else 0.05)
                module.bias.data.zero_()

    def forward(self, noisy: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
        """The v of noisy latents [n, c, h, w] under token ids [n, 32]."""
        hidden = self.text(ids).last_hidden_state
        predicted: Tensor = self.unet(noisy, timesteps, hidden).sample
        return predicted


@dataclass
class UnetStage:
    """Trains the base."""

    state: Path
    widths: tuple[int, ...] = (96, 160)
    layers: int = 1
    batch_size: int = 64
    learning_rate: float = 1.5e-3
    name: str = "unet"
    _latents: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _ids: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def recipe(self) -> Recipe:
        """Embeddings, first and last layers are Adam's."""
        by_adam = ("embedding", "conv_in", "conv_out", "time_emb")
        return Recipe(
            self.learning_rate, self.batch_size, 150, 2500, 0.02, adam_names=by_adam
        )

    def build(self) -> nn.Module:
        """A fresh denoiser; its text encoder is CLIP's where that is trained."""
        model = Denoiser(self.widths, self.layers)
        try:
            clip: Any = trained(ClipStage(self.state / "data"), self.state, Journal())
        except ZooError:
            return model
        model.text.load_state_dict(_text_weights(clip, model.text))
        return model

    def open(self, device: torch.device) -> None:
        """Load latents and token ids of every shape."""
        self._device = device
        self._tokenizer = load_tokenizer()
        for name in _WIDTHS:
            latents = load_latents(self.state, name)
            captions = load_captions(self.state / "data", name)
            self._latents[name] = torch.from_numpy(latents)
            self._ids[name] = torch.from_numpy(
                encode_captions(self._tokenizer, captions)
            )
        self._empty = torch.from_numpy(encode(self._tokenizer, [""]))[0]
        self._alphas = noise_schedule().alphas_cumprod.to(device)

    def loss(
        self, model: nn.Module, step: int, rng: np.random.Generator, samples: int
    ) -> dict[str, Tensor]:
        """Weighted squared error of v."""
        shape = _SHAPES[step % len(_SHAPES)]
        samples = max(1, round(samples * 2 / _WIDTHS[shape]))
        latents, ids = self._latents[shape], self._ids[shape]
        rows = torch.from_numpy(rng.integers(len(latents), size=samples))
        caption = torch.from_numpy(rng.integers(ids.shape[1], size=samples))
        tokens = ids[rows, caption].clone()
        tokens[torch.from_numpy(rng.random(samples) < _WITHOUT_CAPTION)] = self._empty
        x = latents[rows].to(self._device).float()
        t = _timesteps(rng, samples).to(self._device)
        noise = torch.randn_like(x)
        alpha = self._alphas[t].view(-1, 1, 1, 1)
        noisy = (alpha.sqrt() * x + (1 - alpha).sqrt() * noise).to(
            memory_format=torch.channels_last
        )
        with torch.autocast(self._device.type, torch.bfloat16):
            predicted = model(noisy, t, tokens.to(self._device))
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * x
        error = (predicted.float() - target).square().mean((1, 2, 3))
        signal = (alpha / (1 - alpha)).flatten() + 1
        loss = (error * signal.clamp(max=_MOST_WEIGHT) / signal).mean()
        return {"loss": loss, "v": error.mean()}

    @torch.no_grad()
    def show(self, model: nn.Module, folder: Path) -> dict[str, float]:
        """A grid of samples; the figures are the gate's to give."""
        vae = AutoencoderKL.from_pretrained(vae_folder(self.state)).eval()
        ids = torch.from_numpy(encode(self._tokenizer, _SHOWN))
        latents = sample(model, ids, self._empty, seed=0)
        pictures = to_pixels(vae.decode(latents.cpu()).sample)
        save_grid(
            folder / "samples.png", list(pictures), columns=8, labels=_SHOWN, zoom=3
        )
        return {}


def noise_schedule() -> Any:
    """The base's scheduler."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )


@torch.no_grad()
def sample(
    model: nn.Module,
    ids: Tensor,
    empty: Tensor,
    *,
    seed: int,
    steps: int = 20,
    guidance: float = 5.0,
) -> Tensor:
    """Latents of square pictures, one for each row of token ids."""
    scheduler = DPMSolverMultistepScheduler.from_config(noise_schedule().config)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    x = torch.randn(len(ids), LATENT_CHANNELS, 8, 8, generator=generator).to(device)
    both = torch.cat([empty.expand(len(ids), -1), ids]).to(device)
    for t in scheduler.timesteps:
        v = model(torch.cat([x, x]), t.to(device).expand(2 * len(x)), both)
        without, with_text = v.chunk(2)
        guided = without + guidance * (with_text - without)
        x = scheduler.step(guided, t, x).prev_sample
    return x


def _timesteps(rng: np.random.Generator, samples: int) -> Tensor:
    """Stratified; a third of them between 100 and 600, where shapes are decided."""
    u = (np.arange(samples) + rng.random(samples)) / samples
    u = np.where(np.arange(samples) % 3 == 0, 0.1 + 0.5 * u, u)
    return torch.from_numpy((1000 * u).astype(np.int64)).clamp(0, 999)


def _text_weights(clip: Any, text: nn.Module) -> dict[str, Tensor]:
    """CLIP's text half under the names of a `CLIPTextModel` of this transformers."""
    prefix = "text_model."
    own = next(iter(text.state_dict())).startswith(prefix)
    return {
        (prefix if own else "") + name.removeprefix(prefix): value
        for name, value in clip.text_model.state_dict().items()
    }
