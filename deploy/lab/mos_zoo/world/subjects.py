"""The eight kinds of subject, as lists of flat parts in their own units.

Units are those of `canvas.Frame`: x to the right, y downwards, ground at y = 0, about
two units tall. A part names a paint, not a colour, so that an instance can be dressed
in any colours; `SKIN` parts carry the pattern.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mos_zoo.world.canvas import Color, Point, Polygon, box, ellipse, rounded, stroke

SKIN: Final = "skin"
BODY: Final = "body"
DARK: Final = "dark"
LIGHT: Final = "light"
PART: Final = "part"
"""The part that the mark "part" colours; in the shade `DARK` otherwise."""

WHITE: Final[Color] = (255, 255, 255)
INK: Final[Color] = (32, 30, 44)
ORANGE: Final[Color] = (246, 148, 42)
GLASS: Final[Color] = (200, 234, 250)
WOOD: Final[Color] = (122, 78, 48)

Paint = str | Color


@dataclass(frozen=True)
class Figure:
    """One subject before it is dressed."""

    parts: list[tuple[Polygon, Paint]] = field(default_factory=list)
    hat: tuple[float, float, float] = (0.0, -2.0, 0.4)
    """Where a hat sits: x, y, half its brim's width."""
    neck: tuple[float, float, float] = (0.0, -1.0, 0.5)
    """Where a scarf lies: x, y, half its length."""
    badge: Point = (0.0, -0.6)
    """Where the mark "star" is worn."""
    badge_size: float = 0.26

    def add(self, paint: Paint, *polygons: Polygon) -> None:
        """Draw polygons over what is there."""
        self.parts.extend((polygon, paint) for polygon in polygons)


def _eye(figure: Figure, x: float, y: float, size: float = 0.2) -> None:
    figure.add(WHITE, ellipse(x, y, size, size * 1.1))
    figure.add(INK, ellipse(x + 0.03, y + 0.02, size * 0.56, size * 0.62))


def _cat(a: float, b: float) -> Figure:
    figure = Figure(hat=(0.0, -1.72, 0.42), neck=(0.0, -0.9, 0.46), badge=(0.0, -0.48))
    tip = -1.0 - 0.3 * b
    figure.add(PART, *stroke([(0.35, -0.16), (0.85, -0.2), (0.95, tip)], 0.24))
    figure.add(SKIN, ellipse(0.0, -0.52, 0.52, 0.56))
    height = -1.95 - 0.15 * a
    figure.add(SKIN, [(-0.62, -1.3), (-0.56, height), (-0.08, -1.62)])
    figure.add(PART, [(0.62, -1.3), (0.56, height), (0.08, -1.62)])
    figure.add(SKIN, ellipse(0.0, -1.3, 0.64, 0.46))
    figure.add(DARK, ellipse(-0.24, -0.06, 0.2, 0.12), ellipse(0.24, -0.06, 0.2, 0.12))
    _eye(figure, -0.27, -1.34)
    _eye(figure, 0.27, -1.34)
    figure.add((250, 120, 140), [(-0.09, -1.13), (0.09, -1.13), (0.0, -1.02)])
    return figure


def _dog(a: float, b: float) -> Figure:
    figure = Figure(hat=(0.56, -1.68, 0.38), neck=(0.42, -0.98, 0.36))
    figure = Figure(hat=figure.hat, neck=figure.neck, badge=(-0.25, -0.72))
    figure.add(BODY, *stroke([(-0.8, -0.85), (-1.08, -1.2 - 0.2 * b)], 0.22))
    for x in (-0.62, 0.34):
        figure.add(DARK, rounded(x - 0.1, -0.5, x + 0.2, 0.0, 0.1))
    for x in (-0.82, 0.12):
        figure.add(BODY, rounded(x - 0.06, -0.6, x + 0.22, 0.0, 0.1))
    figure.add(SKIN, rounded(-0.92, -1.04, 0.56, -0.38, 0.3))
    figure.add(SKIN, ellipse(0.58, -1.28, 0.46, 0.44))
    figure.add(LIGHT, ellipse(1.0, -1.12, 0.3, 0.22))
    figure.add(INK, ellipse(1.2, -1.22, 0.13, 0.11))
    figure.add(PART, ellipse(0.26, -1.14, 0.18, 0.42 + 0.1 * a, 8.0))
    _eye(figure, 0.7, -1.42, 0.18)
    return figure


def _bird(a: float, b: float) -> Figure:
    figure = Figure(hat=(0.3, -1.82, 0.36), neck=(0.24, -1.06, 0.4), badge=(0.3, -0.66))
    for x in (-0.12, 0.24):
        figure.add(ORANGE, box(x - 0.06, -0.3, x + 0.06, 0.0))
        figure.add(ORANGE, ellipse(x + 0.1, -0.04, 0.2, 0.07))
    figure.add(DARK, [(-0.4, -0.9), (-1.15, -1.25 - 0.15 * b), (-0.95, -0.6)])
    figure.add(ORANGE, [(0.62, -1.62), (1.14, -1.36), (0.62, -1.16)])
    figure.add(SKIN, ellipse(0.0, -0.74, 0.68, 0.56))
    figure.add(SKIN, ellipse(0.3, -1.4, 0.46, 0.44))
    figure.add(PART, ellipse(-0.26, -0.78, 0.42, 0.24 + 0.06 * a, 24.0))
    _eye(figure, 0.44, -1.46, 0.2)
    return figure


def _fish(a: float, b: float) -> Figure:
    figure = Figure(hat=(0.3, -1.52, 0.36), neck=(0.1, -0.42, 0.42), badge=(-0.1, -0.9))
    spread = 0.5 + 0.12 * a
    figure.add(PART, [(-0.55, -0.95), (-1.2, -0.95 - spread), (-1.2, -0.95 + spread)])
    figure.add(DARK, [(-0.4, -1.35), (-0.1, -1.9 - 0.1 * b), (0.4, -1.35)])
    figure.add(DARK, [(-0.2, -0.55), (-0.2, -0.14), (0.3, -0.5)])
    figure.add(SKIN, ellipse(0.12, -0.95, 0.86, 0.6))
    figure.add((250, 120, 140), ellipse(0.86, -0.8, 0.12, 0.1))
    _eye(figure, 0.54, -1.1, 0.22)
    return figure


def _robot(a: float, b: float) -> Figure:
    figure = Figure(hat=(0.0, -1.86, 0.42), neck=(0.0, -1.02, 0.5), badge=(0.0, -0.62))
    figure.add(INK, box(-0.06, -2.1, 0.06, -1.7))
    figure.add(PART, ellipse(0.0, -2.1 - 0.04 * b, 0.15, 0.15))
    for side in (-1, 1):
        x0, x1 = sorted((side * 0.62, side * (0.9 + 0.06 * a)))
        figure.add(DARK, rounded(x0, -0.98, x1, -0.34, 0.12))
        x0, x1 = sorted((side * 0.1, side * 0.42))
        figure.add(DARK, rounded(x0, -0.34, x1, 0.0, 0.08))
    figure.add(SKIN, rounded(-0.56, -1.04, 0.56, -0.24, 0.12))
    figure.add(PART, rounded(-0.62, -1.88, 0.62, -1.1, 0.16))
    _eye(figure, -0.27, -1.54)
    _eye(figure, 0.27, -1.54)
    figure.add(WHITE, box(-0.28, -1.28, 0.28, -1.17))
    return figure


def _car(a: float, b: float) -> Figure:
    figure = Figure(hat=(-0.1, -1.3, 0.4), neck=(0.0, -0.74, 0.62), badge=(-0.06, -0.5))
    top = -1.32 - 0.1 * a
    figure.add(PART, [(-0.72, -0.7), (-0.5, top), (0.36, top), (0.66, -0.7)])
    figure.add(GLASS, [(-0.5, -0.74), (-0.36, top + 0.14), (-0.1, top + 0.14)])
    figure.add(GLASS, box(-0.36, top + 0.14, -0.1, -0.74))
    figure.add(GLASS, [(0.04, -0.74), (0.04, top + 0.14), (0.28, top + 0.14)])
    figure.add(GLASS, [(0.04, -0.74), (0.28, top + 0.14), (0.48, -0.74)])
    figure.add(SKIN, rounded(-1.12, -0.8, 1.12, -0.2, 0.2))
    _eye(figure, 0.82, -0.62, 0.18)
    for x in (-0.6, 0.6):
        figure.add(INK, ellipse(x, -0.26, 0.3, 0.28))
        figure.add((190, 192, 204), ellipse(x, -0.26, 0.13 + 0.03 * b, 0.13))
    return figure


def _boat(a: float, b: float) -> Figure:
    figure = Figure(hat=(-0.06, -2.0, 0.3), neck=(0.0, -0.62, 0.6), badge=(-0.3, -0.28))
    figure.add(WOOD, box(-0.12, -1.98, 0.02, -0.5))
    figure.add(LIGHT, [(0.06, -1.9), (0.06, -0.72), (0.84 + 0.1 * a, -0.72)])
    figure.add(PART, [(-0.18, -1.6 - 0.1 * b), (-0.18, -0.72), (-0.74, -0.72)])
    hull: Polygon = [(-1.12, -0.62), (1.12, -0.62), (0.76, -0.02), (-0.76, -0.02)]
    figure.add(SKIN, hull)
    _eye(figure, 0.22, -0.36, 0.15)
    _eye(figure, 0.6, -0.36, 0.15)
    return figure


def _house(a: float, b: float) -> Figure:
    figure = Figure(hat=(0.0, -1.84, 0.4), neck=(0.0, -1.0, 0.66), badge=(0.02, -1.4))
    figure.add(DARK, box(0.4, -1.8, 0.64, -1.2))
    figure.add(SKIN, box(-0.74, -1.1, 0.74, 0.0))
    peak = -1.86 - 0.14 * a
    figure.add(PART, [(-1.02, -1.02), (0.0, peak), (1.02, -1.02)])
    figure.add(WOOD, rounded(-0.19, -0.46 - 0.05 * b, 0.19, 0.0, 0.06))
    _eye(figure, -0.42, -0.66, 0.2)
    _eye(figure, 0.42, -0.66, 0.2)
    return figure


FIGURES: Final[Mapping[str, Callable[[float, float], Figure]]] = {
    "cat": _cat,
    "dog": _dog,
    "bird": _bird,
    "fish": _fish,
    "robot": _robot,
    "car": _car,
    "boat": _boat,
    "house": _house,
}
"""Each class's figure, from its individual proportions a and b in 0..1."""
