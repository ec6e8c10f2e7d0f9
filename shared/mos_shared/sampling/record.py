"""What a picture tells about its making: one JSON text in its PNG file.

It holds no path and no file's name: pictures that took part stand by their digests.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
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
    """What was on the base: {"release": digest, "version": n} of a release received,
    {"sha256": [..]} of files, or nothing."""

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
        taken_part = any("mask_sha256" in each for each in self.layout["regions"])
        if taken_part or self.layout["controls"]:
            raise LayoutError(
                "the picture was made with masks or controls, which it does not hold; "
                "pass its layout's file with --layout"
            )
        size = (self.layout["width"], self.layout["height"])
        return layout_from(dict(self.layout), folder=Path(), size=size)


def png_bytes(image: Image.Image, record: PictureRecord | None = None) -> bytes:
    """A PNG file's content, with the record where one is given."""
    info = PngInfo()
    if record is not None:
        text = json.dumps({"format": _FORMAT, **asdict(record)}, sort_keys=True)
        info.add_itxt(_KEY, text)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def read_record(path: Path) -> PictureRecord:
    """The record in a PNG file of ours.

    Raises:
        LayoutError: the file is missing, no picture, or holds no such record.
    """
    image = open_picture(path, "a picture with its record")
    try:
        entries = json.loads(image.info[_KEY])
        if entries.pop("format") != _FORMAT:
            raise ValueError
        settings = entries.pop("settings")
        known = {field.name for field in fields(SamplingSettings)}
        settings = {name: settings[name] for name in settings if name in known}
        return PictureRecord(settings=SamplingSettings(**settings), **entries)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise LayoutError(
            f"{path}: holds no record of how it was made (written by `mos-client "
            "sample` unless --no-metadata is given)"
        ) from error
