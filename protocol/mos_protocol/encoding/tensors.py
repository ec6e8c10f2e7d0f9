"""The tensors of a payload: their digests, and their values for admission.

Values are read only after the digests have been seen to agree with a manifest whose
signature holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from mos_protocol.encoding.canonical import checked_text, digest_of, sha256
from mos_protocol.encoding.header import ITEM_BYTES, TensorSpan, read_header
from mos_protocol.errors import MalformedError
from mos_protocol.manifest_pb2 import TensorEntry

_MAX_NAME_CHARACTERS = 256


@dataclass(frozen=True)
class TensorFacts:
    """One tensor as a manifest names it."""

    name: str
    dtype: str
    """safetensors' name: F32, F16 or BF16."""

    shape: tuple[int, ...]
    sha256: str
    """Of the tensor's bytes as stored, 64 hexadecimal digits."""


def read_table(payload: bytes) -> tuple[TensorFacts, ...]:
    """Every tensor of a safetensors file with its digest, ascending by name.

    Raises:
        MalformedError: the header breaks a rule of `mos_protocol.encoding.header`.
    """
    return table(payload, read_header(payload).spans)


def table(payload: bytes, spans: Iterable[TensorSpan]) -> tuple[TensorFacts, ...]:
    """The tensors in `spans` with their digests, in the order of `spans`."""
    view = memoryview(payload)
    return tuple(
        TensorFacts(
            span.name, span.dtype, span.shape, sha256(view[span.begin : span.end])
        )
        for span in spans
    )


def values(payload: bytes, span: TensorSpan) -> Float32[np.ndarray, "..."]:
    """The values of one tensor as float32; F16 and BF16 convert exactly."""
    raw = memoryview(payload)[span.begin : span.end]
    if span.dtype == "BF16":
        # bfloat16 is the upper half of a float32.
        halves = np.frombuffer(raw, "<u2").astype("<u4") << np.uint32(16)
        return halves.view("<f4").reshape(span.shape)
    stored = np.frombuffer(raw, "<f4" if span.dtype == "F32" else "<f2")
    return stored.astype("<f4").reshape(span.shape)


def to_entries(facts: Iterable[TensorFacts]) -> list[TensorEntry]:
    """The facts as a manifest holds them."""
    return [
        TensorEntry(
            name=one.name,
            dtype=one.dtype,
            shape=one.shape,
            sha256=bytes.fromhex(one.sha256),
        )
        for one in facts
    ]


def from_entries(entries: Iterable[TensorEntry]) -> tuple[TensorFacts, ...]:
    """A manifest's tensors; `from_entries(to_entries(f)) == f`.

    Raises:
        MalformedError: names repeat or do not ascend, a dtype is unknown, or a digest
            is not one.
    """
    facts = tuple(_from_entry(entry) for entry in entries)
    names = [one.name for one in facts]
    if names != sorted(set(names)):
        raise MalformedError("the manifest's tensors do not ascend by name")
    return facts


def _from_entry(entry: TensorEntry) -> TensorFacts:
    name = checked_text(entry.name, "tensor", max_characters=_MAX_NAME_CHARACTERS)
    if entry.dtype not in ITEM_BYTES:
        raise MalformedError(f"{name}: dtype {entry.dtype[:20]!r} is unknown")
    return TensorFacts(
        name, entry.dtype, tuple(entry.shape), digest_of(entry.sha256, name)
    )
