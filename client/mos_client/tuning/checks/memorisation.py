r"""Whether a tuned concept repeats its training pictures: a note at the end of tuning.

Diffusion models give back single training pictures (Carlini et al., Extracting Training
Data from Diffusion Models, arXiv:2301.13188), and what is published of a fine-tuned
model tells of its data (arXiv:2409.08482). So some pictures are sampled of the bare
concept, `a photo of <name>`, and each is compared with all training pictures.

**Criterion.** d(x, y) is the root mean square difference of two pictures at 32x32
pixels, RGB in 0..1, the lesser of y and y mirrored (tuning mirrors too). As Carlini et
al. measure distances in units of a picture's own neighbourhood (their section 4.2), so

    ratio = min over samples s, training pictures t of d(s, t)
            / median over t of min over t' != t of d(t, t')

A sample *repeats* a training picture where ratio <= 0.5: it is twice as near as
training pictures commonly are to their nearest fellow. Where a metrics model is at
hand, its cosine of the two must also reach the median of the training pictures' own
nearest cosines; else two pictures share their colours and not their content. Cosines
alone decide nothing: a new picture of the right subject is meant to be near.

This finds copies among a few samples. Finding none proves nothing, and nothing here is
differential privacy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from mos_client.pictures import Picture
from mos_client.tuning.data.latents import working_side
from mos_model.bases.base import Base
from mos_model.concepts.applying import as_fused
from mos_model.concepts.concept import Concept
from mos_model.metrics import OWN_METRICS, Metrics, load_metrics
from mos_model.sampling import Layout, sampling

SAMPLES: Final = 8
"""Pictures drawn of the bare concept."""

REPEATS_BELOW: Final = 0.5
"""Ratio of distances from which on a sample counts as a repetition."""

_OWN_BASE: Final = "mini"
_SIDE: Final = 32
_ALIKE: Final = 2 / 255
"""Distance below which two pictures are one, saved twice."""


@dataclass(frozen=True)
class Memorisation:
    """What the check found."""

    sample: int
    """Number of the sample, from 0, that came nearest to a training picture."""

    picture: str
    """File name of that training picture."""

    ratio: float | None
    """Of distances, as the module defines it; None for one picture, or all alike."""

    cosine: float | None
    """Of that sample and that picture, by the metrics model."""

    own_cosine: float | None
    """Median over training pictures of the cosine with their nearest fellow."""

    @property
    def repeats(self) -> bool:
        """Whether a sample repeats a training picture, by the module's criterion."""
        if self.ratio is None or self.ratio > REPEATS_BELOW:
            return False
        if self.cosine is None or self.own_cosine is None:
            return True
        return self.cosine >= self.own_cosine

    def sentence(self) -> str:
        """The finding for the user, one sentence."""
        if self.ratio is None:
            return (
                "memorisation check: one picture alone, or all alike, leave nothing to "
                "compare with; expect samples that repeat it"
            )
        figures = f"{self.ratio:.2f} of the distance between training pictures"
        if self.cosine is not None and self.own_cosine is not None:
            figures += f"; cosine {self.cosine:.2f} against {self.own_cosine:.2f}"
        else:
            figures += "; by pixels alone, --metrics judges content too"
        if self.repeats:
            return (
                f"memorisation check: a sample repeats {self.picture} ({figures}): who "
                "gets the concept may see your pictures in it; fewer steps or more "
                "pictures help"
            )
        return (
            "memorisation check: no sample repeats a training picture (the nearest is "
            f"{self.picture}, at {figures})"
        )


def metrics_for(base: Base, name: str | None) -> Metrics | None:
    """A metrics model that understands a base's pictures, where one is at hand.

    The mini zoo's own knows the mini base's world alone: for photographs it would say
    something, and mean nothing.

    Args:
        base: The base.
        name: A `CLIPModel` directory, which then is used whatever the base.

    Raises:
        MetricsError: no such directory, or no whole CLIP model in it.
    """
    if name is None and base.name != _OWN_BASE:
        return None
    return load_metrics(name or OWN_METRICS)


def memorisation(
    concept: Concept,
    pictures: Sequence[Picture],
    *,
    base: Base,
    metrics: Metrics | None = None,
    seed: int = 0,
) -> Memorisation:
    """Sample the bare concept and look for training pictures among the samples.

    Args:
        concept: As tuned, on `base`.
        pictures: What it was tuned on, at least one.
        base: Unchanged afterwards.
        metrics: A model that understands such pictures; pixels alone decide without.
        seed: Of the first sample's noise.

    Raises:
        BaseMismatchError: the concept was made for another base.
    """
    samples = bare_samples(concept, base=base, seed=seed)
    return compared(samples, pictures, metrics=metrics)


def bare_samples(
    concept: Concept, *, base: Base, seed: int = 0
) -> Sequence[Image.Image]:
    """`SAMPLES` pictures of the bare concept.

    Raises:
        BaseMismatchError: the concept was made for another base.
    """
    side = working_side(base)
    drawing = base.defaults.get("sample", {})
    size = (drawing.get("width", side), drawing.get("height", side))
    with sampling(base, as_fused(concept)) as sampler:
        return sampler.sample(
            Layout(f"a photo of <{concept.facts.name}>", *size),
            seeds=range(seed, seed + SAMPLES),
        )


def compared(
    samples: Sequence[Image.Image],
    pictures: Sequence[Picture],
    *,
    metrics: Metrics | None = None,
) -> Memorisation:
    """Compare samples with training pictures (see the module for the criterion).

    Args:
        samples: At least one.
        pictures: At least one; compared by their middle square, as they are tuned on.
        metrics: A model that understands such pictures.
    """
    trained = [_square(picture.image) for picture in pictures]
    apart = _distances([_square(image) for image in samples], trained)
    sample, nearest = divmod(int(apart.argmin()), len(pictures))
    name = pictures[nearest].path.name
    if len(pictures) < 2:
        return Memorisation(sample, name, None, None, None)
    fellows = _distances(trained, trained).fill_diagonal_(torch.inf).amin(1)
    typical = float(fellows.median())
    if typical < _ALIKE:
        return Memorisation(sample, name, None, None, None)
    ratio = float(apart[sample, nearest]) / typical
    if metrics is None:
        return Memorisation(sample, name, ratio, None, None)
    features = metrics.of_images([*trained, samples[sample]])
    cosines = features[:-1] @ features[:-1].T
    own = float(cosines.fill_diagonal_(-1.0).amax(1).median())
    return Memorisation(
        sample, name, ratio, float(features[-1] @ features[nearest]), own
    )


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    return ImageOps.fit(image.convert("RGB"), (side, side))


def _distances(
    first: Sequence[Image.Image], second: Sequence[Image.Image]
) -> Float[Tensor, "first second"]:
    """The distance d of every pair, the lesser of both mirrorings."""
    rows, columns = _pixels(first), _pixels(second)
    mirrored = _pixels([ImageOps.mirror(image) for image in second])
    nearer = torch.minimum(torch.cdist(rows, columns), torch.cdist(rows, mirrored))
    apart: Tensor = nearer / rows.shape[1] ** 0.5
    return apart


def _pixels(images: Sequence[Image.Image]) -> Float[Tensor, "n values"]:
    small = [
        np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX)).flatten()
        for image in images
    ]
    return torch.from_numpy(np.stack(small)).float() / 255
