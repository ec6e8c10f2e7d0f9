"""Dresses a figure: colours, patterns, accessories, and marks, drawn on a canvas."""

from collections.abc import Sequence

from mos_zoo.world.canvas import (
    Canvas,
    Color,
    Frame,
    Polygon,
    box,
    ellipse,
    rounded,
    shade,
    star,
)
from mos_zoo.world.instance import Instance
from mos_zoo.world.subjects import (
    BODY,
    DARK,
    FIGURES,
    LIGHT,
    PART,
    SKIN,
    Figure,
    Paint,
)

_STRIPE, _STRIPE_EVERY = 0.26, 0.56
_SPOT, _SPOT_EVERY = 0.17, 0.56


def draw_subject(
    canvas: Canvas, mask: Canvas | None, instance: Instance, frame: Frame
) -> None:
    """Draw one individual; `mask` (mode "L"), where given, becomes 255 under it."""
    figure = FIGURES[instance.kind](*instance.proportions)
    skin = _skin_paints(instance)
    for polygon, paint in figure.parts:
        placed = frame.place(polygon)
        if paint == SKIN and skin:
            _fill_skin(canvas, placed, instance, skin, frame)
        else:
            canvas.fill(placed, _color(instance, paint))
        if mask is not None:
            mask.fill(placed, 255)
    for polygon, color in [*_accessory(figure, instance), *_badge(figure, instance)]:
        canvas.fill(frame.place(polygon), color)
        if mask is not None:
            mask.fill(frame.place(polygon), 255)


def _color(instance: Instance, paint: Paint) -> Color:
    if not isinstance(paint, str):
        return paint
    if paint == PART and instance.mark == "part":
        return instance.mark_color
    light = sum(instance.body) > 540
    colors = {
        SKIN: instance.body,
        BODY: instance.body,
        DARK: shade(instance.body, 0.78),
        PART: shade(instance.body, 0.86),
        LIGHT: shade(instance.body, 0.88 if light else 1.5),
    }
    return colors[paint]


def _skin_paints(instance: Instance) -> list[tuple[Polygon, Color]]:
    """What lies over the body colour on skin parts, in the figure's own units."""
    paints: list[tuple[Polygon, Color]] = []
    if instance.mark == "half":
        paints.append((box(-1.5, -0.62, 1.5, 0.2), instance.mark_color))
    if instance.pattern == "stripes":
        x = -1.5 + _STRIPE_EVERY / 2 - _STRIPE / 2
        while x < 1.5:
            paints.append((box(x, -2.4, x + _STRIPE, 0.2), instance.second))
            x += _STRIPE_EVERY
    elif instance.pattern == "spots":
        for row in range(6):
            for column in range(-3, 4):
                x = (column + 0.5 * (row % 2)) * _SPOT_EVERY
                y = -0.2 - row * _SPOT_EVERY * 0.8
                paints.append((ellipse(x, y, _SPOT, _SPOT), instance.second))
    return paints


def _fill_skin(
    canvas: Canvas,
    placed: Polygon,
    instance: Instance,
    skin: Sequence[tuple[Polygon, Color]],
    frame: Frame,
) -> None:
    canvas.fill(placed, instance.body)
    clip = Canvas(*canvas.size, mode="L")
    clip.fill(placed, 255)
    layer = Canvas(*canvas.size)
    layer.image.paste(canvas.image)
    for polygon, color in skin:
        layer.fill(frame.place(polygon), color)
    canvas.image.paste(layer.image, mask=clip.image)


def _accessory(figure: Figure, instance: Instance) -> list[tuple[Polygon, Color]]:
    color = instance.accessory_color
    if instance.accessory == "hat":
        x, y, half = figure.hat
        brim = rounded(x - half * 1.3, y - 0.06, x + half * 1.3, y + 0.1, 0.07)
        crown = box(x - half * 0.75, y - 0.46, x + half * 0.75, y)
        band = box(x - half * 0.75, y - 0.16, x + half * 0.75, y - 0.04)
        return [(crown, color), (band, shade(color, 0.66)), (brim, color)]
    if instance.accessory == "scarf":
        x, y, half = figure.neck
        tail = rounded(x + half * 0.3, y, x + half * 0.3 + 0.28, y + 0.56, 0.06)
        wrap = rounded(x - half, y - 0.13, x + half, y + 0.13, 0.12)
        return [(tail, shade(color, 0.8)), (wrap, color)]
    return []


def _badge(figure: Figure, instance: Instance) -> list[tuple[Polygon, Color]]:
    if instance.mark != "star":
        return []
    return [(star(*figure.badge, figure.badge_size), instance.mark_color)]
