"""The world of the mini zoo: friendly flat pictures, drawn from a seed.

    rng = random.Random(7)
    rex = random_instance(rng, kind="cat")
    picture = render([rex], "snow", rng).image

The same instances, background, `rng` state and size give the same pixels, always.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from PIL import Image

from mos_zoo.world.backgrounds import draw_background
from mos_zoo.world.canvas import Canvas, Frame, ellipse
from mos_zoo.world.captions import caption
from mos_zoo.world.dressing import draw_subject
from mos_zoo.world.instance import (
    BACKGROUNDS,
    CLASSES,
    COLORS,
    PATTERNS,
    Instance,
    random_instance,
)

__all__ = [
    "BACKGROUNDS",
    "CLASSES",
    "COLORS",
    "PATTERNS",
    "Instance",
    "Rendered",
    "caption",
    "random_instance",
    "render",
]


@dataclass(frozen=True)
class Rendered:
    """A picture and where its subjects are."""

    image: Image.Image
    """RGB."""
    masks: list[Bool[np.ndarray, "height width"]]
    """One per instance, in their order: the pixels drawn for it, also where another
    subject lies over them."""


def render(
    instances: Sequence[Instance],
    background: str,
    rng: random.Random,
    size: tuple[int, int] = (64, 64),
) -> Rendered:
    """Draw instances side by side, left to right, in poses of chance.

    Args:
        instances: None to three; each gets an equal share of the width.
        background: One of `BACKGROUNDS`.
        rng: The only source of chance.
        size: Width and height in pixels.
    """
    canvas = Canvas(*size)
    draw_background(canvas, background, rng)
    masks = []
    for instance, frame in zip(
        instances, _frames(len(instances), size[0] / size[1], rng), strict=True
    ):
        mask = Canvas(*size, mode="L")
        _shadow(canvas, frame)
        draw_subject(canvas, mask, instance, frame)
        masks.append(np.asarray(mask.finished()) > 127)
    return Rendered(canvas.finished(), masks)


def _frames(count: int, width: float, rng: random.Random) -> list[Frame]:
    """Poses: alone usually large and near the middle, sometimes small and anywhere."""
    frames = []
    share = width / max(1, count)
    for i in range(count):
        largest = min(0.4, share * 0.41)
        scale = largest * rng.uniform(0.84, 1.0)
        slack = share / 2 - scale * 1.05
        if share > 1 or rng.random() < 0.15:
            scale *= rng.uniform(0.7, 1.0)
            slack = share / 2 - scale
        middle = share * (i + 0.5) + max(0.02, slack) * rng.uniform(-1, 1)
        frames.append(
            Frame(
                x=middle,
                y=min(0.97, 0.5 + scale + rng.uniform(0.02, 0.1)),
                scale=scale,
                mirrored=rng.random() < 0.5,
                turn=rng.uniform(-6, 6),
                squash=rng.uniform(0.95, 1.05),
            )
        )
    return frames


def _shadow(canvas: Canvas, frame: Frame) -> None:
    mask = Canvas(*canvas.size, mode="L")
    mask.fill(ellipse(frame.x, frame.y, frame.scale * 0.95, frame.scale * 0.12), 56)
    canvas.paste((24, 24, 48), mask)
