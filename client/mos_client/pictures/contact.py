"""The contact sheet of `mos-client tune --check`: what the model will see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont, ImageOps

_CELL: Final = 176
_LINES: Final = 3
_LINE_HEIGHT: Final = 13
_MARGIN: Final = 8
_TINT: Final = (230, 0, 90)
_TINT_SHARE: Final = 0.55  # of the tint where a mask is black
_INK: Final = (30, 30, 30)


@dataclass(frozen=True)
class Cell:
    """One variant on the sheet."""

    image: Image.Image
    """RGB, as the model sees it."""

    mask: Image.Image | None
    """8-bit grey, of the image's size; what lies outside is tinted."""

    label: str
    """The file's name and the bucket."""

    caption: str


def sheet(rows: Sequence[Sequence[Cell]]) -> Image.Image:
    """One row a picture, one column a variant, labels and captions below.

    Args:
        rows: At least one row of at least one cell.
    """
    height = _CELL + _LINES * _LINE_HEIGHT + _MARGIN
    width = _CELL + _MARGIN
    columns = max(len(row) for row in rows)
    size = (columns * width + _MARGIN, len(rows) * height + _MARGIN)
    whole = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(whole)
    font = ImageFont.load_default(size=10)
    for index, row in enumerate(rows):
        for column, cell in enumerate(row):
            left, top = _MARGIN + column * width, _MARGIN + index * height
            shown = _shown(cell)
            across = (_CELL - shown.width) // 2
            whole.paste(shown, (left + across, top + _CELL - shown.height))
            lines = [cell.label, *_wrapped(cell.caption, font, _LINES - 1)]
            for number, line in enumerate(lines):
                below = top + _CELL + number * _LINE_HEIGHT
                draw.text((left, below), _cut(line, font), fill=_INK, font=font)
    return whole


def tinted(image: Image.Image, mask: Image.Image | None) -> Image.Image:
    """The picture, tinted where its mask is black."""
    if mask is None:
        return image
    covered = Image.blend(image, Image.new("RGB", image.size, _TINT), _TINT_SHARE)
    return Image.composite(image, covered, mask)


def _shown(cell: Cell) -> Image.Image:
    whole = tinted(cell.image, cell.mask)
    return ImageOps.contain(whole, (_CELL, _CELL), Image.Resampling.LANCZOS)


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, most: int
) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and (font.getlength(longer) <= _CELL or len(lines) == most):
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _cut(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The line as far as it fits."""
    if font.getlength(line) <= _CELL:
        return line
    while font.getlength(f"{line}...") > _CELL:
        line = line[:-1]
    return f"{line}..."
