"""Pictures as cached latents: the VAE runs once, not once a step."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from mos_client.pictures import Picture
from mos_client.tuning.settings import TEMPLATES, TuneSettings
from mos_shared.base import Base

_LARGEST_CROP = 0.08  # of the side that a variant may lose
_AT_ONCE = 8


@dataclass(frozen=True)
class TrainingSet:
    """Everything a step draws from."""

    latents: Float[Tensor, "variants channels height width"]
    """Scaled latents of every variant of every picture."""

    captions: Sequence[Sequence[str]]
    """Per variant, the captions that a step may choose between."""

    masks: Float[Tensor, "variants 1 height width"] | None
    """Loss weights in 0..1 at latent resolution; None where no picture has a mask."""


@torch.no_grad()
def training_set(
    base: Base, pictures: Sequence[Picture], placeholder: str, settings: TuneSettings
) -> TrainingSet:
    """Encode every picture's variants.

    Args:
        base: Whose VAE encodes; its mode is taken, not a sample.
        pictures: The usable pictures.
        placeholder: `<name>`, put where a caption says {}.
        settings: Number of variants, flipping, seed.
    """
    chance = random.Random(settings.seed)
    side = working_side(base)
    images: list[Image.Image] = []
    masks: list[Image.Image | None] = []
    captions: list[Sequence[str]] = []
    for picture in pictures:
        for variant in range(settings.augmentations):
            image, mask = _variant(picture, side, variant, settings.flip, chance)
            images.append(image)
            masks.append(mask)
            captions.append(_captions(picture, placeholder))
    latents = torch.cat(
        [
            _encode(base, images[first : first + _AT_ONCE])
            for first in range(0, len(images), _AT_ONCE)
        ]
    )
    return TrainingSet(latents, tuple(captions), _loss_masks(masks, latents))


def working_side(base: Base) -> int:
    """Pixels of the square pictures the base works at."""
    factor: int = 2 ** (len(base.vae.config.block_out_channels) - 1)
    return factor * int(base.unet.config.sample_size)


def _variant(
    picture: Picture, side: int, variant: int, flip: bool, chance: random.Random
) -> tuple[Image.Image, Image.Image | None]:
    """The first variant is the whole picture; later ones lose a little at the edges."""
    share = 0.0 if variant == 0 else chance.uniform(0, _LARGEST_CROP)
    across, down = chance.random(), chance.random()
    mirrored = flip and variant > 0 and chance.random() < 0.5

    def cut(image: Image.Image) -> Image.Image:
        short = min(image.size) * (1 - share)
        left = (image.width - short) * (0.5 if variant == 0 else across)
        top = (image.height - short) * (0.5 if variant == 0 else down)
        box = (left, top, left + short, top + short)
        resized = image.resize((side, side), Image.Resampling.LANCZOS, box=box)
        return ImageOps.mirror(resized) if mirrored else resized

    return cut(picture.image), None if picture.mask is None else cut(picture.mask)


def _captions(picture: Picture, placeholder: str) -> Sequence[str]:
    if picture.caption is None:
        return tuple(template.format(placeholder) for template in TEMPLATES)
    text = picture.caption.replace("{}", placeholder)
    return (text if placeholder in text else f"{placeholder}, {text}",)


def _encode(
    base: Base, images: Sequence[Image.Image]
) -> Float[Tensor, "n channels height width"]:
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    pixels = pixels.permute(0, 3, 1, 2).to(base.device, base.vae.dtype) / 127.5 - 1
    config = base.vae.config
    latents = base.vae.encode(pixels).latent_dist.mode()
    shift = getattr(config, "shift_factor", None) or 0.0
    scaled: Tensor = (latents - shift) * config.scaling_factor
    return scaled.float()


def _loss_masks(
    masks: Sequence[Image.Image | None], latents: Float[Tensor, "n c h w"]
) -> Float[Tensor, "n 1 h w"] | None:
    if all(mask is None for mask in masks):
        return None
    size = (latents.shape[3], latents.shape[2])
    white = Image.new("L", size, 255)
    small = [
        white if mask is None else mask.resize(size, Image.Resampling.BOX)
        for mask in masks
    ]
    stacked = torch.from_numpy(np.stack([np.asarray(mask) for mask in small]))
    return stacked[:, None].to(latents) / 255
