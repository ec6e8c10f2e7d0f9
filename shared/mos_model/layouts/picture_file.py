"""Picture files, with a text in each that says how it was made.

A PNG holds it as a text of its own (iTXt), JPEG and WebP as the comment in their EXIF.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mos_model.errors import LayoutError

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")
"""The suffixes of the formats that are written."""

_KEY: Final = "mix-of-show"
_EXIF: Final = 0x8769
_COMMENT: Final = 0x9286
_ASCII: Final = b"ASCII\0\0\0"
"""How EXIF says in which characters a comment is."""

_MOST_SIDE: Final[Mapping[str, int]] = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}
_MOST_JPEG_TEXT: Final = 65000
"""Bytes; all of a JPEG's EXIF is one segment of 65533."""


def check_picture_file(path: Path, size: tuple[int, int], text: str | None) -> None:
    """Refuse a format that cannot hold a picture, before it is drawn.

    Raises:
        LayoutError: too large a picture, or too long a text.
    """
    suffix = path.suffix.lower()
    most = _MOST_SIDE.get(suffix)
    if most is not None and max(size) > most:
        raise LayoutError(
            f"{path}: {size[0]}x{size[1]} pixels; this format takes {most} a side, "
            "a PNG any number"
        )
    if text and suffix in (".jpg", ".jpeg") and len(text) > _MOST_JPEG_TEXT:
        raise LayoutError(
            f"{path}: how it is made takes {len(text)} bytes, a JPEG holds "
            f"{_MOST_JPEG_TEXT}; write a PNG, or pass --no-metadata"
        )


def picture_bytes(
    image: Image.Image, suffix: str = ".png", text: str | None = None
) -> bytes:
    """A picture file's content.

    JPEG is written at quality 95 with whole colours, WebP without loss.

    Args:
        image: The picture.
        suffix: One of `SUFFIXES`, in any case.
        text: ASCII text to put in.
    """
    buffer = io.BytesIO()
    kind = suffix.lower()
    if kind == ".png":
        info = PngInfo()
        if text is not None:
            info.add_itxt(_KEY, text)
        image.save(buffer, "PNG", pnginfo=info)
        return buffer.getvalue()
    exif = Image.Exif()
    if text is not None:
        exif.get_ifd(_EXIF)[_COMMENT] = _ASCII + text.encode("ascii")
    if kind == ".webp":
        image.save(buffer, "WEBP", lossless=True, exif=exif)
    else:
        colours = image.convert("RGB")
        colours.save(buffer, "JPEG", quality=95, subsampling=0, exif=exif)
    return buffer.getvalue()


def text_in(image: Image.Image) -> str:
    """The text that `picture_bytes` put into a picture.

    Raises:
        KeyError: there is none.
    """
    if _KEY in image.info:
        return str(image.info[_KEY])
    comment = image.getexif().get_ifd(_EXIF)[_COMMENT]
    if not isinstance(comment, bytes) or not comment.startswith(_ASCII):
        raise KeyError(_COMMENT)
    return comment.removeprefix(_ASCII).decode("ascii", "replace")
