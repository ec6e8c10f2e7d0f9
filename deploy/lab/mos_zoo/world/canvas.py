"""Flat shapes on a supersampled canvas: all that the world's pictures are made of.

Every shape is a polygon in units of its own; a `Frame` carries it to pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from PIL import Image, ImageDraw

Point = tuple[float, float]
Polygon = list[Point]
Color = tuple[int, int, int]

SUPERSAMPLING: Final = 4
_ARC_POINTS: Final = 32


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> Polygon:
    """An ellipse about (x, y), turned by `turn` degrees."""
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    points: Polygon = []
    for i in range(_ARC_POINTS):
        angle = 2 * math.pi * i / _ARC_POINTS
        u, v = rx * math.cos(angle), ry * math.sin(angle)
        points.append((x + u * cosine - v * sine, y + u * sine + v * cosine))
    return points


def box(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    """An axis-aligned rectangle."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def rounded(x0: float, y0: float, x1: float, y1: float, radius: float) -> Polygon:
    """A rectangle with round corners."""
    points: Polygon = []
    corners = (
        (x1 - radius, y1 - radius, 0),
        (x0 + radius, y1 - radius, 90),
        (x0 + radius, y0 + radius, 180),
        (x1 - radius, y0 + radius, 270),
    )
    for x, y, start in corners:
        for i in range(7):
            angle = math.radians(start + 15 * i)
            points.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return points


def stroke(path: Sequence[Point], width: float) -> list[Polygon]:
    """A thick line with round joints, as polygons that overlap."""
    pieces = [ellipse(x, y, width / 2, width / 2) for x, y in path]
    for (x0, y0), (x1, y1) in pairwise(path):
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        dx, dy = (y1 - y0) / length * width / 2, (x0 - x1) / length * width / 2
        far = [(x1 + dx, y1 + dy), (x1 - dx, y1 - dy)]
        pieces.append([(x0 + dx, y0 + dy), *far, (x0 - dx, y0 - dy)])
    return pieces


def star(x: float, y: float, radius: float) -> Polygon:
    """A fat five-pointed star."""
    return [
        (
            x + radius * (0.5 if i % 2 else 1.0) * math.sin(math.pi * i / 5),
            y - radius * (0.5 if i % 2 else 1.0) * math.cos(math.pi * i / 5),
        )
        for i in range(10)
    ]


def shade(color: Color, factor: float) -> Color:
    """Darker below 1, lighter (towards white) above it."""
    if factor <= 1:
        red, green, blue = (round(c * factor) for c in color)
    else:
        red, green, blue = (round(c + (255 - c) * (factor - 1)) for c in color)
    return red, green, blue


@dataclass(frozen=True)
class Frame:
    """Where a subject's own units lie on the canvas.

    Own units: x to the right, y downwards, the ground at y = 0, about 2 units tall.
    """

    x: float
    """The ground point under the middle, in canvas heights."""
    y: float
    scale: float
    """Canvas heights to one unit."""
    mirrored: bool = False
    turn: float = 0.0
    """Degrees, about the ground point."""
    squash: float = 1.0
    """Heights times this, widths divided by it."""

    def place(self, polygon: Sequence[Point]) -> Polygon:
        """The polygon in canvas heights."""
        cosine = math.cos(math.radians(self.turn)) * self.scale
        sine = math.sin(math.radians(self.turn)) * self.scale
        wide = (-1 if self.mirrored else 1) / self.squash
        return [
            (
                self.x + u * wide * cosine - v * self.squash * sine,
                self.y + u * wide * sine + v * self.squash * cosine,
            )
            for u, v in polygon
        ]


class Canvas:
    """A picture being drawn; coordinates in canvas heights from the top left."""

    def __init__(self, width: int, height: int, *, mode: str = "RGB") -> None:
        """A black canvas of `width` x `height` pixels."""
        self.size = (width, height)
        self._unit = height * SUPERSAMPLING
        large = (width * SUPERSAMPLING, height * SUPERSAMPLING)
        self.image = Image.new(mode, large)
        self._draw = ImageDraw.Draw(self.image)

    def fill(self, polygon: Sequence[Point], color: Color | int) -> None:
        """Fill one polygon."""
        unit = self._unit
        self._draw.polygon([(x * unit, y * unit) for x, y in polygon], fill=color)

    def paste(self, color: Color, mask: "Canvas") -> None:
        """Paint `color` wherever `mask` (mode "L") is set."""
        self.image.paste(color, mask=mask.image)

    def finished(self) -> Image.Image:
        """The picture at its final size."""
        return self.image.reduce(SUPERSAMPLING)
