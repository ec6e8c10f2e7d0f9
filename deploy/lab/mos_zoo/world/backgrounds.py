"""The eight places: a few large flat shapes each, pale so that subjects stand out.

Coordinates are canvas heights; a canvas is `width` of them wide.
"""

import math
import random
from collections.abc import Callable, Mapping
from typing import Final

from mos_zoo.world.canvas import Canvas, Color, box, ellipse, rounded, stroke


def jitter(rng: random.Random, color: Color, spread: int) -> Color:
    """A colour near `color`."""
    red, green, blue = (
        min(255, max(0, channel + rng.randint(-spread, spread))) for channel in color
    )
    return red, green, blue


def _bands(
    canvas: Canvas, rng: random.Random, width: float, *bands: tuple[float, Color]
) -> None:
    """Full-width bands, each from its top edge to the bottom of the canvas."""
    for top, color in bands:
        canvas.fill(box(-0.1, top, width + 0.1, 1.1), jitter(rng, color, 5))


def _beach(canvas: Canvas, rng: random.Random, width: float) -> None:
    shore = rng.uniform(0.6, 0.66)
    _bands(canvas, rng, width, (-0.1, (190, 232, 252)), (shore - 0.2, (92, 184, 226)))
    _bands(canvas, rng, width, (shore, (250, 226, 170)))
    x = rng.uniform(0.12, width - 0.12)
    canvas.fill(ellipse(x, 0.15, 0.11, 0.11), (255, 214, 84))


def _forest(canvas: Canvas, rng: random.Random, width: float) -> None:
    ground = rng.uniform(0.62, 0.68)
    _bands(canvas, rng, width, (-0.1, (214, 240, 214)))
    x = rng.uniform(-0.1, 0.15)
    while x < width + 0.2:
        top = rng.uniform(0.06, 0.16)
        canvas.fill(
            [(x, top), (x + 0.22, ground + 0.02), (x - 0.22, ground + 0.02)],
            jitter(rng, (64, 140, 96), 5),
        )
        x += rng.uniform(0.34, 0.4)
    _bands(canvas, rng, width, (ground, (136, 192, 104)))


def _city(canvas: Canvas, rng: random.Random, width: float) -> None:
    ground = rng.uniform(0.7, 0.76)
    _bands(canvas, rng, width, (-0.1, (226, 226, 244)))
    x = rng.uniform(-0.15, 0.0)
    while x < width:
        wide, top = rng.uniform(0.26, 0.32), rng.uniform(0.1, 0.34)
        canvas.fill(box(x, top, x + wide, ground), jitter(rng, (146, 152, 186), 5))
        for row in (0.08, 0.26):
            for column in (0.2, 0.6):
                left = x + wide * column
                window = box(left, top + row, left + 0.07, top + row + 0.09)
                canvas.fill(window, (252, 236, 168))
        x += wide + 0.05
    _bands(canvas, rng, width, (ground, (116, 118, 136)))


def _snow(canvas: Canvas, rng: random.Random, width: float) -> None:
    ground = rng.uniform(0.62, 0.68)
    _bands(canvas, rng, width, (-0.1, (176, 206, 240)))
    for k in range(math.ceil(width)):
        x = rng.uniform(k + 0.2, min(k + 0.8, max(width - 0.2, k + 0.3)))
        peak = rng.uniform(0.1, 0.2)
        foot = ground + 0.02
        slope = [(x, peak), (x + 0.46, foot), (x - 0.46, foot)]
        canvas.fill(slope, jitter(rng, (136, 158, 202), 5))
        cap = [(x, peak), (x + 0.16, peak + 0.17), (x - 0.16, peak + 0.17)]
        canvas.fill(cap, (246, 250, 255))
    _bands(canvas, rng, width, (ground, (238, 244, 252)))


def _desert(canvas: Canvas, rng: random.Random, width: float) -> None:
    ground = rng.uniform(0.64, 0.7)
    _bands(canvas, rng, width, (-0.1, (255, 226, 176)), (ground, (234, 178, 112)))
    for k in range(math.ceil(width)):
        dune = ellipse(rng.uniform(k, k + 1), ground + 0.04, 0.5, 0.13)
        canvas.fill(dune, jitter(rng, (234, 178, 112), 5))
        left, right = rng.uniform(k + 0.08, k + 0.2), rng.uniform(k + 0.8, k + 0.92)
        x = rng.choice((left, right))
        side = rng.choice((-1, 1))
        arm = [(x, 0.52), (x + side * 0.13, 0.52), (x + side * 0.13, 0.4)]
        for path in ([(x, ground + 0.08), (x, 0.3)], arm):
            for polygon in stroke(path, 0.09):
                canvas.fill(polygon, (92, 158, 96))


def _night(canvas: Canvas, rng: random.Random, width: float) -> None:
    ground = rng.uniform(0.7, 0.76)
    _bands(canvas, rng, width, (-0.1, (62, 66, 132)), (ground, (84, 100, 128)))
    for k in range(math.ceil(width * 4)):
        spot = ellipse(
            k / 4 + rng.uniform(0.05, 0.2), rng.uniform(0.05, 0.6), 0.03, 0.03
        )
        canvas.fill(spot, (250, 240, 196))
    x = rng.uniform(0.15, width - 0.15)
    canvas.fill(ellipse(x, 0.17, 0.12, 0.12), (255, 244, 190))


def _room(canvas: Canvas, rng: random.Random, width: float) -> None:
    floor = rng.uniform(0.72, 0.78)
    _bands(canvas, rng, width, (-0.1, (250, 218, 214)), (floor, (192, 140, 100)))
    for k in range(max(1, round(width))):
        x = k + rng.choice((0.05, 0.61))
        canvas.fill(box(x, 0.1, x + 0.34, 0.46), (255, 255, 255))
        canvas.fill(box(x + 0.05, 0.15, x + 0.29, 0.41), (170, 218, 246))


def _ocean(canvas: Canvas, rng: random.Random, width: float) -> None:
    surface = rng.uniform(0.36, 0.42)
    _bands(canvas, rng, width, (-0.1, (214, 240, 250)), (surface, (84, 156, 222)))
    for row in range(3):
        y = surface + 0.04 + 0.22 * row
        x = rng.uniform(-0.3, 0.0)
        while x < width + 0.2:
            canvas.fill(rounded(x, y, x + 0.28, y + 0.08, 0.04), (150, 204, 244))
            x += 0.5


DRAWERS: Final[Mapping[str, Callable[[Canvas, random.Random, float], None]]] = {
    "beach": _beach,
    "forest": _forest,
    "city": _city,
    "snow": _snow,
    "desert": _desert,
    "night": _night,
    "room": _room,
    "ocean": _ocean,
}


def draw_background(canvas: Canvas, name: str, rng: random.Random) -> None:
    """Fill the canvas with one of the places."""
    DRAWERS[name](canvas, rng, canvas.size[0] / canvas.size[1])
