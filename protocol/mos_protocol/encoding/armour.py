"""Bytes as lines of text that survive a mail or a chat, after RFC 7468.

-----BEGIN MOS WELCOME-----
base64, 64 characters a line
-----END MOS WELCOME-----
"""

import base64
import binascii
import re
import textwrap
from typing import Final

from mos_protocol.errors import MalformedError
from mos_runtime.file_signatures import file_kind

MAX_ARMOURED_BYTES: Final = 256 * 2**10
_LINE_CHARACTERS: Final = 64
_BEGIN: Final = re.compile("-----BEGIN ([A-Z ]{1,40})-----")


def wrap(label: str, content: bytes) -> bytes:
    """Armoured text.

    `unwrap(label, wrap(label, content), what) == content`.
    """
    lines = textwrap.wrap(base64.b64encode(content).decode(), _LINE_CHARACTERS)
    return "\n".join([_begin(label), *lines, _end(label), ""]).encode()


def unwrap(label: str, text: bytes, what: str) -> bytes:
    """The content of armoured text, whatever its line endings and indentation.

    Args:
        label: What stands behind BEGIN and END.
        text: The text; anything in front of BEGIN or behind END is refused.
        what: What it should be, for the message ("a welcome").

    Raises:
        MalformedError: larger than 256 KiB, of another label, or cut short.
    """
    kind = file_kind(text)
    if kind is not None:
        raise MalformedError(f"not {what}, but {kind}; pass the file that was sent")
    if len(text) > MAX_ARMOURED_BYTES:
        raise MalformedError(
            f"not {what}: {len(text)} bytes; at most {MAX_ARMOURED_BYTES} are read"
        )
    try:
        lines = [line.strip() for line in text.decode("ascii").strip().splitlines()]
        other = _BEGIN.fullmatch(lines[0]) if lines else None
        if other is not None and other[1] != label:
            raise MalformedError(
                f"not {what}: its first line says it is a {other[1]}; pass the file "
                f"that begins with {_begin(label)!r}"
            )
        if len(lines) < 2 or lines[0] != _begin(label) or lines[-1] != _end(label):
            raise MalformedError(
                f"not {what}, or not a whole one: it should begin with "
                f"{_begin(label)!r} and end with {_end(label)!r}"
            )
        return base64.b64decode("".join(lines[1:-1]), validate=True)
    except UnicodeDecodeError as error:
        raise MalformedError(f"not {what}: it is not ASCII text") from error
    except binascii.Error as error:
        raise MalformedError(f"not {what}: a line of it is not base64") from error


def _begin(label: str) -> str:
    return f"-----BEGIN {label}-----"


def _end(label: str) -> str:
    return f"-----END {label}-----"
