"""A folder of pictures, and what may lie beside them.

    rex/
        anything.png      jpg, png, webp, bmp, tiff, gif (its first frame)
        anything.txt      optional caption; {} or <name> marks the concept
        anything.mask.png optional mask, white where the subject is
        concept.toml      optional, see `concept_file`

What cannot be used is named with its reason, never silently skipped; the rest goes on.
Of pictures with equal pixels one is used; pictures that look alike are only named.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from mos_client.pictures.concept_file import FILE, read_concept_file
from mos_client.pictures.duplicates import near_duplicates
from mos_client.pictures.opening import open_picture
from mos_model.errors import DataError

SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
)
_BESIDE: Final = frozenset({".txt", ".toml"})
_MASK: Final = ".mask.png"


@dataclass(frozen=True)
class Picture:
    """One usable picture of the concept."""

    path: Path
    image: Image.Image
    """RGB, turned as its EXIF says; transparent parts are white."""

    caption: str | None
    """Its own caption, where there is one."""

    mask: Image.Image | None
    """8-bit grey, of the picture's size, white where the subject is."""

    defaults: Sequence[str] = ()
    """What it may be captioned with where it brings no caption; {} or <name> marks the
    concept. The usual templates where this is empty, too."""


@dataclass(frozen=True)
class Folder:
    """What a folder holds for tuning."""

    pictures: Sequence[Picture]
    refused: Sequence[str]
    """One line for every file left out, with the reason."""

    remarks: Sequence[str] = ()
    """One line for every picture that is used and had better be looked at."""


def read_folder(folder: Path, *, min_side: int) -> Folder:
    """Read every picture of a folder.

    Args:
        folder: The folder; sub-folders are not looked at.
        min_side: Pixels that the shorter side must have; nothing is ever enlarged
            to fit.

    Raises:
        DataError: no such folder, a broken `concept.toml`, or not one usable picture.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; --data takes a folder of pictures")
    defaults = read_concept_file(folder).captions
    pictures: list[Picture] = []
    refused: list[str] = []
    seen: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() or path.name.startswith(".") or _goes_with(path):
            continue
        if path.suffix.lower() not in SUFFIXES:
            refused.append(f"{path.name}: not a picture ({path.suffix or 'no suffix'})")
            continue
        try:
            picture = _read(path, min_side, defaults)
        except DataError as error:
            refused.append(str(error))
            continue
        first = seen.setdefault(_pixels(picture.image), path.name)
        if first != path.name:
            refused.append(f"{path.name}: the same picture as {first}")
            continue
        pictures.append(picture)
    if not pictures:
        reasons = "; ".join(refused) or "it is empty"
        raise DataError(f"{folder}: no usable picture: {reasons}")
    names = [picture.path.name for picture in pictures]
    alike = near_duplicates(names, [picture.image for picture in pictures])
    return Folder(tuple(pictures), tuple(refused), tuple(alike))


def _goes_with(path: Path) -> bool:
    """Whether a file only accompanies a picture."""
    if path.name.endswith(_MASK):
        return True
    if path.suffix == ".toml":
        return path.name == FILE
    has_picture = any(path.with_suffix(suffix).exists() for suffix in SUFFIXES)
    return path.suffix in _BESIDE and has_picture


def _read(path: Path, min_side: int, defaults: Sequence[str]) -> Picture:
    image = open_picture(path)
    if min(image.size) < min_side:
        raise DataError(
            f"{path.name}: {image.width}x{image.height} pixels; at least {min_side} "
            f"are needed on the short side. Remove it, or pass --min-side"
        )
    caption = path.with_suffix(".txt")
    mask_path = path.with_name(path.stem + _MASK)
    mask = None
    if mask_path.exists():
        mask = open_picture(mask_path).convert("L")
        if mask.size != image.size:
            raise DataError(
                f"{mask_path.name}: {mask.width}x{mask.height} pixels, its picture has "
                f"{image.width}x{image.height}"
            )
    text = None
    if caption.exists():
        try:
            text = caption.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{caption.name}: not readable text ({error})") from error
    return Picture(path, image, text or None, mask, defaults)


def _pixels(image: Image.Image) -> str:
    """What two pictures with equal pixels share."""
    return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
