"""`concept.toml` in a folder of pictures: what its owner says of the concept.

    name = "rex"
    class_word = "dog"
    licence = "CC-BY-4.0"
    captions = ["a photo of {}", "{} on a sofa"]

Every key is optional. Options of the command line win over it.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from mos_model.errors import DataError

FILE: Final = "concept.toml"


@dataclass(frozen=True)
class ConceptFile:
    """What the file says; None and empty where it says nothing."""

    name: str | None = None
    class_word: str | None = None
    licence: str | None = None
    captions: tuple[str, ...] = ()
    """Captions of pictures that bring none; {} or <name> marks the concept."""


def read_concept_file(folder: Path) -> ConceptFile:
    """Read a folder's `concept.toml`; one that is not there says nothing.

    Raises:
        DataError: not readable, not TOML, an unknown key, or a value of another type.
    """
    path = folder / FILE
    if not path.is_file():
        return ConceptFile()
    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name}: not readable TOML ({error})") from error
    known = [field.name for field in fields(ConceptFile)]
    for key in told:
        if key not in known:
            raise DataError(
                f"{path.name}: unknown key {key!r}; it may hold {', '.join(known)}"
            )
    return ConceptFile(
        **{key: _text(told, key) for key in known[:-1] if key in told},
        captions=_captions(told),
    )


def _text(told: Mapping[str, Any], key: str) -> str:
    value = told[key]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f'{FILE}: {key} is a text between quotes, as {key} = "..."')
    return value.strip()


def _captions(told: Mapping[str, Any]) -> tuple[str, ...]:
    captions = told.get("captions", [])
    texts = isinstance(captions, list) and all(isinstance(c, str) for c in captions)
    if not texts or not all(caption.strip() for caption in captions):
        raise DataError(
            f'{FILE}: captions is a list of texts, as captions = ["a photo of {{}}"]'
        )
    return tuple(caption.strip() for caption in captions)
