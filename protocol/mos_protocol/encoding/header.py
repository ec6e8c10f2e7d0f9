"""The header of a safetensors file, read by rules stricter than the format's own.

    u64 little-endian, length of the header | header, JSON | the tensors' bytes

Every byte of the file belongs to the header or to exactly one tensor: no gap, no
overlap, nothing behind the end. Metadata is one key, `mos`, itself JSON with sorted
keys and no spaces. The header is, to the byte, the one that safetensors' own writer
makes for these tensors: blanks, the order of keys and tensors, escapes carry nothing.
Nothing here touches a tensor's values.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mos_protocol.errors import MalformedError

MAX_HEADER_BYTES: Final = 4 * 2**20
"""An SDXL release of 14 concepts has some 0.5 MB."""

ITEM_BYTES: Final[Mapping[str, int]] = {"F32": 4, "BF16": 2, "F16": 2}
"""The dtypes that a payload may hold, safetensors' names -> bytes of one value; in the
order in which their tensors lie in a file."""

_ALIGNMENT: Final = 8
"""Bytes; blanks fill the header up to a multiple of it."""

_MAX_NAME_CHARACTERS: Final = 256
_MAX_DIMENSIONS: Final = 8
_MAX_LEVELS: Final = 3
"""Of objects and lists within each other; more cannot even be printed safely."""

_END_OF_NATURALS: Final = 2**128
"""JSON's integers have no end, but printing one of 4,301 digits raises."""


@dataclass(frozen=True)
class TensorSpan:
    """One tensor as the header describes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    """Offset of its first byte in the file."""

    end: int
    """Offset behind its last byte."""


@dataclass(frozen=True)
class Header:
    """The header of one payload."""

    mos: Mapping[str, Any]
    """What the payload says of itself: the JSON object under the key `mos`."""

    spans: tuple[TensorSpan, ...]
    """Every tensor, ascending by name."""


def read_header(payload: bytes) -> Header:
    """The header of a safetensors file.

    Raises:
        MalformedError: any rule of this module is broken; says which.
    """
    length = int.from_bytes(payload[:8], "little")
    start = 8 + length
    if len(payload) < 8 or length > MAX_HEADER_BYTES or start > len(payload):
        raise MalformedError(
            f"not safetensors: the header claims {length} bytes of {len(payload)}"
        )
    try:
        text = payload[8:start].decode()
    except UnicodeDecodeError as error:
        raise MalformedError("not safetensors: the header is not UTF-8") from error
    header = _object(text, "header")
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or list(metadata) != ["mos"]:
        raise MalformedError("the header's metadata is not the one key `mos`")
    if not isinstance(metadata["mos"], str):
        raise MalformedError("the header's `mos` is not text")
    spans = [_span(name, entry, start) for name, entry in header.items()]
    _check_tiling(spans, start, len(payload))
    by_name = sorted(spans, key=lambda span: span.name)
    mos = _object(metadata["mos"], "`mos` key")
    if json.dumps(mos, sort_keys=True, separators=(",", ":")) != metadata["mos"]:
        raise MalformedError("the `mos` key is not in its one canonical form")
    if payload[8:start] != _canonical(metadata["mos"], by_name):
        raise MalformedError(
            "the header is not in its one canonical form; save the file anew with "
            "safetensors"
        )
    return Header(mos, tuple(by_name))


def _canonical(mos: str, spans: list[TensorSpan]) -> bytes:
    """The header as safetensors writes it; `spans` ascend by name."""
    header: dict[str, Any] = {"__metadata__": {"mos": mos}}
    dtypes, position = list(ITEM_BYTES), 0
    for span in sorted(spans, key=lambda span: dtypes.index(span.dtype)):
        end = position + span.end - span.begin
        header[span.name] = {
            "dtype": span.dtype,
            "shape": span.shape,
            "data_offsets": (position, end),
        }
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return text + b" " * (-len(text) % _ALIGNMENT)


def _object(text: str, what: str) -> dict[str, Any]:
    """A JSON object in which no key stands twice."""
    try:
        found = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"the {what} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise MalformedError(f"the {what} is not a JSON object")
    if not _is_shallow(found, _MAX_LEVELS):
        raise MalformedError(f"the {what} has more than {_MAX_LEVELS} levels")
    return found


def _is_shallow(value: dict[str, Any] | list[Any], levels: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(
        _is_shallow(one, levels - 1) for one in inside if isinstance(one, dict | list)
    )


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands in it twice")
    return found


def _span(name: str, entry: object, start: int) -> TensorSpan:
    if not name.isprintable() or not 0 < len(name) <= _MAX_NAME_CHARACTERS:
        raise MalformedError(f"tensor name {name[:80]!r} is not a plain name")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise MalformedError(f"{name}: an entry has dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise MalformedError(f"{name}: dtype {dtype!r:.20}; known are F32, F16, BF16")
    if not _is_naturals(shape) or len(shape) > _MAX_DIMENSIONS or 0 in shape:
        raise MalformedError(f"{name}: the shape is not a list of positive integers")
    if not _is_naturals(offsets) or len(offsets) != 2:
        raise MalformedError(f"{name}: the offsets are not two positions")
    begin, end = offsets
    if end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
        raise MalformedError(f"{name}: the offsets and the shape contradict each other")
    return TensorSpan(name, dtype, tuple(shape), start + begin, start + end)


def _is_naturals(values: object) -> bool:
    # `True` is an int to isinstance.
    return isinstance(values, list) and all(
        type(v) is int and 0 <= v < _END_OF_NATURALS for v in values
    )


def _check_tiling(spans: list[TensorSpan], start: int, size: int) -> None:
    """Refuse tensors that overlap, leave gaps, or do not end where the file does."""
    position = start
    for span in sorted(spans, key=lambda span: span.begin):
        if span.begin != position:
            raise MalformedError(f"{span.name}: a gap or an overlap in front of it")
        position = span.end
    if position != size:
        raise MalformedError(f"the tensors end at byte {position}, the file at {size}")
