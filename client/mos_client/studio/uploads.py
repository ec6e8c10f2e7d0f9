"""Pictures from the page: limited in bytes and pixels before they are decoded.

An upload never names a file: it is stored under the digest of its pixels, which is also
the name that a picture's record has for it.
"""

import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from mos_model.errors import DataError, LayoutError
from mos_model.images import decode_picture
from mos_model.layouts.picture_file import picture_bytes
from mos_model.layouts.shapes import picture_digest
from mos_runtime.files import write_atomically

_NAME: Final = re.compile(r"[0-9a-f]{64}\.png")


@dataclass(frozen=True)
class UploadLimits:
    """What an upload may be."""

    max_bytes: int = 32 * 2**20
    max_pixels: int = 40_000_000


def decoded(content: bytes, limits: UploadLimits) -> Image.Image:
    """A picture from untrusted bytes, turned as its EXIF says.

    The size is read from the header and refused before any pixel is decoded.

    Raises:
        LayoutError: no picture of a known format, or one beyond the limits.
    """
    most = limits.max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                width, height = image.size
        if width * height > most:
            raise LayoutError(
                f"the picture has {width}x{height} pixels; at most {most // 10**6} "
                "megapixels are taken. Scale it down"
            )
    except Image.DecompressionBombError as error:
        raise LayoutError(
            f"the picture is too large; at most {most // 10**6} megapixels are taken. "
            "Scale it down"
        ) from error
    except (OSError, ValueError, SyntaxError):
        pass  # `decode_picture` says what it is
    try:
        return decode_picture(content)
    except DataError as error:
        raise LayoutError(str(error)) from error


def store_upload(
    content: bytes, folder: Path, *, mask: bool, limits: UploadLimits
) -> str:
    """Keep a mask or a control's picture as PNG.

    Args:
        content: The uploaded file.
        folder: Where uploads are.
        mask: Keep one grey channel, as masks have; else RGB.
        limits: Of bytes and pixels.

    Returns:
        Its name in `folder`, as layouts give it.

    Raises:
        LayoutError: see `decoded`.
    """
    image = decoded(content, limits).convert("L" if mask else "RGB")
    name = f"{picture_digest(image)}.png"
    if not (folder / name).is_file():
        write_atomically(folder / name, picture_bytes(image))
    return name


def checked_upload(name: object, folder: Path) -> str:
    """The name of an upload, where it is one and is there.

    Raises:
        LayoutError: another name, as a path would be, or not uploaded.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise LayoutError(
            f"{str(name)[:80]!r} names no uploaded picture; upload masks and controls"
        )
    if not (folder / name).is_file():
        raise LayoutError(f"picture {name[:12]} is not here; upload it again")
    return name
