"""Pictures as cached latents: the VAE runs once, not once a step.

Every picture gives several variants, all of one bucket (see `pictures.buckets`); the
rows of a batch come from one bucket, so that they have one size.
"""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from mos_client.pictures import Picture
from mos_client.pictures.buckets import Crop, Size, bucket_for, bucket_sizes, crop_of
from mos_client.tuning.data.captions import prompts_of
from mos_client.tuning.settings import TuneSettings
from mos_model.bases.base import Base
from mos_model.bases.base_outline import outline_of

_LARGEST_CROP: Final = 0.08  # of the sides that a variant may lose
_AT_ONCE: Final = 8

TimeIds = tuple[int, int, int, int, int, int]
"""Original height and width, top and left of the crop, target height and width."""


@dataclass(frozen=True)
class Batch:
    """The rows of one forward pass, all of one size."""

    latents: Float[Tensor, "n c h w"]
    captions: list[str]
    masks: Float[Tensor, "n 1 h w"] | None
    """Loss weights in 0..1; None where no picture of the bucket has a mask."""

    subject_masks: Float[Tensor, "n 1 h w"] | None
    """Share of subject per cell, 1 everywhere in a picture without a mask."""

    sizes: list[TimeIds]
    """What SDXL reads besides, per row."""


@dataclass(frozen=True)
class Bucket:
    """All variants of one size, in the order of their pictures."""

    latents: Float[Tensor, "variants channels height width"]
    """Scaled latents."""

    captions: Sequence[Sequence[str]]
    """Per variant, the captions that a step may choose between."""

    masks: Float[Tensor, "variants 1 height width"] | None
    """Share of subject at latent resolution; None where no picture has a mask."""

    sizes: Sequence[TimeIds]


@dataclass(frozen=True)
class TrainingSet:
    """Everything a step draws from."""

    buckets: Sequence[Bucket]

    def batch(self, chance: random.Random, size: int) -> Batch:
        """Draw `size` rows of one bucket, with replacement.

        Buckets come in proportion to their variants. `chance` alone decides.
        """
        bucket = self.buckets[0]
        if len(self.buckets) > 1:
            counts = [len(each.latents) for each in self.buckets]
            (bucket,) = chance.choices(self.buckets, counts)
        rows = [chance.randrange(len(bucket.latents)) for _ in range(size)]
        masks = None if bucket.masks is None else bucket.masks[rows]
        return Batch(
            bucket.latents[rows],
            [chance.choice(bucket.captions[row]) for row in rows],
            masks,
            masks,
            [bucket.sizes[row] for row in rows],
        )

    def digest(self) -> str:
        """SHA-256 of what is trained on, to notice changed pictures or captions."""
        digest = hashlib.sha256()
        for bucket in self.buckets:
            for tensor in (bucket.latents, bucket.masks):
                if tensor is not None:
                    digest.update(json.dumps(list(tensor.shape)).encode())
                    digest.update(tensor.contiguous().cpu().numpy().tobytes())
            told = [[list(own) for own in bucket.captions], list(bucket.sizes)]
            digest.update(json.dumps(told).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Variant:
    """One picture as the model sees it, before the VAE."""

    image: Image.Image
    """RGB, of the bucket's size."""

    picture: Picture
    mask: Image.Image | None
    captions: Sequence[str]
    time_ids: TimeIds


def variants(
    pictures: Sequence[Picture],
    name: str,
    settings: TuneSettings,
    *,
    side: int,
    unit: int,
) -> Iterator[Variant]:
    """What the model sees of every picture: the whole of it first, then crops.

    A crop loses up to 8% of both sides, and may be mirrored; one without any of a
    masked subject is left out.

    Args:
        pictures: The usable pictures.
        name: The concept's; `<name>` stands where a caption says {}.
        settings: Number of variants, flipping, seed.
        side: See `bucket_sizes`.
        unit: See `bucket_sizes`.
    """
    chance = random.Random(settings.seed)
    buckets = bucket_sizes(side, unit)
    for picture in pictures:
        whole = picture.image.size
        bucket = bucket_for(whole, buckets)
        for number in range(settings.augmentations):
            lost = 0.0 if number == 0 else chance.uniform(0, _LARGEST_CROP)
            across, down = chance.random(), chance.random()
            crop = crop_of(whole, bucket)
            if number:
                mirrored = settings.flip and chance.random() < 0.5
                crop = crop_of(
                    whole,
                    bucket,
                    lost=lost,
                    across=across,
                    down=down,
                    mirrored=mirrored,
                )
            mask = None if picture.mask is None else _cut(picture.mask, crop)
            if mask is not None and mask.getbbox() is None:
                continue  # all weights would be 0
            yield Variant(
                _cut(picture.image, crop),
                picture,
                mask,
                prompts_of(picture, name),
                crop.time_ids(whole),
            )


def bucket_without_subject(picture: Picture, *, side: int, unit: int) -> Size | None:
    """The bucket of a masked picture whose crop shows nothing of its subject.

    Args:
        picture: The picture; without a mask the answer is None.
        side: See `bucket_sizes`.
        unit: See `bucket_sizes`.
    """
    if picture.mask is None:
        return None
    whole = picture.image.size
    bucket = bucket_for(whole, bucket_sizes(side, unit))
    seen = _cut(picture.mask, crop_of(whole, bucket)).getbbox()
    return bucket if seen is None else None


@torch.no_grad()
def training_set(
    base: Base, pictures: Sequence[Picture], name: str, settings: TuneSettings
) -> TrainingSet:
    """Encode every picture's variants.

    Args:
        base: Whose VAE encodes; its mode is taken, not a sample.
        pictures: The usable pictures.
        name: The concept's; `<name>` stands where a caption says {}.
        settings: Number of variants, flipping, seed.
    """
    outline = outline_of(base)
    seen = variants(
        pictures,
        name,
        settings,
        side=outline.side,
        unit=outline.unit,
    )
    by_size: dict[tuple[int, int], list[Variant]] = {}
    for variant in seen:
        by_size.setdefault(variant.image.size, []).append(variant)
    return TrainingSet(tuple(_bucket(base, by_size[size]) for size in sorted(by_size)))


def working_side(base: Base) -> int:
    """Pixels of the square pictures the base works at."""
    return outline_of(base).side


def _cut(image: Image.Image, crop: Crop) -> Image.Image:
    resized = image.resize(crop.size, Image.Resampling.LANCZOS, box=crop.box)
    return ImageOps.mirror(resized) if crop.mirrored else resized


def _bucket(base: Base, own: Sequence[Variant]) -> Bucket:
    latents = torch.cat(
        [
            _encode(base, [variant.image for variant in own[first : first + _AT_ONCE]])
            for first in range(0, len(own), _AT_ONCE)
        ]
    )
    return Bucket(
        latents,
        tuple(variant.captions for variant in own),
        _subject_masks([variant.mask for variant in own], latents),
        tuple(variant.time_ids for variant in own),
    )


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


def _subject_masks(
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
