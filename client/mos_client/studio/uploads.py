"""Pictures from the page: limited in bytes and pixels before they are decoded.

An upload never names a file: it is stored under the digest of its pixels, which is also
the name that a picture's record has for it.
"""

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from mos_model.errors import LayoutError
from mos_model.layouts.picture_file import picture_bytes
from mos_model.layouts.shapes import picture_digest
from mos_runtime.files import write_atomically

_NAME: Final = re.compile(r"[0-9a-f]{64}\.png")
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "BMP")


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
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > limits.max_pixels:
                raise LayoutError(
                    f"the picture has {width}x{height} pixels; at most "
                    f"{limits.max_pixels // 10**6} megapixels are taken. Scale it down"
                )
            image.load()
            return ImageOps.exif_transpose(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LayoutError(
            f"the picture is too large; at most {limits.max_pixels // 10**6} "
            "megapixels are taken. Scale it down"
        ) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise LayoutError(
            f"not a picture that can be read; {', '.join(_FORMATS)} are taken"
        ) from error


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
