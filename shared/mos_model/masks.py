"""Masks: which part of a picture counts, read from whatever people save them as.

Inside is white. Other than 8-bit grey may be:

- transparency that varies: opaque is inside (a cut-out), whatever its colours; where
  the opaque part is itself pure black and white, white is inside;
- 16 bits, floating point or one bit: by their own full scale;
- labels, one value or colour on black: inside is whatever is not black;
- other colours: their brightest channel.

A mask that marks next to nothing is refused where it is used (`check_share`): what it
weights, a loss or a region, would go on without a subject and without a word.
"""

from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float
from PIL import Image

from mos_model.errors import DataError
from mos_model.images import decode_picture, decoding

MIN_SHARE: Final = 0.01
"""Share of a picture that the mask of its subject marks at least."""

SMALL_SHARE: Final = 0.05
"""A share below this is worth a note."""

_LARGEST_LABEL: Final = 31
"""A single grey value up to this, of 255, is a label and not a nearly black mask."""

_SLACK: Final = 24
"""What a JPEG makes of pure black, white and grey, of 255."""

_TWO_VALUED: Final = 0.98
"""Share of black and white from which a picture counts as two-valued."""

_SCALES: Final = (255, 65535)
"""What white is in 8 and in 16 bits."""


def read_mask(source: Path | bytes) -> Float[np.ndarray, "height width"]:
    """A mask as float32 from 0 (outside) to 1 (inside), turned as its EXIF says.

    Raises:
        DataError: not readable as a picture, or labels of several things; without the
            file's name.
    """
    return mask_of(decode_picture(source))


def check_share(mask: Float[np.ndarray, "height width"]) -> str | None:
    """A note on a mask that marks little of its picture, or all of it.

    Raises:
        DataError: it marks less than `MIN_SHARE`; without the file's name.
    """
    if not mask.any():
        raise DataError("black everywhere; white marks the subject")
    share = float(mask.mean())
    if share < MIN_SHARE:
        raise DataError(
            f"marks {share:.2%} of the picture, at least {MIN_SHARE:.0%} is needed; "
            "white marks the subject, crop the picture closer to it"
        )
    if share < SMALL_SHARE:
        return f"marks only {share:.1%} of the picture; a closer crop teaches more"
    return "marks the whole picture, without effect" if mask.min() == 1 else None


def looks_like_mask(image: Image.Image) -> bool:
    """Whether a picture is grey and nearly all black and white, with some of both."""
    pixels = np.asarray(image.convert("RGB")).astype(np.int16)
    coloured = np.ptp(pixels, axis=-1) > _SLACK
    values = pixels[..., 1]
    black = float((values <= _SLACK).mean())
    white = float((values >= 255 - _SLACK).mean())
    both = min(black, white) > MIN_SHARE and black + white > _TWO_VALUED
    return both and not bool(coloured.any())


def mask_of(image: Image.Image) -> Float[np.ndarray, "height width"]:
    """A decoded picture as a mask; see `read_mask`."""
    with decoding():
        return _mask_of(image)


def _mask_of(image: Image.Image) -> Float[np.ndarray, "height width"]:
    if image.mode == "F" or image.mode.startswith("I"):
        return _scaled(np.asarray(image).astype(np.float64))
    if image.has_transparency_data:
        whole = np.asarray(image.convert("RGBA"))
        alpha = whole[..., 3]
        if alpha.min() != alpha.max():
            return _opaque(whole, alpha)
    colours = np.asarray(image.convert("RGB"))
    grey = (colours == colours[..., :1]).all()
    if grey:
        return _scaled(colours[..., 0].astype(np.float64))
    return _coloured(colours, labelled=image.mode == "P")


def _opaque(whole: np.ndarray, alpha: np.ndarray) -> Float[np.ndarray, "height width"]:
    """A picture whose transparency varies."""
    visible = whole[alpha > 0][:, :3]
    inside = (visible == 255).all(1)
    own = alpha.astype(np.float32) / 255
    if inside.any() and not inside.all() and not visible[~inside].any():
        own = own * (whole[..., :3].min(-1) == 255)
    return own


def _scaled(values: np.ndarray) -> Float[np.ndarray, "height width"]:
    """Grey values by their full scale; one small value on 0 is a label."""
    if not np.isfinite(values).all() or values.min(initial=0) < 0:
        raise DataError("not a mask (values that are not finite, or below 0)")
    largest = values.max(initial=0)
    if 0 < largest <= _LARGEST_LABEL and largest % 1 == 0:
        inside = values == largest
        if not values[~inside].any():
            return np.asarray(inside, np.float32)
    fractions = largest <= 1 and bool((values % 1).any())
    scale = 1 if fractions else next((s for s in _SCALES if largest <= s), largest)
    return np.asarray(values / scale, np.float32)


def _coloured(
    colours: np.ndarray, *, labelled: bool
) -> Float[np.ndarray, "height width"]:
    """Colours on black: of labels one, or as bright as they are."""
    packed = colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
    found = np.unique(packed)
    if len(found) == 2 and found[0] == 0:
        return np.asarray(packed > 0, np.float32)
    if labelled:
        raise DataError(
            f"not a mask ({len(found)} colours, labels of several things; save the one "
            "that counts as white on black)"
        )
    return np.asarray(colours.max(-1) / 255, np.float32)
