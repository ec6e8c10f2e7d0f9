"""Pictures about pictures: a layout's preview, a contact sheet, a region's crop."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mos_model.layouts.layout import Layout, Region

_PAPER: Final = (245, 245, 242)
_INK: Final = (30, 30, 30)
_COLOURS: Final = (
    *((31, 119, 180), (214, 96, 20), (44, 140, 44), (190, 40, 60), (120, 80, 170)),
    *((130, 85, 70), (200, 90, 165), (110, 110, 110), (150, 150, 20), (20, 150, 165)),
)
_SHORT_SIDE: Final = 480
"""Pixels that a preview's shorter side has at least, so that prompts can be read."""

_LONG_SIDE: Final = 4096
"""Pixels beyond which no preview is enlarged."""

_GAP: Final = 4


def region_crop(picture: Image.Image, region: Region) -> Image.Image:
    """The part of a picture inside a region's box, rounded to whole pixels.

    Args:
        picture: A picture of the region's layout, at any size.
        region: The region; of a polygon or mask, the smallest box around it counts.
    """
    left, top, right, bottom = region.box
    width, height = picture.size
    first = min(width - 1, round(left * width)), min(height - 1, round(top * height))
    last = (
        max(first[0] + 1, round(right * width)),
        max(first[1] + 1, round(bottom * height)),
    )
    return picture.crop((*first, *last))


def layout_preview(layout: Layout) -> Image.Image:
    """The regions of a layout in colours, each with its prompt; nothing is sampled.

    Raises:
        LayoutError: the layout contradicts itself.
    """
    covers = layout.coverages()
    layout.check_controls()
    shorter, longer = sorted((layout.width, layout.height))
    scale = max(1, min(-(-_SHORT_SIDE // shorter), _LONG_SIDE // longer))
    size = (layout.width * scale, layout.height * scale)
    image = Image.new("RGB", size, _PAPER)
    order = sorted(range(len(covers)), key=lambda index: layout.regions[index].z)
    for index in order:
        tint = Image.new("RGB", size, _COLOURS[index % len(_COLOURS)])
        cover = Image.fromarray(np.uint8(np.round(110 * covers[index])))
        image.paste(tint, mask=cover.resize(size, Image.Resampling.NEAREST))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=15)
    for index in order:
        region = layout.regions[index]
        left, top, right, bottom = region.box
        first = (left * size[0], top * size[1])
        last = (right * size[0] - 1, bottom * size[1] - 1)
        box = (*first, max(first[0], last[0]), max(first[1], last[1]))
        draw.rectangle(box, outline=_COLOURS[index % len(_COLOURS)], width=2)
        words = _wrapped(f"{index + 1}: {region.prompt}", font, box[2] - box[0] - 12)
        draw.multiline_text((box[0] + 6, box[1] + 5), words, fill=_INK, font=font)
    context = _wrapped(layout.prompt, font, size[0] - 12.0)
    below = draw.multiline_textbbox((0, 0), context, font=font)
    sheet = Image.new("RGB", (size[0], size[1] + int(below[3]) + 12), "white")
    sheet.paste(image)
    ImageDraw.Draw(sheet).multiline_text(
        (6, size[1] + 5), context, fill=_INK, font=font
    )
    return sheet


def sheet_size(size: tuple[int, int], count: int, *, columns: int) -> tuple[int, int]:
    """Width and height of a `contact_sheet` of so many pictures of a size."""
    width, height = size
    rows = -(-count // columns)
    return columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP


def contact_sheet(pictures: Sequence[Image.Image], *, columns: int) -> Image.Image:
    """Pictures of one size in rows of so many, with white between."""
    width, height = pictures[0].size
    size = sheet_size((width, height), len(pictures), columns=columns)
    sheet = Image.new("RGB", size, "white")
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        sheet.paste(picture, (column * (width + _GAP), row * (height + _GAP)))
    return sheet


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float
) -> str:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
