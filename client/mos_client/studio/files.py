"""What the studio keeps in a site's home, and what of it a page may name.

HOME/studio/
    pictures/ID.png        sampled, each with its record
    layouts/NAME.json      layouts, as `mos-client sample --layout` reads them
    layouts/DIGEST.png     the masks and controls of layouts and pictures
    thumbnails/ID.png      one of each concept
    queue/ID.json          what was ordered and is not finished
    concepts/, tuning/     concepts tuned here, and their pictures

A page names pictures by id and layouts by name; both are matched against a pattern
before they become part of a path.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mos_client.studio.uploads import UploadLimits, checked_upload, decoded
from mos_model.concepts.names import is_name
from mos_model.errors import LayoutError
from mos_model.layouts.layout import Layout
from mos_model.layouts.layout_file import layout_from, parsed_json
from mos_model.sampling.record import PictureRecord, read_record
from mos_runtime.errors import MosError
from mos_runtime.files import read_whole, write_atomically

_ID: Final = re.compile(r"[0-9a-z][0-9a-z-]{0,79}")
_MAX_LAYOUT_BYTES: Final = 2**20


class MissingError(MosError):
    """The page named something that is not here (any more)."""


@dataclass(frozen=True)
class StudioFiles:
    """The folders of one studio."""

    folder: Path

    @property
    def pictures(self) -> Path:
        """Sampled pictures."""
        return self.folder / "pictures"

    @property
    def layouts(self) -> Path:
        """Layouts, and the pictures that they name."""
        return self.folder / "layouts"

    @property
    def thumbnails(self) -> Path:
        """Thumbnails of concepts."""
        return self.folder / "thumbnails"

    @property
    def queue(self) -> Path:
        """Orders that are not finished."""
        return self.folder / "queue"

    @property
    def concepts(self) -> Path:
        """Concepts tuned here."""
        return self.folder / "concepts"

    @property
    def tuning(self) -> Path:
        """The pictures of concepts, a folder each."""
        return self.folder / "tuning"

    def gallery(self) -> list[Path]:
        """All pictures, the newest first."""
        return sorted(self.pictures.glob("[!.]*.png"), reverse=True, key=_age)

    def picture(self, id_: str) -> Path:
        """The file of a picture.

        Raises:
            MissingError: there is none of that id.
        """
        return _existing(self.pictures, id_, "picture")

    def thumbnail(self, id_: str) -> Path:
        """The file of a thumbnail.

        Raises:
            MissingError: there is none of that id.
        """
        return _existing(self.thumbnails, id_, "thumbnail")

    def layout_names(self) -> list[str]:
        """The layouts saved, by name."""
        found = (path.stem for path in self.layouts.glob("*.json"))
        return sorted(name for name in found if is_name(name))

    def layout_path(self, name: str) -> Path:
        """Where a layout of that name is.

        Raises:
            LayoutError: it is no name.
        """
        if not is_name(name):
            raise LayoutError(
                f"layout name {name[:80]!r}: letters a-z, digits, '-' or '_', at most "
                "64, beginning with a letter or digit"
            )
        return self.layouts / f"{name}.json"

    def read_layout(self, name: str, size: tuple[int, int]) -> dict[str, Any]:
        """The JSON of a saved layout, checked.

        Raises:
            MissingError: there is none of that name.
            LayoutError: it is broken.
        """
        path = self.layout_path(name)
        if not path.is_file():
            raise MissingError(f"no layout is named {name}")
        content = read_whole(path, what="a layout", max_bytes=_MAX_LAYOUT_BYTES)
        return self.opened(content, size)

    def opened(self, content: bytes, size: tuple[int, int]) -> dict[str, Any]:
        """The JSON of a layout's file, checked.

        Raises:
            LayoutError: it is none, or names pictures that are not here.
        """
        entries = parsed_json(content)
        made = self.layout(entries, size)
        return {**entries, "width": made.width, "height": made.height}

    def save_layout(self, name: str, entries: Any, size: tuple[int, int]) -> None:
        """Keep a layout as the file that the command line reads.

        Raises:
            LayoutError: it is none, or its name is none.
        """
        path = self.layout_path(name)
        self.layout(entries, size)
        text = json.dumps(entries, indent=2, ensure_ascii=False)
        write_atomically(path, f"{text}\n".encode())

    def layout(self, entries: Any, size: tuple[int, int]) -> Layout:
        """A layout from the page's JSON, whose pictures were uploaded.

        Raises:
            LayoutError: it is none, or names a file that is no upload.
        """
        for kind, key in (("regions", "mask"), ("controls", "image")):
            parts = entries.get(kind, ()) if isinstance(entries, Mapping) else ()
            for part in parts if isinstance(parts, list) else ():
                if isinstance(part, Mapping) and key in part:
                    checked_upload(part[key], self.layouts)
        return layout_from(entries, folder=self.layouts, size=size)

    def record(self, picture: Path | bytes) -> PictureRecord:
        """How a picture was made: one of the gallery, or a file's content.

        Raises:
            LayoutError: it does not say.
        """
        if isinstance(picture, Path):
            return read_record(picture)
        decoded(picture, UploadLimits())
        with tempfile.TemporaryDirectory(prefix="mos-") as folder:
            path = Path(folder) / "picture.png"
            path.write_bytes(picture)
            try:
                return read_record(path)
            except LayoutError as error:
                raise LayoutError(str(error).removeprefix(f"{path}: ")) from error

    def layout_of(self, record: PictureRecord) -> dict[str, Any]:
        """The layout of a picture, as the page has it.

        Raises:
            LayoutError: a mask or a control of it is not here, or it is damaged.
        """
        entries = json.loads(json.dumps(record.layout))
        try:
            for region in entries["regions"]:
                if "mask_sha256" in region:
                    region["mask"] = f"{region.pop('mask_sha256')}.png"
            for control in entries["controls"]:
                control["image"] = f"{control.pop('image_sha256')}.png"
                control.pop("weights_sha256", None)
            self.layout(entries, (entries["width"], entries["height"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise LayoutError("the picture's record is damaged") from error
        return dict(entries)

    def waiting(self) -> dict[str, Any]:
        """Orders that an earlier studio did not finish, by id; broken ones go."""
        found: dict[str, Any] = {}
        for path in sorted(self.queue.glob("*.json")):
            try:
                found[path.stem] = json.loads(path.read_bytes())
            except (OSError, ValueError):
                path.unlink(missing_ok=True)
        return found

    def remember(self, id_: str, order: Mapping[str, Any]) -> None:
        """Keep an order until `forget`."""
        write_atomically(self.queue / f"{id_}.json", json.dumps(order).encode())

    def forget(self, id_: str) -> None:
        """An order is finished."""
        with suppress(OSError):
            (self.queue / f"{id_}.json").unlink(missing_ok=True)


def _existing(folder: Path, id_: str, what: str) -> Path:
    path = folder / f"{id_}.png"
    if not _ID.fullmatch(id_) or not path.is_file():
        raise MissingError(f"no {what} {id_[:80]!r}; it may have been deleted")
    return path


def _age(path: Path) -> tuple[float, str]:
    try:
        return path.stat().st_mtime, path.name
    except OSError:
        return 0.0, path.name
