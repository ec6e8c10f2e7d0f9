"""`concept.toml` in a folder of pictures: name, class and captions of the concept.

    name = "rex"
    class_word = "dog"
    licence = "CC-BY-4.0"
    captions = ["a photo of {}", "{} on a sofa"]

Every key is optional. Options of the command line win over it. Without a name in
either place the concept is called as its folder.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from mos_client.pictures.notes import plain
from mos_model.concepts.names import NAME_RULE, is_name
from mos_model.errors import ConceptError, DataError
from mos_runtime.texts import parse_toml, read_text

FILE: Final = "concept.toml"

_KOHYA: Final = re.compile(r"\d+_(?P<name>\S+)(?: (?P<class_word>.+))?")
"""kohya's folders: `10_rex dog`, repeats, name and class word."""


@dataclass(frozen=True)
class ConceptFile:
    """What the file says; None and empty where it says nothing."""

    name: str | None = None
    class_word: str | None = None
    licence: str | None = None
    captions: tuple[str, ...] = ()
    """Captions of pictures without one; {} or <name> marks the concept."""


@dataclass(frozen=True)
class ConceptName:
    """A concept's name, and where it comes from."""

    name: str
    source: str
    """`--concept`, `concept.toml` or `folder`."""

    def leaving(self) -> str:
        """Under which name the concept is shared, and how to choose another."""
        source = f"the {self.source}'s name" if self.source == "folder" else self.source
        return (
            f"shared as <{self.name}> ({source}): this name leaves with the concept; "
            f"another: --concept NAME, or name in {FILE}"
        )


def read_concept_file(folder: Path) -> ConceptFile:
    """Read a folder's `concept.toml`; a missing one says nothing.

    Raises:
        DataError: no such folder; the file is not readable, not TOML, or has an
            unknown key or a value of another type.
    """
    path = _find(folder)
    if path is None:
        return ConceptFile()
    try:
        found = parse_toml(read_text(path))
    except (OSError, ValueError) as error:
        raise DataError(plain(f"{path.name}: not readable TOML ({error})")) from error
    known = [field.name for field in fields(ConceptFile)]
    for key in found:
        if key not in known:
            raise DataError(
                f"{path.name}: unknown key {key!r:.80}; known: {', '.join(known)}"
            )
    return ConceptFile(
        **{key: _text(found, key) for key in known[:-1] if key in found},
        captions=_captions(found),
    )


def concept_name(
    folder: Path, file: ConceptFile, wanted: str | None = None
) -> ConceptName:
    """The name of a folder's concept, in lower case: the option's, file's or folder's.

    Args:
        folder: The folder of pictures.
        file: Its `concept.toml`.
        wanted: `--concept`.

    Raises:
        ConceptError: it is no name; with one that is near it.
    """
    if wanted:
        name, source = wanted, "--concept"
    elif file.name:
        name, source = file.name, FILE
    else:
        name, source = folder.resolve().name, "folder"
    if is_name(name.lower()):
        return ConceptName(name.lower(), source)
    raise ConceptError(
        f"concept name {name[:80]!r} (from {source}): a name is {NAME_RULE}; "
        f"{tune_options(name)}"
    )


def tune_options(name: str) -> str:
    """How to name a concept after a folder of any name, kohya's `10_rex dog` included.

    Args:
        name: A folder's name, or a name that is refused.
    """
    match = _KOHYA.fullmatch(name)
    own = match["name"] if match else name
    near = re.sub(r"[^a-z0-9_-]+", "-", own.lower()).strip("-_")[:64] or "NAME"
    class_word = match["class_word"] if match else None
    more = f" --class-word {shlex.quote(plain(class_word))}" if class_word else ""
    return f"pass --concept {near}{more}"


def _find(folder: Path) -> Path | None:
    """The folder's `concept.toml`, whatever its case."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; --data takes a folder of pictures")
    entries = sorted(folder.iterdir())
    return next((p for p in entries if p.name.lower() == FILE and p.is_file()), None)


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found[key]
    if not isinstance(value, str) or not plain(value):
        raise DataError(f'{FILE}: {key} is a text between quotes, as {key} = "..."')
    return plain(value)


def _captions(found: Mapping[str, Any]) -> tuple[str, ...]:
    captions = found.get("captions", [])
    texts = isinstance(captions, list) and all(isinstance(c, str) for c in captions)
    if not texts or not all(plain(caption) for caption in captions):
        raise DataError(
            f'{FILE}: captions is a list of texts, as captions = ["a photo of {{}}"]'
        )
    return tuple(plain(caption) for caption in captions)
