"""The header of a safetensors file on disk, whoever wrote it; no tensor is read.

    u64 little-endian, length of the header | header, JSON | the tensors' bytes

This is the reader of bases, concepts and other tools' files, and takes what the format
allows. What crosses the wire is read by `mos_protocol.encoding.header`, which is
stricter. A file that is something else is named by what it is.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mos_model.errors import TensorFileError
from mos_runtime.file_signatures import HEAD_BYTES, file_kind

_MAX_HEADER_BYTES: Final = 100 * 2**20
"""The format's own limit."""

_LENGTH_BYTES: Final = 8


@dataclass(frozen=True)
class TensorEntry:
    """One tensor as a header describes it."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    """Offset of its first byte in the file."""

    end: int
    """Offset behind its last byte."""


@dataclass(frozen=True)
class FileHeader:
    """The header of a safetensors file."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]
    """The entries of `__metadata__` that are text; empty where it is absent or null."""


def header_of(content: bytes) -> FileHeader:
    """The header of a file in memory.

    Raises:
        TensorFileError: not a whole safetensors file; says what it is.
    """
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    _check_length(length, len(content), content[:HEAD_BYTES])
    text = content[_LENGTH_BYTES : _LENGTH_BYTES + length]
    return _parsed(text, len(content), content[:HEAD_BYTES])


def header_at(path: Path) -> FileHeader:
    """The header of a file on disk; nothing behind it is read.

    Raises:
        TensorFileError: not a whole safetensors file, or not readable; names it.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            size = path.stat().st_size
            length = int.from_bytes(head[:_LENGTH_BYTES], "little")
            _check_length(length, size, head)
            file.seek(_LENGTH_BYTES)
            return _parsed(file.read(length), size, head)
    except OSError as error:
        raise TensorFileError(f"{path}: cannot be read: {error.strerror}") from error
    except TensorFileError as error:
        raise TensorFileError(f"{path}: {error}") from error


def _check_length(length: int, size: int, head: bytes) -> None:
    if not 0 < length <= min(size - _LENGTH_BYTES, _MAX_HEADER_BYTES):
        raise _not_one(head, "its header is longer than the file")


def _parsed(text: bytes, size: int, head: bytes) -> FileHeader:
    start = _LENGTH_BYTES + len(text)
    try:
        table = json.loads(text)
        metadata = table.pop("__metadata__", None)
        tensors = {key: _entry(entry, start, size) for key, entry in table.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _not_one(head, "its header is broken, or the file is cut short") from (
            error
        )
    held = metadata if isinstance(metadata, dict) else {}
    texts = {key: value for key, value in held.items() if isinstance(value, str)}
    return FileHeader(tensors, texts)


def _entry(entry: Any, start: int, size: int) -> TensorEntry:
    shape = entry["shape"]
    begin, end = entry["data_offsets"]
    naturals = (*shape, begin, end)
    if any(type(number) is not int or number < 0 for number in naturals):
        raise ValueError("not a whole number")
    if not begin <= end <= size - start:
        raise ValueError("a tensor ends behind the file")
    return TensorEntry(str(entry["dtype"]), tuple(shape), start + begin, start + end)


def _not_one(head: bytes, reason: str) -> TensorFileError:
    kind = file_kind(head)
    if kind in (None, "a safetensors file"):
        return TensorFileError(f"not a whole safetensors file: {reason}")
    return TensorFileError(f"not a safetensors file but {kind}")
