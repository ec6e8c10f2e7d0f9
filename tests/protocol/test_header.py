"""Files that lie about their own form are refused; honest ones are read exactly."""

import json
import struct
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from mos_protocol import MalformedError, read_table
from mos_protocol.encoding.canonical import sha256
from mos_protocol.encoding.header import read_header
from mos_protocol.encoding.tensors import values

Entries = dict[str, Any]


def honest() -> Entries:
    return {
        "__metadata__": {"mos": '{"a":1}'},
        "one": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "two": {"dtype": "F16", "shape": [4], "data_offsets": [16, 24]},
    }


def file_of(header: object, data: bytes = bytes(24)) -> bytes:
    if not isinstance(header, bytes):
        header = json.dumps(header, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


def refuse(content: bytes, match: str) -> None:
    with pytest.raises(MalformedError, match=match) as refusal:
        read_table(content)
    assert "\n" not in str(refusal.value)


def test_table_names_every_tensor_with_its_digest() -> None:
    tensors = {
        "b": torch.arange(6, dtype=torch.float32).reshape(2, 3),
        "a": torch.ones(3, dtype=torch.bfloat16),
        "c": torch.ones((), dtype=torch.float16),
    }
    table = read_table(save(tensors, metadata={"mos": "{}"}))
    assert [(t.name, t.dtype, t.shape) for t in table] == [
        ("a", "BF16", (3,)),
        ("b", "F32", (2, 3)),
        ("c", "F16", ()),
    ]
    assert table[1].sha256 == sha256(tensors["b"].numpy().tobytes())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_values_are_those_that_were_saved(dtype: torch.dtype) -> None:
    saved = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    saved[0, 0] = torch.finfo(dtype).tiny / 2
    content = save({"a": saved}, metadata={"mos": "{}"})
    found = values(content, read_header(content).spans[0])
    assert found.dtype == np.float32
    assert np.array_equal(found, saved.float().numpy())


def test_honest_header_is_read() -> None:
    assert dict(read_header(file_of(honest())).mos) == {"a": 1}


@pytest.mark.parametrize(
    ("offsets", "match"),
    [
        ([4, 20], "gap or an overlap"),
        ([0, 20], "contradict"),
        ([16, 0], "contradict"),
        ([-16, 0], "not two positions"),
        ([0], "not two positions"),
        ([0, 16, 16], "not two positions"),
        ([0.0, 16.0], "not two positions"),
        ([False, 16], "not two positions"),
        ([2**64, 2**64 + 16], "gap or an overlap"),
        ("0,16", "not two positions"),
    ],
)
def test_header_that_lies_about_offsets_is_refused(offsets: object, match: str) -> None:
    header = honest()
    header["one"]["data_offsets"] = offsets
    refuse(file_of(header), match)


@pytest.mark.parametrize(
    "shape", [[2, 3], [4, -4], [2**40, 2**40], [0], [True, 4], "22", None, [1] * 9]
)
def test_header_that_lies_about_a_shape_is_refused(shape: object) -> None:
    header = honest()
    header["one"]["shape"] = shape
    refuse(file_of(header), "one: ")


@pytest.mark.parametrize("dtype", ["I64", "F64", "BOOL", "f32", "", None, ["F32"]])
def test_dtype_that_no_concept_has_is_refused(dtype: object) -> None:
    header = honest()
    header["one"]["dtype"] = dtype
    refuse(file_of(header), "one: dtype")


def test_overlapping_tensors_are_refused() -> None:
    header = honest()
    header["two"]["data_offsets"] = [8, 16]
    refuse(file_of(header), "gap or an overlap")


def test_bytes_of_no_tensor_are_refused() -> None:
    refuse(file_of(honest(), bytes(25)), "end at byte")
    refuse(file_of(honest(), bytes(23)), "end at byte")


@pytest.mark.parametrize("length", [2**64 - 1, 2**40, 5 * 2**20, 400])
def test_header_that_claims_more_than_there_is_is_refused(length: int) -> None:
    refuse(struct.pack("<Q", length) + bytes(100), "claims")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"a":' * 100_000, "not JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a":1,"a":2}', "twice"),
        (b"{}", "one key `mos`"),
        (b'{"__metadata__":{"mos":"{}","more":"x"}}', "one key `mos`"),
        (b'{"__metadata__":{"mos":1}}', "not text"),
        (b'{"__metadata__":{"mos":"{ }"}}', "canonical"),
        (b'{"__metadata__":{"mos":"[]"}}', "not a JSON object"),
        (b'{"__metadata__":{"mos":"\\ud800"}}', "not JSON"),
        (b'{"__metadata__":{"mos":"{}"},"a\\nb":{}}', "plain name"),
        (b'{"__metadata__":{"mos":"{}"},"":{}}', "plain name"),
        (b'{"__metadata__":{"mos":"{}"},"a":{"dtype":"F32"}}', "an entry has"),
        (b'{"__metadata__":{"mos":"{}"},"a":7}', "an entry has"),
    ],
)
def test_header_that_is_no_header_is_refused(text: bytes, match: str) -> None:
    refuse(file_of(text, b""), match)


def in_order(*names: str) -> Entries:
    """The honest header with its entries in another order."""
    return {name: honest()[name] for name in names}


def swapped() -> Entries:
    """Its tensors the other way round in the file."""
    header = honest()
    header["two"]["data_offsets"], header["one"]["data_offsets"] = [0, 8], [8, 24]
    return header


CANONICAL = json.dumps(honest(), separators=(",", ":")).encode()
FORMS = {
    "a mebibyte of blanks": CANONICAL + b" " * 2**20,
    "no blanks to the eighth byte": CANONICAL + b" " * (-len(CANONICAL) % 8 + 1),
    "blanks within": json.dumps(honest()).encode(),
    "a line's end": CANONICAL[:-1] + b"\n}",
    "an escape": CANONICAL.replace(b'"one"', b'"\\u006fne"'),
    "keys of an entry": CANONICAL.replace(
        b'"dtype":"F16","shape":[4]', b'"shape":[4],"dtype":"F16"'
    ),
    "metadata behind": in_order("one", "two", "__metadata__"),
    "entries": in_order("__metadata__", "two", "one"),
    "tensors": swapped(),
}


@pytest.mark.parametrize("header", FORMS.values(), ids=FORMS)
def test_header_in_another_form_is_refused(header: bytes | Entries) -> None:
    """Each form could carry something out of a site unseen."""
    assert read_table(file_of(honest()))
    refuse(file_of(header), "not in its one canonical form")


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 7, b"\x80\x04K\x01.", b"PK\x03\x04"]
)
def test_other_formats_are_refused(content: bytes) -> None:
    refuse(content, "not safetensors")
