"""Files of releases and concepts as a model that a base can be given.

What is read here is what the file says; who signed it is checked elsewhere.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from mos_model.concepts.applying import added_up
from mos_model.concepts.concept import Concept, FusedModel
from mos_model.errors import ConceptError
from mos_runtime.files import read_whole

_MAX_BYTES: Final = 4 * 2**30

T = TypeVar("T")


def model_bytes(path: Path) -> bytes:
    """A release's or a concept's file.

    Raises:
        StorageError: it is missing, too large, or cannot be read.
    """
    return read_whole(path, what="a model", max_bytes=_MAX_BYTES)


def release_of(path: Path, content: bytes) -> FusedModel:
    """A release's model.

    Args:
        path: What error messages call it.
        content: The file.

    Raises:
        ConceptError: it is no release's file.
    """
    return _opened(FusedModel.from_bytes, path, content)


def concepts_of(contents: Sequence[tuple[Path, bytes]]) -> FusedModel:
    """Concepts by their files, added up without fusion (see `added_up`).

    Raises:
        ConceptError: one is no concept's file, or they do not go together.
        BaseMismatchError: they were made for different bases.
    """
    return added_up([_opened(Concept.from_bytes, *each) for each in contents])


def _opened(reader: Callable[[bytes], T], path: Path, content: bytes) -> T:
    try:
        return reader(content)
    except ConceptError as error:
        raise ConceptError(f"{path}: {error}") from error
