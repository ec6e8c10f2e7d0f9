"""A folder of pictures, and the captions and masks next to them.

    rex/
        anything.png      any format of `mos_model.images`; of an animation, one frame
        anything.txt      optional caption; {} or <name> marks the concept
        anything.mask.png optional mask, white where the subject is
        concept.toml      optional, see `concept_file`

`listing` and `captions` hold what other names and formats are read. What cannot be used
is named with its reason, never silently skipped; the rest goes on. Of pictures with
equal pixels one is used; pictures that look alike are only named. A caption that cannot
be read leaves its picture in use; a mask that cannot be used leaves its picture out,
since tuning would learn what the mask was to hide.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mos_client.pictures.captions import read_caption, read_table
from mos_client.pictures.concept_file import read_concept_file, tune_options
from mos_client.pictures.duplicates import near_duplicates
from mos_client.pictures.listing import Listing, list_folder
from mos_client.pictures.notes import FileNote, plain
from mos_client.pictures.opening import open_picture
from mos_model.errors import DataError
from mos_model.masks import check_share, looks_like_mask, read_mask

_REASONS_TOLD = 3
_NAMES_TOLD = 3


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
    """Its captions where it has none of its own; {} or <name> marks the concept. The
    usual templates where this is empty, too."""

    caption_file: str | None = None
    """Name of the file that holds its own caption."""


@dataclass(frozen=True)
class Folder:
    """What a folder holds for tuning."""

    pictures: Sequence[Picture]
    refused: Sequence[FileNote]
    """Every file left out, with the reason."""

    remarks: Sequence[FileNote] = ()
    """What is used and had better be looked at."""

    def why_empty(self) -> str:
        """What to say where no picture can be used: the commonest reasons."""
        files: dict[str, list[str]] = {}
        for note in (*self.refused, *self.remarks):
            files.setdefault(note.reason, []).append(note.file)
        reasons = sorted(files, key=lambda reason: -len(files[reason]))
        told = [plain(f"{_some(files[one])}: {one}") for one in reasons[:_REASONS_TOLD]]
        if more := sum(len(files[one]) for one in reasons[_REASONS_TOLD:]):
            told.append(f"{more} more; `tune --check --json` lists all")
        return f"no usable picture: {'; '.join(told) or 'it is empty'}"


def read_folder(folder: Path, *, min_side: int) -> Folder:
    """Read every picture of a folder; see `scan_folder`.

    Raises:
        DataError: no such folder, a broken `concept.toml`, or no usable picture.
    """
    found = scan_folder(folder, min_side=min_side)
    if not found.pictures:
        raise DataError(f"{folder}: {found.why_empty()}")
    return found


def scan_folder(folder: Path, *, min_side: int) -> Folder:
    """Read every picture of a folder, of which none may be usable.

    Args:
        folder: The folder; sub-folders are named and not read.
        min_side: Pixels that the shorter side must have; nothing is enlarged to fit.

    Raises:
        DataError: no such folder, or a broken `concept.toml`.
    """
    defaults = read_concept_file(folder).captions
    listing = list_folder(folder)
    reader = _Reader(listing, min_side, defaults)
    for path in listing.pictures:
        reader.read(path)
    pictures = reader.pictures
    names = [picture.path.name for picture in pictures]
    alike = near_duplicates(names, [picture.image for picture in pictures])
    inside = [_about_folder(path) for path in listing.folders]
    return Folder(
        tuple(pictures),
        (*reader.refused, *listing.unused),
        (*inside, *reader.remarks, *alike),
    )


class _Reader:
    """Reads pictures one by one, each with its caption and mask."""

    def __init__(
        self, listing: Listing, min_side: int, defaults: Sequence[str]
    ) -> None:
        self._listing, self._min_side, self._defaults = listing, min_side, defaults
        self._seen: dict[str, str] = {}
        self.pictures: list[Picture] = []
        self.refused: list[FileNote] = []
        self.remarks: list[FileNote] = []
        self._table = self._read_tables()

    def read(self, path: Path) -> None:
        """Add a picture, or the reason why it is left out."""
        try:
            image = self._image(path)
            mask = self._mask(path, image)
        except DataError as error:
            self.refused.append(FileNote(path.name, str(error)))
            return
        first = self._seen.setdefault(_pixels(image), path.name)
        if first != path.name:
            self.refused.append(FileNote(path.name, f"the same picture as {first}"))
            return
        caption, source = self._caption(path)
        self.pictures.append(
            Picture(path, image, caption or None, mask, self._defaults, source)
        )

    def _image(self, path: Path) -> Image.Image:
        image = open_picture(path)
        if min(image.size) < self._min_side:
            raise DataError(
                f"{image.width}x{image.height} pixels; at least {self._min_side} are "
                "needed on the short side. Remove it, or pass --min-side"
            )
        other = self._namesake(path)
        if other is not None and looks_like_mask(image):
            raise DataError(
                f"black and white, and named after {other.name}; if it is its mask, "
                f"name it {other.stem}.mask{path.suffix}, else rename it"
            )
        return image

    def _namesake(self, path: Path) -> Path | None:
        """Another picture whose name this one's begins with: `a.jpg` of `a_seg.png`."""
        stem = path.stem.lower()
        for other in self._listing.pictures:
            own = other.stem.lower()
            rest = stem.removeprefix(own)
            if other != path and stem.startswith(own) and not rest[:1].isalnum():
                return other
        return None

    def _mask(self, path: Path, image: Image.Image) -> Image.Image | None:
        file = self._listing.masks.get(path)
        if file is None:
            return None
        try:
            mask = read_mask(file)
            height, width = mask.shape
            if (width, height) != image.size:
                raise DataError(
                    f"{width}x{height} pixels, its picture has "
                    f"{image.width}x{image.height}"
                )
            note = check_share(mask)
        except DataError as error:
            raise DataError(f"its mask {file.name}: {error}") from error
        if note is not None:
            self.remarks.append(FileNote(file.name, note))
        return Image.fromarray((mask * 255).round().astype(np.uint8))

    def _caption(self, path: Path) -> tuple[str | None, str | None]:
        """The picture's own caption, and the name of the file that holds it."""
        file = self._listing.captions.get(path)
        if file is None:
            return self._table.get(path.name.lower(), (None, None))
        try:
            return read_caption(file), file.name
        except DataError as error:
            without = f"{error}; {path.name} is used without it"
            self.remarks.append(FileNote(file.name, without))
            return None, None

    def _read_tables(self) -> dict[str, tuple[str, str]]:
        """Picture's name in lower case -> caption, and the table that holds it."""
        captions: dict[str, tuple[str, str]] = {}
        names = {path.name.lower() for path in self._listing.pictures}
        for table in self._listing.tables:
            try:
                rows = read_table(table)
            except DataError as error:
                without = f"{error}; pictures are used without its captions"
                self.remarks.append(FileNote(table.name, without))
                continue
            missing = [name for name in rows if name.lower() not in names]
            if missing:
                lost = f"{len(missing)} of its pictures are not here, as {missing[0]}"
                self.remarks.append(FileNote(table.name, lost))
            captions |= {k.lower(): (text, table.name) for k, text in rows.items()}
        return captions


def _about_folder(path: Path) -> FileNote:
    try:
        count = len(list_folder(path).pictures)
    except OSError:
        count = 0
    if not count:
        return FileNote(f"{path.name}/", "a sub-folder, not read")
    many = "1 picture" if count == 1 else f"{count} pictures"
    return FileNote(
        f"{path.name}/",
        f"a sub-folder of {many}, not read; to tune on it pass it as --data, and "
        f"{tune_options(path.name)}",
    )


def _pixels(image: Image.Image) -> str:
    """What two pictures with equal pixels share."""
    return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()


def _some(names: Sequence[str]) -> str:
    """`a.png, b.png and 7 more`."""
    shown = ", ".join(names[:_NAMES_TOLD])
    rest = len(names) - _NAMES_TOLD
    return f"{shown} and {rest} more" if rest > 0 else shown
