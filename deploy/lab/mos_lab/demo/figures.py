"""Pieces of the page: pictures as data URLs, boxes over a picture, bars."""

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Final

from PIL import Image

from mos_lab.demo.story import RegionStory

_WEBP_QUALITY: Final = 95
_HUES: Final = 6


def enlarged(image: Image.Image, width: int) -> Image.Image:
    """A small picture at the whole multiple of its size that reaches `width`.

    Lanczos resampling; a picture that is as wide already stays as it is.
    """
    scale = max(1, -(-width // image.width))
    size = (image.width * scale, image.height * scale)
    return image.resize(size, Image.Resampling.LANCZOS) if scale > 1 else image


def picture(image: Image.Image, alt: str, *, width: int) -> str:
    """An `img` that holds the picture itself, enlarged to some `width` pixels."""
    buffer = io.BytesIO()
    shown = enlarged(image, width)
    shown.save(buffer, "WEBP", quality=_WEBP_QUALITY, method=6)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<img alt="{escape(alt)}" width="{shown.width}" height="{shown.height}" '
        f'src="data:image/webp;base64,{data}">'
    )


def hue(index: int) -> str:
    """The class that gives the concept of this place its colour."""
    return f"hue{index % _HUES}"


def placeholder(concept: str) -> str:
    """`<concept>` as text of the page."""
    return f"&lt;{escape(concept)}&gt;"


def overlay(regions: Sequence[RegionStory]) -> str:
    """The regions' boxes, to lie over a picture."""
    return "".join(_box(region, index) for index, region in enumerate(regions))


def bar(share: float, hue_class: str = "") -> str:
    """A horizontal bar, `share` of its track from 0 to 1."""
    style = f"width:{100 * min(1.0, max(0.0, share)):.1f}%"
    return f'<span class="track"><i class="{hue_class}" style="{style}"></i></span>'


def size_text(count: int) -> str:
    """Bytes as a person says them."""
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1_000_000:.1f} MB"


def time_text(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def _box(region: RegionStory, index: int) -> str:
    left, top, right, bottom = (100 * edge for edge in region.box)
    style = (
        f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;"
        f"height:{bottom - top:.2f}%"
    )
    label = placeholder(region.concept)
    return f'<span class="box {hue(index)}" style="{style}"><b>{label}</b></span>'
