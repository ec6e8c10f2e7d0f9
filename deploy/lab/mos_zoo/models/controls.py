"""The stages `adapter` and `controlnet`: pictures that steer the finished base.

Both are trained against the frozen base with what the renderer knows of its subjects,
white on black: the T2I-Adapter (arXiv:2302.08453) with their outlines, the ControlNet
(arXiv:2302.05543) with their masks. Where subjects are is decided while noise is
strong, so times are drawn by the adapter paper's cubic rule.

The adapter gives one feature map to each down block of the UNet: as many channels as
the block, at the block's resolution, the first at that of the latents. The ControlNet
repeats the UNet's down blocks without their attention, which the residuals' shapes do
not need and which would be most of its size.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, T2IAdapter
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from mos_model.errors import ZooError
from mos_zoo.models.clip import encode_captions
from mos_zoo.models.unet import UnetStage, noise_schedule, sample
from mos_zoo.models.vae import DOWNSCALE, LATENT_CHANNELS
from mos_zoo.training.dataset import held_out, load_set
from mos_zoo.training.journal import Journal
from mos_zoo.training.latents import load_latents, vae_folder
from mos_zoo.training.loop import Recipe, trained
from mos_zoo.training.tokenizer import encode, load_tokenizer
from mos_zoo.world.edges import mask_edges
from mos_zoo.world.pictures import save_grid, to_pixels, to_tensor

_WITHOUT_CAPTION: Final = 0.3
"""So often that the control, not the text, has to say what is there."""
_MOST_WEIGHT: Final = 6.0
_WIDE_EVERY: Final = 4
"""Every fourth batch is of pictures twice as wide, and half as many."""
_SHOWN: Final = 8
_SHOWN_SEED: Final = 300_000

Masks = UInt8[np.ndarray, "n height width"]


class Controlled(nn.Module):
    """The base under one control; takes the base's place in `unet.sample`."""

    def __init__(
        self, base: Any, control: Any, image: Float[Tensor, "n c h w"], weight: float
    ) -> None:
        """Steer `base` (a `Denoiser`) by `control` at `image`, values in 0..1."""
        super().__init__()
        self.base, self.control = base, control
        self.image, self.weight = image, weight

    def forward(self, noisy: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
        """Predicted v; latents may be a multiple of the control's pictures."""
        hidden = self.base.text(ids).last_hidden_state
        image = self.image.repeat(len(noisy) // len(self.image), 1, 1, 1)
        residuals: dict[str, Any]
        if isinstance(self.control, T2IAdapter):
            features = [self.weight * feature for feature in self.control(image)]
            residuals = {"down_intrablock_additional_residuals": features}
        else:
            down, middle = self.control(
                noisy,
                timesteps,
                hidden,
                controlnet_cond=image,
                conditioning_scale=self.weight,
                return_dict=False,
            )
            residuals = {
                "down_block_additional_residuals": down,
                "mid_block_additional_residual": middle,
            }
        predicted: Tensor = self.base.unet(noisy, timesteps, hidden, **residuals).sample
        return predicted


@dataclass
class _ControlStage(ABC):
    """Trains a control on pictures of what the renderer knows of its subjects."""

    state: Path
    base: UnetStage | None = None
    """The stage that trained the base; the zoo's own by default."""
    limit: int = 12_000
    """Pictures of a shape held in memory, per process."""
    batch_size: int = 48
    learning_rate: float = 1e-3

    @abstractmethod
    def picture(self, masks: Masks) -> Tensor:
        """The control's input at some masks."""

    def open(self, device: torch.device) -> None:
        """Load the base, latents, captions and masks."""
        self._lesson = _Lesson(
            self.state, self.base or UnetStage(self.state), self.limit, device
        )

    def loss(
        self, model: nn.Module, step: int, rng: np.random.Generator, samples: int
    ) -> dict[str, Tensor]:
        """The base's loss under the control."""
        return self._lesson.loss(model, self.picture, step, rng, samples)

    def show(self, model: nn.Module, folder: Path) -> dict[str, float]:
        """Held-out errors of v with and without; a grid of samples."""
        return self._lesson.show(model, self.picture, folder)


@dataclass
class AdapterStage(_ControlStage):
    """Trains the T2I-Adapter on outlines."""

    name: str = "adapter"

    def picture(self, masks: Masks) -> Tensor:
        """Outlines."""
        return outlines(masks)

    @property
    def recipe(self) -> Recipe:
        """The layer that reads the picture is Adam's."""
        return Recipe(self.learning_rate, self.batch_size, 100, adam_names=("conv_in",))

    def build(self) -> T2IAdapter:
        """One feature map for each down block."""
        torch.manual_seed(3)
        return T2IAdapter(
            in_channels=1,
            channels=list((self.base or UnetStage(self.state)).widths),
            num_res_blocks=2,
            downscale_factor=DOWNSCALE,
            adapter_type="full_adapter",
        )


@dataclass
class ControlNetStage(_ControlStage):
    """Trains the ControlNet on masks."""

    name: str = "controlnet"

    def picture(self, masks: Masks) -> Tensor:
        """Masks."""
        return silhouettes(masks)

    @property
    def recipe(self) -> Recipe:
        """First layers, and those that start at zero, are Adam's."""
        by_adam = ("conv_in", "conv_out", "time_emb", "controlnet_")
        return Recipe(self.learning_rate, self.batch_size, 100, adam_names=by_adam)

    def build(self) -> ControlNetModel:
        """Starts from the base's own layers where the base is trained."""
        torch.manual_seed(4)
        stage = self.base or UnetStage(self.state)
        controlnet = ControlNetModel(
            in_channels=LATENT_CHANNELS,
            down_block_types=("DownBlock2D",) * len(stage.widths),
            mid_block_type="UNetMidBlock2D",
            block_out_channels=stage.widths,
            layers_per_block=stage.layers,
            norm_num_groups=16,
            conditioning_embedding_out_channels=(16, 24, 32, 64),
        )
        try:
            base: Any = trained(stage, self.state, Journal())
        except ZooError:
            return controlnet
        own = controlnet.state_dict()
        shared = {
            name: value
            for name, value in base.unet.state_dict().items()
            if name in own and own[name].shape == value.shape
        }
        controlnet.load_state_dict({**own, **shared})
        return controlnet


def outlines(masks: Masks) -> Float[Tensor, "n 1 height width"]:
    """The adapter's input: subjects' outlines, 1 on 0."""
    return torch.from_numpy(mask_edges(masks))[:, None].float()


def silhouettes(masks: Masks) -> Float[Tensor, "n 3 height width"]:
    """The ControlNet's input: subjects' masks in three equal channels, 1 on 0."""
    return torch.from_numpy(masks > 0)[:, None].float().repeat(1, 3, 1, 1)


class _Lesson:
    """What both controls are trained with: the frozen base and the world's masks."""

    def __init__(
        self, state: Path, stage: UnetStage, limit: int, device: torch.device
    ) -> None:
        self.device, self.state = device, state
        self.base: Any = trained(stage, state, Journal()).to(device)
        self.base.requires_grad_(False)
        self.tokenizer = load_tokenizer()
        self.empty = torch.from_numpy(encode(self.tokenizer, [""]))[0]
        self.alphas = noise_schedule().alphas_cumprod.to(device)
        self.sets: list[tuple[Tensor, Tensor, Masks]] = []
        for name in ("square", "double"):
            pictures = load_set(state / "data", name, limit)
            ids = encode_captions(self.tokenizer, pictures.captions)
            latents = load_latents(state, name)[: len(ids)]
            self.sets.append(
                (torch.from_numpy(latents), torch.from_numpy(ids), pictures.subject)
            )

    def loss(
        self,
        control: nn.Module,
        draw: Callable[[Masks], Tensor],
        step: int,
        rng: np.random.Generator,
        samples: int,
    ) -> dict[str, Tensor]:
        wide = step % _WIDE_EVERY == _WIDE_EVERY - 1
        latents, ids, masks = self.sets[wide]
        samples = max(1, samples // 2 if wide else samples)
        rows = rng.integers(len(latents), size=samples)
        caption = torch.from_numpy(rng.integers(ids.shape[1], size=samples))
        tokens = ids[torch.from_numpy(rows), caption].clone()
        untold = torch.from_numpy(rng.random(samples) < _WITHOUT_CAPTION)
        tokens[untold] = self.empty
        image = draw(masks[rows]).to(self.device)
        x = latents[torch.from_numpy(rows)].to(self.device).float()
        u = torch.from_numpy((np.arange(samples) + rng.random(samples)) / samples)
        t = (1000 * (1 - u**3)).long().clamp(0, 999).to(self.device)
        steered = Controlled(self.base, control, image, 1.0)
        with torch.autocast(self.device.type, torch.bfloat16):
            error, weight = self._error(steered, x, t, tokens)
        return {"loss": (error * weight).mean(), "v": error.mean()}

    @torch.no_grad()
    def show(
        self, control: nn.Module, draw: Callable[[Masks], Tensor], folder: Path
    ) -> dict[str, float]:
        scenes = list(held_out(4 * _SHOWN, start=_SHOWN_SEED))
        masks = np.stack([scene.subject for scene in scenes])
        image = draw(masks)
        ids = torch.from_numpy(
            encode(self.tokenizer, [scene.captions[0] for scene in scenes])
        )
        vae = AutoencoderKL.from_pretrained(vae_folder(self.state)).eval()
        x = to_tensor(np.stack([scene.pixels for scene in scenes]))
        x = vae.encode(x).latent_dist.mode().to(self.device)
        t = torch.linspace(200, 999, len(x)).long().to(self.device)
        figures = {}
        base = copy.deepcopy(self.base).cpu()
        few, rows = (
            slice(0, _SHOWN),
            [draw(masks[:_SHOWN])[:, :1].expand(-1, 3, -1, -1)],
        )
        rows = [2 * row - 1 for row in rows]
        for name, weight in (("v", 1.0), ("v without", 0.0)):
            steered = Controlled(self.base, control, image.to(self.device), weight)
            torch.manual_seed(0)
            figures[name] = float(self._error(steered, x, t, ids)[0].mean())
            on_cpu = Controlled(
                base, copy.deepcopy(control).cpu(), image[few], weight
            ).eval()
            latents = sample(on_cpu, ids[few], self.empty, seed=0)
            rows.append(vae.decode(latents).sample)
        save_grid(
            folder / "samples.png", list(to_pixels(torch.cat(rows))), columns=_SHOWN
        )
        return figures

    def _error(
        self, model: nn.Module, x: Tensor, t: Tensor, ids: Tensor
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Squared error of v by sample, and its weight (min-SNR) in training."""
        noise = torch.randn_like(x)
        alpha = self.alphas[t].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * x + (1 - alpha).sqrt() * noise
        noisy = noisy.to(memory_format=torch.channels_last)
        predicted: Tensor = model(noisy, t, ids.to(self.device))
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * x
        error = (predicted.float() - target).square().mean((1, 2, 3))
        signal = (alpha / (1 - alpha)).flatten() + 1
        return error, signal.clamp(max=_MOST_WEIGHT) / signal
