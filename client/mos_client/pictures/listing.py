"""What lies in a folder of pictures, and which file goes with which picture.

Names are matched without regard to case. Nothing is opened here.

    a.mask.png, a_mask.png, a-masklabel.png ...   mask of a.jpg, of any picture format
    a.txt, a.jpg.txt, a.caption, a.json           caption of a.jpg
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mos_client.pictures import captions
from mos_client.pictures.concept_file import FILE
from mos_client.pictures.notes import FileNote
from mos_model.images import SUFFIXES

_MASK: Final = re.compile(r"(.+)[._ -]mask(?:s|label)?", re.IGNORECASE)
_OTHER_CAPTIONS: Final = frozenset({".tag", ".tags", ".cap", ".captions", ".csv"})


@dataclass(frozen=True)
class Listing:
    """The files of a folder by their part."""

    pictures: Sequence[Path]
    captions: Mapping[Path, Path]
    """Picture -> the file of its own caption."""

    masks: Mapping[Path, Path]
    """Picture -> the file of its mask."""

    tables: Sequence[Path]
    folders: Sequence[Path]
    unused: Sequence[FileNote]


def list_folder(folder: Path) -> Listing:
    """Sort a folder's files; hidden ones are passed over.

    Args:
        folder: An existing folder.
    """
    entries = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    files: dict[str, list[Path]] = defaultdict(list)
    for path in entries:
        files[_part(path)].append(path)
    owners: dict[str, list[Path]] = defaultdict(list)
    for picture in files["picture"]:
        for key in (picture.stem, picture.name):
            owners[key.lower()].append(picture)
    files["caption"].sort(key=lambda path: captions.SUFFIXES.index(_suffix(path)))
    masks, lost_masks = _assigned(files["mask"], owners, _without_mask)
    texts, lost_texts = _assigned(files["caption"], owners, lambda path: path.stem)
    special = [FileNote(p.name, "not an ordinary file") for p in files["special"]]
    others = [FileNote(p.name, _why_other(p)) for p in files["other"]]
    return Listing(
        files["picture"],
        texts,
        masks,
        files["table"],
        files["folder"],
        (*lost_masks, *lost_texts, *special, *others),
    )


def _part(path: Path) -> str:
    suffix = _suffix(path)
    if path.is_dir():
        return "folder"
    if not path.is_file():
        return "special"
    if path.name.lower() == FILE:
        return "concept"
    if path.name.lower() in captions.TABLES:
        return "table"
    if suffix in SUFFIXES:
        return "mask" if _MASK.fullmatch(path.stem) else "picture"
    return "caption" if suffix in captions.SUFFIXES else "other"


def _assigned(
    files: Sequence[Path],
    owners: Mapping[str, Sequence[Path]],
    owner: Callable[[Path], str],
) -> tuple[dict[Path, Path], list[FileNote]]:
    """Picture -> the first file that names it, and a note on every other file."""
    found: dict[Path, Path] = {}
    unused: list[FileNote] = []
    for path in files:
        key = owner(path)
        known = owners.get(key.lower(), ())
        exact = [p for p in known if key in (p.stem, p.name)] or known
        free = [p for p in exact if p not in found]
        found |= dict.fromkeys(free, path)
        if not known:
            unused.append(FileNote(path.name, _why_alone(path, key)))
        elif not free:
            taken = found[exact[0]].name
            unused.append(FileNote(path.name, f"{taken} is used in its place"))
    return found, unused


def _why_alone(path: Path, owner: str) -> str:
    if _suffix(path) in SUFFIXES:
        return (
            f"named as a mask, and there is no picture {owner}; rename it if it is a "
            "picture itself"
        )
    return f"not a picture, nor the caption of one: there is no picture {owner}"


def _why_other(path: Path) -> str:
    if _suffix(path) in _OTHER_CAPTIONS:
        return f"captions are read from {path.stem}.txt or metadata.jsonl"
    kind = path.suffix or "no suffix"
    return f"not a picture ({kind}); save it as JPEG or PNG if it is one"


def _without_mask(path: Path) -> str:
    match = _MASK.fullmatch(path.stem)
    return match[1] if match else path.stem


def _suffix(path: Path) -> str:
    return path.suffix.lower()
