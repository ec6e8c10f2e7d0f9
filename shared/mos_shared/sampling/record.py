"""What a picture tells about its making: one JSON text in its PNG file.

It holds no path and no file's name: pictures that took part stand by their digests.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mos_shared.errors import LayoutError
from mos_shared.sampling.layout import Layout
from mos_shared.sampling.layout_file import layout_from, layout_record
from mos_shared.sampling.settings import SamplingSettings
from mos_shared.sampling.shapes import open_picture

_KEY: Final = "mix-of-show"
_FORMAT: Final = 1


@dataclass(frozen=True)
class PictureRecord:
    """How a picture was made."""

    layout: Mapping[str, Any]
    """As `layout_file.layout_record` gives it."""

    settings: SamplingSettings
    seed: int
    base: str
    """Fingerprint of the base."""

    model: Mapping[str, Any]
    """What was on the base, by digests; empty for the bare base."""

    @staticmethod
    def of(
        layout: Layout,
        settings: SamplingSettings,
        *,
        seed: int,
        base: str,
        model: Mapping[str, Any],
    ) -> "PictureRecord":
        """The record of a picture of a layout."""
        return PictureRecord(layout_record(layout), settings, seed, base, model)

    def layout_again(self) -> Layout:
        """The layout, to sample it once more.

        Raises:
            LayoutError: pictures took part in it, which the record does not hold.
        """
        masked = any("mask_sha256" in each for each in self.layout["regions"])
        if masked or self.layout["controls"]:
            raise LayoutError(
                "the picture was made with masks or controls, which it does not hold; "
                "pass its layout's file with --layout"
            )
        size = (self.layout["width"], self.layout["height"])
        return layout_from(dict(self.layout), folder=Path(), size=size)


def png_bytes(image: Image.Image, records: Sequence[PictureRecord] = ()) -> bytes:
    """A PNG file's content, with the records of the pictures in it."""
    info = PngInfo()
    if records:
        pictures = [asdict(record) for record in records]
        text = json.dumps({"format": _FORMAT, "pictures": pictures}, sort_keys=True)
        info.add_itxt(_KEY, text)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def read_record(path: Path) -> PictureRecord:
    """The record in a PNG file of ours.

    Raises:
        LayoutError: the file is missing, no picture, a sheet of several, or holds no
            record that this version reads.
    """
    image = open_picture(path, "a picture with its record")
    try:
        entries = json.loads(image.info[_KEY])
        if entries["format"] != _FORMAT:
            raise ValueError
        pictures = [_record(picture) for picture in entries["pictures"]]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise LayoutError(
            f"{path}: holds no record of how it was made (`mos-client sample` writes "
            "one unless --no-metadata is given)"
        ) from error
    if len(pictures) != 1:
        raise LayoutError(
            f"{path}: a sheet of {len(pictures)} pictures; give one alone"
        )
    return pictures[0]


def _record(entries: dict[str, Any]) -> PictureRecord:
    settings = SamplingSettings(**entries["settings"])
    return PictureRecord(**{**entries, "settings": settings})
