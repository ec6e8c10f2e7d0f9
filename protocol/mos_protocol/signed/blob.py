"""An envelope and its payload, as one blob on the wire or as two files side by side.

    blob    magic, 6 bytes | u32 little-endian, length of the envelope | envelope
            | payload
    files   NAME.safetensors (payload), NAME.safetensors.sig (envelope)

The payload is a plain safetensors file that other tools open. It is written before its
envelope: after a crash there may be a payload without one, never the reverse.
"""

import struct
from pathlib import Path
from typing import Final

from mos_protocol.errors import MalformedError
from mos_protocol.signed.envelope import MAX_ENVELOPE_BYTES
from mos_runtime.files import read_whole, write_atomically

BUNDLE_MAGIC: Final = b"MOSB1\n"
RELEASE_MAGIC: Final = b"MOSR1\n"
STATEMENT_MAGIC: Final = b"MOSS1\n"

_LENGTH: Final = struct.Struct("<I")


def join(magic: bytes, envelope: bytes, payload: bytes) -> bytes:
    """One blob; `split(join(magic, e, p), magic, ...) == (e, p)`."""
    return b"".join((magic, _LENGTH.pack(len(envelope)), envelope, payload))


def split(
    content: bytes, magic: bytes, *, what: str, max_bytes: int
) -> tuple[bytes, bytes]:
    """Envelope and payload of a blob, neither of them looked into.

    Args:
        content: The blob.
        magic: What it begins with.
        what: What it should be, for the message ("a bundle").
        max_bytes: Size of the largest blob that is taken apart.

    Raises:
        MalformedError: larger, not such a blob, or cut short.
    """
    if len(content) > max_bytes:
        raise MalformedError(
            f"{len(content)} bytes; {what} has at most {max_bytes} bytes"
        )
    start = len(magic) + _LENGTH.size
    if not content.startswith(magic) or len(content) < start:
        raise MalformedError(f"not {what}: it begins otherwise")
    (length,) = _LENGTH.unpack_from(content, len(magic))
    if length > MAX_ENVELOPE_BYTES or start + length > len(content):
        raise MalformedError(f"not {what}: its envelope claims {length} bytes")
    return content[start : start + length], content[start + length :]


def signature_path(path: Path) -> Path:
    """Where the envelope of the payload in `path` lies: `NAME.safetensors.sig`."""
    return path.with_name(f"{path.name}.sig")


def write_pair(path: Path, envelope: bytes, payload: bytes) -> None:
    """Write payload and envelope next to each other, each whole or not at all.

    Raises:
        StorageError: a file cannot be written.
    """
    write_atomically(path, payload)
    write_atomically(signature_path(path), envelope)


def read_pair(path: Path, *, what: str, max_bytes: int) -> tuple[bytes, bytes]:
    """Envelope and payload of the files that `write_pair` wrote.

    Raises:
        StorageError: one of the two is missing, too large, or cannot be read.
    """
    payload = read_whole(path, what=what, max_bytes=max_bytes)
    envelope = read_whole(
        signature_path(path),
        what=f"the signature of {path.name}",
        max_bytes=MAX_ENVELOPE_BYTES,
    )
    return envelope, payload
