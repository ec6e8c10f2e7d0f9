"""The pictures of a concept that is tuned in the studio, as files.

A project is a folder that `mos-client tune --data` reads as well: pictures, `a.txt` and
`a.mask.png` of a picture `a.jpg`, and `concept.toml`. File names come from a page: they
are made safe as they are stored, and looked up in the folder's own listing after that.
"""

import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from PIL import Image

from mos_client.pictures import CONCEPT_FILE
from mos_client.pictures.captions import SUFFIXES as CAPTION_SUFFIXES
from mos_client.pictures.listing import list_folder
from mos_client.pictures.notes import plain
from mos_client.studio.files import MissingError
from mos_client.studio.tuning import TuneOptions
from mos_client.studio.uploads import UploadLimits, decoded
from mos_client.tuning.run import PREVIEWS, Tuned, TuneRequest
from mos_client.tuning.runtime.checkpoint import FILE as CHECKPOINT
from mos_model.concepts.names import NAME_RULE, is_name
from mos_model.errors import DataError
from mos_model.images import SUFFIXES
from mos_model.layouts.picture_file import picture_bytes
from mos_model.masks import mask_of
from mos_runtime.files import read_whole, write_atomically

MOST_PICTURES: Final = 200
_MOST_CAPTION_BYTES: Final = 64 * 2**10
_MOST_CAPTION: Final = 2_000
_GRIDS: Final = 6
_OPTIONS: Final = "options.json"
_RESULT: Final = "result.json"


@dataclass(frozen=True)
class Project:
    """One concept's pictures, and the files of its runs."""

    folder: Path
    """The pictures; its name is the concept's."""

    concept: Path
    """The tuned concept's file."""

    @staticmethod
    def named(name: str, tuning: Path, concepts: Path) -> "Project":
        """The project of a name, whether it is there or not.

        Raises:
            DataError: it is no name.
        """
        if not is_name(name):
            raise DataError(f"concept name {name[:80]!r}: a name is {NAME_RULE}")
        return Project(tuning / name, concepts / f"{name}.safetensors")

    @property
    def name(self) -> str:
        """The concept's name."""
        return self.folder.name

    @property
    def work_dir(self) -> Path:
        """Checkpoint, previews, options and result of its runs."""
        return self.folder.parent / f".{self.name}.tuning"

    @property
    def previews(self) -> Path:
        """Grids of the run, `step-000120.png`."""
        return self.work_dir / PREVIEWS

    @property
    def samples(self) -> Path:
        """Samples of the finished concept, `0.png` and so on."""
        return self.work_dir / "samples"

    @property
    def is_stopped(self) -> bool:
        """Whether a stopped run can be resumed."""
        return (self.work_dir / CHECKPOINT).is_file()

    def require(self) -> "Project":
        """Itself, where it is there.

        Raises:
            MissingError: it is not.
        """
        if not self.folder.is_dir():
            raise MissingError(f"no concept {self.name} is being prepared here")
        return self

    def create(self) -> None:
        """Make its folder.

        Raises:
            DataError: it is there already.
        """
        try:
            self.folder.mkdir(parents=True)
        except FileExistsError as error:
            raise DataError(f"{self.name} is there already; open it, or rename") from (
                error
            )

    def delete(self) -> None:
        """Remove pictures and runs; the tuned concept stays."""
        shutil.rmtree(self.work_dir, ignore_errors=True)
        shutil.rmtree(self.folder)

    def add(self, content: bytes, name: str, limits: UploadLimits) -> str:
        """Keep a picture, a mask or a caption as it is.

        Args:
            content: The file.
            name: What the file was called, from a page.
            limits: Of bytes and pixels.

        Returns:
            What it is called here.

        Raises:
            LayoutError: no picture, or beyond the limits.
            DataError: a caption that is too long, or too many pictures.
        """
        safe = _safe_name(name)
        if safe.suffix in CAPTION_SUFFIXES:
            if len(content) > _MOST_CAPTION_BYTES:
                raise DataError(f"{safe}: a caption has at most 64 KiB")
        else:
            decoded(content, limits)
            if len(list_folder(self.folder).pictures) >= MOST_PICTURES:
                raise DataError(f"{MOST_PICTURES} pictures are enough for a concept")
            if safe.suffix not in SUFFIXES:
                safe = safe.with_name(f"{safe.name}.png")
        path = _free(self.folder / safe.name, content)
        write_atomically(path, content)
        return path.name

    def remove(self, file: str) -> None:
        """Remove a picture with its caption and mask, or any other file.

        Raises:
            MissingError: there is no such file.
        """
        listing = list_folder(self.folder)
        path = self.file(file)
        for own in (listing.captions.get(path), listing.masks.get(path)):
            if own is not None:
                own.unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def file(self, name: str) -> Path:
        """A file of the folder, by its name in the listing.

        Raises:
            MissingError: there is none.
        """
        for path in self.folder.iterdir():
            if path.name == name and path.is_file():
                return path
        raise MissingError(f"{plain(name)[:80]!r}: no such file; reload the page")

    def set_caption(self, picture: str, text: str) -> None:
        """Write a picture's own caption; an empty one is none.

        Raises:
            MissingError: no such picture.
            DataError: it is too long.
        """
        path = self.file(picture)
        if len(text) > _MOST_CAPTION:
            raise DataError(f"a caption has at most {_MOST_CAPTION} characters")
        there = list_folder(self.folder).captions.get(path)
        if there is not None:
            there.unlink(missing_ok=True)
        if plain(text):
            write_atomically(path.with_suffix(".txt"), f"{plain(text)}\n".encode())

    def set_mask(self, picture: str, content: bytes, limits: UploadLimits) -> None:
        """Write a picture's mask, white where the subject is; an empty one is none.

        Raises:
            MissingError: no such picture.
            LayoutError: not a picture.
        """
        path = self.file(picture)
        mask = None
        if content:
            drawn = decoded(content, limits).convert("L")
            size = decoded(read_whole(path, what="a picture"), limits).size
            mask = drawn if drawn.size == size else drawn.resize(size)
        there = list_folder(self.folder).masks.get(path)
        if there is not None:
            there.unlink(missing_ok=True)
        if mask is not None:
            write_atomically(path.with_suffix(".mask.png"), picture_bytes(mask))

    def mask(self, picture: str, limits: UploadLimits) -> Image.Image:
        """A picture's mask as the tuning reads it.

        Raises:
            MissingError: it has none.
        """
        there = list_folder(self.folder).masks.get(self.file(picture))
        if there is None:
            raise MissingError(f"{plain(picture)[:80]!r} has no mask")
        image = decoded(read_whole(there, what="a mask"), limits)
        return Image.fromarray((mask_of(image) * 255).round().astype("uint8"))

    def options(self) -> TuneOptions:
        """How its runs are set."""
        try:
            return TuneOptions.from_json(self._json(_OPTIONS))
        except DataError:
            return TuneOptions()

    def set_options(self, options: TuneOptions) -> None:
        """Keep how its runs are set; `concept.toml` names what the concept is."""
        self._write(_OPTIONS, options.to_json())
        lines = [f"name = {json.dumps(self.name)}"]
        for key in ("class_word", "licence"):
            text = plain(getattr(options, key))
            if text:
                lines.append(f"{key} = {json.dumps(text, ensure_ascii=False)}")
        write_atomically(self.folder / CONCEPT_FILE, "\n".join([*lines, ""]).encode())

    def request(self, *, resume: bool = False) -> TuneRequest:
        """A run of it."""
        options = self.options()
        return TuneRequest(
            self.folder,
            self.concept,
            self.work_dir,
            name=self.name,
            class_word=options.class_word or None,
            licence=options.licence or None,
            settings={key: getattr(options, key) for key in ("steps", "rank", "seed")},
            assignments=options.further,
            resume=resume,
            preview_every=options.preview_every,
            previews=_GRIDS,
        )

    def result(self) -> dict[str, Any] | None:
        """What its last finished run gave."""
        return self._json(_RESULT) or None

    def keep_result(self, result: Tuned) -> None:
        """Keep what a finished run gave, its samples too."""
        for number, image in enumerate(result.samples):
            write_atomically(self.samples / f"{number}.png", picture_bytes(image))
        entries: dict[str, Any] = {
            "class_word": result.class_word,
            "bytes": len(result.content),
            "samples": len(result.samples),
        }
        if (found := result.memorisation) is not None:
            entries["memorisation"] = asdict(found) | {"repeats": found.repeats}
            entries["sentence"] = found.sentence()
        self._write(_RESULT, entries)

    def begin_anew(self) -> None:
        """Forget what an earlier run left."""
        for path in (self.work_dir / CHECKPOINT, self.work_dir / _RESULT):
            path.unlink(missing_ok=True)
        for folder in (self.previews, self.samples):
            shutil.rmtree(folder, ignore_errors=True)

    def preview_steps(self) -> list[int]:
        """The steps that have a grid."""
        found = [
            path.stem.removeprefix("step-") for path in self.previews.glob("*.png")
        ]
        return sorted(int(text) for text in found if text.isdecimal())

    def _json(self, name: str) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            found = json.loads((self.work_dir / name).read_bytes())
            if isinstance(found, dict):
                return found
        return {}

    def _write(self, name: str, entries: Mapping[str, Any]) -> None:
        write_atomically(self.work_dir / name, json.dumps(entries, indent=2).encode())


def projects(tuning: Path, concepts: Path) -> list[Project]:
    """Every project, by name."""
    found = sorted(path.name for path in tuning.glob("*") if path.is_dir())
    return [Project.named(name, tuning, concepts) for name in found if is_name(name)]


def _safe_name(given: str) -> Path:
    """A file's name without anything that a path, a shell or a page could misread."""
    last = PurePosixPath(given.replace("\\", "/")).name
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip(".-")[-80:].lstrip(".-")
    path = Path(safe or "picture")
    return path.with_suffix(path.suffix.lower())


def _free(path: Path, content: bytes) -> Path:
    """The path, or one with a number where another file has it already."""
    number, free = 2, path
    while free.exists() and free.read_bytes() != content:
        free, number = path.with_stem(f"{path.stem}-{number}"), number + 1
    return free
