"""How a bundle or a release is changed by somebody who knows the formats.

Every mutation takes a random source and gives a blob. Those of `UNSIGNED` change what
was signed and sign nothing; those of `SIGNED` sign what they made with the key of an
enrolled site, or of the centre, so that it reaches the rules behind the signature.
"""

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mos_protocol import Bundle, MalformedError, Release, SigningKey, seal
from mos_protocol.encoding.canonical import sha256
from mos_protocol.encoding.header import read_header
from mos_protocol.encoding.tensors import read_table, to_entries
from mos_protocol.manifest_pb2 import BundleManifest, Envelope, ReleaseManifest
from mos_protocol.signed.blob import BUNDLE_MAGIC, RELEASE_MAGIC, join
from mos_protocol.signed.envelope import BUNDLE_TYPE, RELEASE_TYPE, REQUEST_TYPE

NUMBERS: Final = (
    *(0, 1, -1, 2, 3, 4, 7, 127, 128, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32),
    *(2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**4299, -(10**300)),
)
TEXTS: Final = (
    *("", "rex", "bolt", "north", "a" * 300, "\x1b[2J", "../../etc", "a\nb", "\0"),
    *("é", "\ud800", "F32", "F64", "BF16", "I8", "mos-concept/1", "ef" * 32, "<rex>"),
)
FLOATS: Final = (np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e20, 1e-40, 0.0, 12.0)
NEST: Final = 900
"""Levels of an object whose mere printing may exhaust the stack."""

Parcel = TypeVar("Parcel", Bundle, Release)


@dataclass(frozen=True)
class Target(Generic[Parcel]):
    """What is attacked, and with what."""

    honest: Parcel
    other: Parcel
    """Another honest one, to mix with."""

    key: SigningKey
    """Of an enrolled site, or of the centre."""

    stranger: SigningKey

    @property
    def magic(self) -> bytes:
        return BUNDLE_MAGIC if isinstance(self.honest, Bundle) else RELEASE_MAGIC

    @property
    def kind(self) -> str:
        return BUNDLE_TYPE if isinstance(self.honest, Bundle) else RELEASE_TYPE

    @property
    def manifest(self) -> BundleManifest | ReleaseManifest:
        """A copy of the honest manifest."""
        whole = isinstance(self.honest, Bundle)
        found = BundleManifest() if whole else ReleaseManifest()
        found.ParseFromString(self.honest.sealed().payload)
        return found

    def sealed(self, manifest: bytes, payload: bytes, key: SigningKey) -> bytes:
        return join(self.magic, seal(manifest, self.kind, key), payload)


Mutation = Callable[[random.Random, Target[Any]], bytes]


def changed_bytes(source: random.Random, content: bytes) -> bytes:
    """Flips, cuts, repeats, insertions and swaps."""
    found = bytearray(content)
    for _ in range(source.choice((1, 1, 1, 2, 4, 16))):
        start = source.randrange(len(found) + 1)
        end = min(len(found), start + source.choice((1, 1, 2, 4, 8, 64, 4096)))
        match source.randrange(6):
            case 0 if start < len(found):
                found[start] ^= 1 << source.randrange(8)
            case 1 if start < len(found):
                found[start] = source.choice((0, 1, 0x7F, 0x80, 0xFF, ord('"')))
            case 2:
                del found[start:end]
            case 3:
                found[start:start] = found[start:end]
            case 4:
                found[start:start] = source.randbytes(source.choice((1, 4, 32)))
            case _:
                found = found[:start] if source.random() < 0.3 else found
    return bytes(found)


def any_bytes(source: random.Random, target: Target[Any]) -> bytes:
    """The whole blob, changed anywhere."""
    content: bytes = target.honest.to_bytes()
    return changed_bytes(source, content)


def spliced(source: random.Random, target: Target[Any]) -> bytes:
    """The front of one honest blob, the back of another."""
    one: bytes = target.honest.to_bytes()
    two: bytes = target.other.to_bytes()
    return one[: source.randrange(len(one))] + two[source.randrange(len(two)) :]


def mixed(source: random.Random, target: Target[Any]) -> bytes:
    """Envelope and payload of different parcels, perhaps changed as well."""
    one, two = target.honest, target.other
    payload = source.choice((two.payload, changed_bytes(source, one.payload)))
    return join(target.magic, one.envelope, payload)


def length_lies(source: random.Random, target: Target[Any]) -> bytes:
    """Another length of the envelope, or another magic."""
    content: bytes = target.honest.to_bytes()
    magic = source.choice((BUNDLE_MAGIC, RELEASE_MAGIC, b"MOSB2\n", target.magic))
    length = source.choice((0, 1, len(target.honest.envelope) + 1, 2**31, 2**32 - 1))
    start = len(target.magic) + 4
    return magic + struct.pack("<I", length) + content[start:]


def envelope_fields(source: random.Random, target: Target[Any]) -> bytes:
    """The envelope's own fields, under the old signature."""
    envelope = Envelope()
    envelope.ParseFromString(target.honest.envelope)
    match source.randrange(5):
        case 0:
            envelope.payload_type = source.choice((BUNDLE_TYPE, REQUEST_TYPE, ""))
        case 1:
            envelope.payload = changed_bytes(source, envelope.payload)
        case 2:
            envelope.key_id = source.choice(
                (target.stranger.public.key_id, "", "0" * 64, "g" * 64)
            )
        case 3:
            envelope.signature = changed_bytes(source, envelope.signature)
        case _:
            envelope.payload = target.other.sealed().payload
    content = envelope.SerializeToString(deterministic=True)
    if source.random() < 0.3:
        content += source.choice((b"\x7a\x01x", content, b"\x28\x01"))
    return join(target.magic, content, target.honest.payload)


def strangers(source: random.Random, target: Target[Any]) -> bytes:
    """An honest or a changed manifest that a stranger signs."""
    manifest = target.manifest
    if source.random() < 0.5:
        change_fields(source, manifest)
    raw = manifest.SerializeToString(deterministic=True)
    content = target.sealed(raw, target.honest.payload, target.stranger)
    known = target.key.public.key_id.encode()
    if source.random() < 0.5:
        content = content.replace(target.stranger.public.key_id.encode(), known)
    return content


def manifest_fields(source: random.Random, target: Target[Any]) -> bytes:
    """A manifest with other fields, rightly signed."""
    manifest = target.manifest
    for _ in range(source.choice((1, 1, 2, 3))):
        change_fields(source, manifest)
    raw = manifest.SerializeToString(deterministic=True)
    if source.random() < 0.1:
        raw += source.choice((b"\x7a\x01x", raw, b"\x08\x01"))
    return target.sealed(raw, target.honest.payload, target.key)


def manifest_bytes(source: random.Random, target: Target[Any]) -> bytes:
    """A manifest of changed bytes, rightly signed."""
    raw = changed_bytes(source, target.honest.sealed().payload)
    return target.sealed(raw, target.honest.payload, target.key)


def payload_bytes(source: random.Random, target: Target[Any]) -> bytes:
    """A payload of changed bytes, rightly signed as far as it can be read."""
    return resigned(target, changed_bytes(source, target.honest.payload))


def header_values(source: random.Random, target: Target[Any]) -> bytes:
    """A safetensors header with other values, rightly signed."""
    payload = target.honest.payload
    length = int.from_bytes(payload[:8], "little")
    header = json.loads(payload[8 : 8 + length])
    if source.random() < 0.5:
        mos = json.loads(header["__metadata__"]["mos"])
        change_tree(source, mos)
        header["__metadata__"]["mos"] = json.dumps(
            mos, sort_keys=True, separators=(",", ":")
        )
    else:
        change_tree(source, header)
    text = json.dumps(header, separators=(",", ":")).encode()
    return resigned(target, with_header(payload, text))


def header_text(source: random.Random, target: Target[Any]) -> bytes:
    """A safetensors header of changed bytes, its length set right, rightly signed."""
    payload = target.honest.payload
    length = int.from_bytes(payload[:8], "little")
    text = changed_bytes(source, payload[8 : 8 + length])
    return resigned(target, with_header(payload, text))


def nested(source: random.Random, target: Target[Any]) -> bytes:
    """A header, or its `mos` key, with a value of very many levels, rightly signed."""
    depth = source.choice((10, 500, NEST, 980, 5000))
    deep = source.choice(("[", '{"a":')) * depth
    deep += "1" + ("]" if deep[0] == "[" else "}") * depth
    payload = target.honest.payload
    length = int.from_bytes(payload[:8], "little")
    text = payload[8 : 8 + length].decode()
    header = json.loads(text)
    if source.random() < 0.7:
        mos = json.loads(header["__metadata__"]["mos"])
        mos[source.choice(sorted(mos))] = "@deep@"
        said = json.dumps(mos, sort_keys=True, separators=(",", ":"))
        header["__metadata__"]["mos"] = said.replace('"@deep@"', deep)
        text = json.dumps(header, separators=(",", ":"))
    else:
        name = source.choice([name for name in header if name != "__metadata__"])
        header[name][source.choice(("dtype", "shape", "data_offsets"))] = "@deep@"
        text = json.dumps(header, separators=(",", ":")).replace('"@deep@"', deep)
    return resigned(target, with_header(payload, text.encode()))


def tensor_values(source: random.Random, target: Target[Any]) -> bytes:
    """Other values in the tensors, rightly signed."""
    payload = bytearray(target.honest.payload)
    spans = read_header(target.honest.payload).spans
    for span in source.sample(spans, source.choice((1, 1, 2, len(spans)))):
        value = np.float32(source.choice(FLOATS)).tobytes()
        if source.random() < 0.5:
            at = source.randrange(span.begin, span.end, 4)
            payload[at : at + 4] = value
        else:
            payload[span.begin : span.end] = value * ((span.end - span.begin) // 4)
    return resigned(target, bytes(payload))


UNSIGNED: Final[tuple[Mutation, ...]] = (
    *(any_bytes, spliced, mixed, length_lies, envelope_fields, strangers),
)
SIGNED: Final[tuple[Mutation, ...]] = (
    *(manifest_fields, manifest_fields, manifest_bytes, payload_bytes),
    *(header_values, header_values, header_text, nested, tensor_values),
)


def with_header(payload: bytes, text: bytes) -> bytes:
    """A safetensors file with another header in front of the same tensors."""
    length = int.from_bytes(payload[:8], "little")
    return len(text).to_bytes(8, "little") + text + payload[8 + length :]


def resigned(target: Target[Any], payload: bytes) -> bytes:
    """Sign a payload by a manifest that agrees with it as far as it can be read."""
    manifest = target.manifest
    manifest.payload_sha256 = bytes.fromhex(sha256(payload))
    manifest.payload_bytes = len(payload)
    try:
        entries = to_entries(read_table(payload))
        del manifest.tensors[:]
        manifest.tensors.extend(entries)
    except (MalformedError, ValueError, RecursionError):
        pass  # what the rules make of it is what is tested
    raw = manifest.SerializeToString(deterministic=True)
    return target.sealed(raw, payload, target.key)


def change_fields(source: random.Random, message: Message) -> None:
    """Change one field of a protobuf message, or of a message within it."""
    field: Any = source.choice(list(message.DESCRIPTOR.fields))
    if field.is_repeated:
        _change_repeated(source, getattr(message, field.name), field)
        return
    value = _value(source, field)
    try:
        setattr(message, field.name, value)
    except (ValueError, TypeError):
        message.ClearField(field.name)


def _change_repeated(source: random.Random, entries: Any, field: Any) -> None:
    place = source.randrange(len(entries)) if entries else 0
    match source.randrange(5):
        case 0 if entries:
            del entries[place]
        case 1 if entries:
            entries.append(entries[place])
        case 2 if entries:
            kept = list(entries)
            source.shuffle(kept)
            del entries[:]
            entries.extend(kept)
        case 3:
            del entries[:]
        case _ if entries and field.message_type is not None:
            change_fields(source, entries[place])
        case _ if field.message_type is None:
            entries.append(source.choice([n for n in NUMBERS if 0 <= n < 2**64]))
        case _:
            entries.add()


def _value(source: random.Random, field: Any) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return source.randbytes(source.choice((0, 1, 31, 32, 33)))
        return source.choice(TEXTS)
    return source.choice(NUMBERS)


def change_tree(source: random.Random, tree: dict[str, Any]) -> None:
    """Change one place of a JSON object, at any depth."""
    node: Any = tree
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = source.choice(keys)
        inner = isinstance(node[key], dict | list)
        if inner and source.random() < 0.8:
            node = node[key]
            continue
        match source.randrange(4):
            case 0:
                del node[key]
            case 1 if isinstance(node, dict):
                node[source.choice((*TEXTS, "zz"))] = node[key]
            case _:
                node[key] = _json_value(source)
        return


def _json_value(source: random.Random) -> Any:
    return source.choice(
        (
            *(None, True, False, [], {}, [[]], {"a": {}}, 1.5, float("nan"), 1e308),
            *(source.choice(NUMBERS), source.choice(TEXTS), [source.choice(NUMBERS)]),
        )
    )
