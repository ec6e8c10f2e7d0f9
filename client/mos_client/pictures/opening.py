"""One picture file, of whatever kind, as 8-bit RGB."""

from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from mos_model.images import decode_picture, decoding

_DEPTH: Final = 257  # 65535 / 255


def open_picture(path: Path) -> Image.Image:
    """Read a picture: turned as its EXIF says, transparent parts white.

    16-bit pictures keep their upper eight bits, of an animation the first frame counts.

    Raises:
        DataError: not a readable picture; without the file's name.
    """
    with decoding():
        return _rgb(decode_picture(path))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point values; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        # Pillow reads some 8-bit grey files, too, as wide integers.
        eight = values // _DEPTH if values.max(initial=0) > 255 else values
        return Image.fromarray(eight.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        white = Image.new("RGBA", whole.size, "white")
        return Image.alpha_composite(white, whole).convert("RGB")
    return image.convert("RGB")
