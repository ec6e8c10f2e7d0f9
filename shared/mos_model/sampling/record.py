"""What a picture says of its making: one JSON text in its file.

It holds no path and no file's name: pictures that took part stand by their digests.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mos_model.errors import LayoutError
from mos_model.layouts.layout import Layout
from mos_model.layouts.layout_file import layout_from, layout_record
from mos_model.layouts.picture_file import text_in
from mos_model.layouts.shapes import open_picture
from mos_model.sampling.control_models import control_folder, weights_digest
from mos_model.sampling.resources import Resources
from mos_model.sampling.settings import SamplingSettings

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
        """The record of a picture of a layout, whose controls' models are here."""
        weights = {
            control.model: weights_digest(control_folder(control.model))
            for control in layout.controls
        }
        values = layout_record(layout, weights=weights)
        return PictureRecord(values, settings, seed, base, model)

    def layout_again(self, resources: Resources) -> Layout:
        """The layout, to sample it once more.

        Args:
            resources: Where its masks and controls are looked for.

        Raises:
            LayoutError: the record is damaged, or one of those is not there or is
                another by now.
        """
        try:
            size = (self.layout["width"], self.layout["height"])
            entries = dict(self.layout)
            entries["regions"] = [
                _with_mask(region, f"region {number}'s mask", size, resources)
                for number, region in enumerate(entries["regions"], 1)
            ]
            entries["controls"] = [
                _with_picture(control, size, resources)
                for control in entries["controls"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LayoutError("the picture's record is damaged") from error
        return layout_from(entries, folder=Path(), size=size)


def records_text(records: Sequence[PictureRecord]) -> str:
    """The records of a file's pictures, as the text that it carries."""
    pictures = [asdict(record) for record in records]
    return json.dumps({"format": _FORMAT, "pictures": pictures}, sort_keys=True)


def read_record(path: Path) -> PictureRecord:
    """The record in a picture that `mos-client sample` wrote.

    Raises:
        LayoutError: the file is missing, no picture, a sheet of several, or holds no
            record that this version reads.
    """
    image = open_picture(path, "a picture with its record")
    try:
        entries = json.loads(text_in(image))
        if entries["format"] != _FORMAT:
            raise ValueError
        pictures = [_record(picture) for picture in entries["pictures"]]
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise LayoutError(
            f"{path}: holds no record of how it was made (`mos-client sample` writes "
            "one unless --no-metadata is given)"
        ) from error
    if len(pictures) != 1:
        raise LayoutError(
            f"{path}: a sheet of {len(pictures)} pictures; give one alone"
        )
    return pictures[0]


def _with_mask(
    region: Mapping[str, Any], what: str, size: tuple[int, int], resources: Resources
) -> dict[str, Any]:
    """A region as layout files have it."""
    own = dict(region)
    if "mask" in own:
        raise ValueError("records name no files")
    if "mask_sha256" in own:
        digest = str(own.pop("mask_sha256"))
        own["mask"] = str(resources.picture(digest, size, what, mask=True))
    return own


def _with_picture(
    control: Mapping[str, Any], size: tuple[int, int], resources: Resources
) -> dict[str, Any]:
    """A control as layout files have it."""
    own = dict(control)
    model, digest = str(own["model"]), str(own.pop("image_sha256"))
    own["image"] = str(resources.picture(digest, size, f"control {model}'s picture"))
    own["model"] = resources.model(model, own.pop("weights_sha256", None))
    return own


def _record(entries: dict[str, Any]) -> PictureRecord:
    if type(entries["seed"]) is not int or not isinstance(entries["layout"], dict):
        raise ValueError
    settings = SamplingSettings(**entries["settings"])
    return PictureRecord(**{**entries, "settings": settings})
