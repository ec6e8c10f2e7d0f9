"""What a picture's record names by digest alone, found on the disk once more.

A record holds no path and no file's name, so masks and controls' pictures are sought by
their pixels in some folders, whatever they are called there now, and controls' models
by their name, their weights checked. Nothing is fetched: a picture may come from
anyone.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from mos_model.errors import LayoutError
from mos_model.layouts.shapes import Mask, open_picture, picture_digest
from mos_model.mini import ZOO_NAMES
from mos_model.sampling.control_models import control_folder, weights_digest

PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class Resources:
    """Folders and files in which pictures and models are looked for, in order."""

    def __init__(self, places: Sequence[Path]) -> None:
        """Take folders (looked into, not below) and files.

        Raises:
            LayoutError: a place is neither.
        """
        for place in places:
            if not place.exists():
                raise LayoutError(f"{place}: no such file or folder")
        self._places = tuple(dict.fromkeys(place.resolve() for place in places))

    def picture(
        self, digest: str, size: tuple[int, int], what: str, *, mask: bool = False
    ) -> Path:
        """The file of a picture.

        Args:
            digest: As `shapes.picture_digest` gives it.
            size: Width and height in pixels.
            what: Whose picture it is, for the message.
            mask: Whether it was read as a mask before its digest was taken.

        Raises:
            LayoutError: none of the places has a picture of these pixels.
        """
        seen = 0
        for path in self._pictures():
            if not _is_of_size(path, size):
                continue
            seen += 1
            try:
                image = Mask.read(path).image if mask else open_picture(path, what)
            except LayoutError:
                continue
            if picture_digest(image) == digest:
                return path
        places = ", ".join(str(place) for place in self._places)
        raise LayoutError(
            f"{what} (SHA-256 of its pixels {digest[:12]}) is not at hand, or was "
            f"changed since: none of the {seen} pictures of {size[0]}x{size[1]} in "
            f"{places} is it. Name its file or folder with --files"
        )

    def model(self, name: str, digest: str | None) -> str:
        """A control's model, as `Control.model` takes it.

        Args:
            name: What the record calls it.
            digest: Of its weights (see `control_models.weights_digest`), where the
                record tells it.

        Raises:
            LayoutError: it is not at hand, or has other weights.
        """
        found = name
        if name not in ZOO_NAMES and "/" not in name:
            found = str(self._folder(name))
        folder = control_folder(found, offline=True)
        if digest is not None and weights_digest(folder) != digest:
            raise LayoutError(
                f"control {name}: its weights are not those that made the picture "
                f"(SHA-256 {digest[:12]})"
            )
        return found

    def _pictures(self) -> Iterator[Path]:
        for place in self._places:
            files = sorted(place.iterdir()) if place.is_dir() else [place]
            yield from (path for path in files if path.suffix.lower() in PICTURES)

    def _folder(self, name: str) -> Path:
        for place in self._places:
            for folder in (place / name, place):
                if folder.name == name and (folder / "config.json").is_file():
                    return folder
        raise LayoutError(
            f"control {name}: its folder is not at hand; name it, or the folder it is "
            "in, with --files"
        )


def _is_of_size(path: Path, size: tuple[int, int]) -> bool:
    """By the file's header; a picture may lie on its side there (EXIF)."""
    try:
        with Image.open(path) as image:
            return image.size in (size, size[::-1])
    except (OSError, ValueError, Image.DecompressionBombError):
        return False
