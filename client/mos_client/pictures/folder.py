"""A folder of pictures, and what may lie beside them.

    rex/
        anything.png      jpg, png, webp, bmp, tiff, gif (its first frame)
        anything.txt      optional caption; {} or <name> marks the concept
        anything.mask.png optional mask, white where the subject is

What cannot be used is named with its reason, never silently skipped; the rest goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from mos_shared.errors import DataError

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


@dataclass(frozen=True)
class Folder:
    """What a folder holds for tuning."""

    pictures: Sequence[Picture]
    refused: Sequence[str]
    """One line for every file left out, with the reason."""


def read_folder(folder: Path, *, min_side: int) -> Folder:
    """Read every picture of a folder.

    Args:
        folder: The folder; sub-folders are not looked at.
        min_side: Pixels that the shorter side must have; nothing is ever enlarged
            to fit.

    Raises:
        DataError: no such folder, or not one usable picture in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; --data takes a folder of pictures")
    pictures: list[Picture] = []
    refused: list[str] = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() or path.name.startswith(".") or _goes_with(path):
            continue
        if path.suffix.lower() not in SUFFIXES:
            refused.append(f"{path.name}: not a picture ({path.suffix or 'no suffix'})")
            continue
        try:
            pictures.append(_read(path, min_side))
        except DataError as error:
            refused.append(str(error))
    if not pictures:
        reasons = "; ".join(refused) or "it is empty"
        raise DataError(f"{folder}: no usable picture: {reasons}")
    return Folder(tuple(pictures), tuple(refused))


def _goes_with(path: Path) -> bool:
    """Whether a file only accompanies a picture."""
    if path.name.endswith(_MASK):
        return True
    if path.suffix == ".toml":
        return path.name == "concept.toml"
    has_picture = any(path.with_suffix(suffix).exists() for suffix in SUFFIXES)
    return path.suffix in _BESIDE and has_picture


def _read(path: Path, min_side: int) -> Picture:
    image = _open(path)
    if min(image.size) < min_side:
        raise DataError(
            f"{path.name}: {image.width}x{image.height} pixels; at least {min_side} "
            f"are needed on the short side. Remove it, or pass --min-side"
        )
    caption = path.with_suffix(".txt")
    mask_path = path.with_name(path.stem + _MASK)
    mask = None
    if mask_path.exists():
        mask = _open(mask_path).convert("L")
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
    return Picture(path, image, text, mask)


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as opened:
            opened.load()
            turned = ImageOps.exif_transpose(opened)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path.name}: not a readable picture ({reason})") from error
    if turned.mode.startswith("I;16"):
        return turned.point(lambda value: value / 256).convert("L").convert("RGB")
    if turned.has_transparency_data:
        whole = turned.convert("RGBA")
        white = Image.new("RGBA", whole.size, "white")
        return Image.alpha_composite(white, whole).convert("RGB")
    return turned.convert("RGB")
