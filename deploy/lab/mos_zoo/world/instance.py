"""One fixed individual of the world, and its named and unnamed looks."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mos_zoo.world.backgrounds import DRAWERS, jitter
from mos_zoo.world.canvas import Color
from mos_zoo.world.subjects import FIGURES

CLASSES: Final = tuple(FIGURES)
BACKGROUNDS: Final = tuple(DRAWERS)
COLORS: Final[Mapping[str, Color]] = {
    "red": (222, 44, 48),
    "yellow": (252, 208, 40),
    "green": (46, 160, 70),
    "blue": (40, 92, 216),
    "purple": (134, 62, 192),
    "pink": (250, 130, 186),
    "white": (246, 246, 246),
    "black": (46, 46, 56),
}
PATTERNS: Final = ("plain", "stripes", "spots")
ACCESSORIES: Final = ("none", "hat", "scarf")
MARKS: Final = ("none", "part", "star", "half")
"""Looks that captions never name: one part in another colour, a star, two tones."""

_FREE_SHARE: Final = 0.2
_MARKED_SHARE: Final = 0.1
_MARKED_SHARE_IF_FREE: Final = 0.7


@dataclass(frozen=True)
class Instance:
    """One fixed individual: what a concept is made of.

    A colour's name is None where the colour is not of the named palette; captions
    then say nothing about it.
    """

    kind: str
    """One of `CLASSES`."""
    body: Color
    body_name: str | None = None
    pattern: str = "plain"
    second: Color = (255, 255, 255)
    """The pattern's colour."""
    second_name: str | None = None
    accessory: str = "none"
    accessory_color: Color = (255, 255, 255)
    accessory_name: str | None = None
    mark: str = "none"
    mark_color: Color = (255, 255, 255)
    proportions: tuple[float, float] = (0.5, 0.5)


def random_instance(
    rng: random.Random,
    *,
    kind: str | None = None,
    body_name: str | None = None,
    free: bool | None = None,
) -> Instance:
    """Draw an individual.

    Args:
        rng: The only source of chance.
        kind: Fixes the class.
        body_name: Fixes the body's named colour.
        free: Whether colours outside the palette and marks may occur; by default
            sometimes. Never with `body_name`.
    """
    if free is None:
        free = body_name is None and rng.random() < _FREE_SHARE
    names = list(COLORS)
    body_name = body_name or rng.choice(names)
    body, body_label = _dye(rng, body_name, free)
    rest = [name for name in names if name != body_name]
    second, second_label = _dye(rng, rng.choice(rest), free)
    accessory = rng.choice(ACCESSORIES[1:]) if rng.random() < 0.25 else "none"
    accessory_color, accessory_label = _dye(rng, rng.choice(rest), False)
    marked = rng.random() < (_MARKED_SHARE_IF_FREE if free else _MARKED_SHARE)
    return Instance(
        kind=kind or rng.choice(CLASSES),
        body=body,
        body_name=body_label,
        pattern=rng.choices(PATTERNS, (2, 1, 1))[0],
        second=second,
        second_name=second_label,
        accessory=accessory,
        accessory_color=accessory_color,
        accessory_name=accessory_label,
        mark=rng.choice(MARKS[1:]) if marked else "none",
        mark_color=_dye(rng, rng.choice(rest), rng.random() < 0.5)[0],
        proportions=(rng.random(), rng.random()),
    )


def _dye(rng: random.Random, name: str, free: bool) -> tuple[Color, str | None]:
    if free:
        red, green, blue = (rng.randint(20, 250) for _ in range(3))
        return (red, green, blue), None
    return jitter(rng, COLORS[name], 9), name
