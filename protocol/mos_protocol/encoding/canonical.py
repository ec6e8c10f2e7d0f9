"""Protobuf messages in their one form, and the checks that every field passes.

Protobuf lets equal messages have many encodings and carries unknown fields along. What
is signed has one encoding: fields in order, none unknown. `parse` refuses any other, so
that no byte of a manifest or an envelope is without meaning.
"""

import hashlib
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from mos_model.concepts.names import CLASS_WORD_RULE, NAME_RULE, is_class_word, is_name
from mos_protocol.errors import MalformedError

SCHEMA: Final = 1
"""The schema of every message that this version writes and reads."""

_DIGEST_BYTES: Final = 32
_HEX_DIGITS: Final = frozenset("0123456789abcdef")

M = TypeVar("M", bound=Message)


def serialise(message: Message) -> bytes:
    """The one encoding of `message`."""
    return message.SerializeToString(deterministic=True)


def parse(kind: type[M], content: bytes, what: str) -> M:
    """The message of `content`; `serialise(parse(kind, content, what)) == content`.

    Args:
        kind: The message's class.
        content: Its one encoding.
        what: What it should be, for the message ("an envelope").

    Raises:
        MalformedError: it does not parse, has another schema, or another encoding.
    """
    message = kind()
    try:
        message.ParseFromString(content)
    except DecodeError as error:
        raise MalformedError(f"not {what}: it does not parse as protobuf") from error
    schema = getattr(message, "schema", SCHEMA)
    if schema != SCHEMA:
        raise MalformedError(
            f"{what} of schema {schema}; this version reads schema {SCHEMA}. Either "
            "a newer version wrote it, or it is something else"
        )
    message.DiscardUnknownFields()
    if serialise(message) != content:
        raise MalformedError(f"not {what}: it is not in its one canonical encoding")
    return message


def sha256(content: bytes | memoryview) -> str:
    """SHA-256 of `content`, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def digest_of(raw: bytes, what: str) -> str:
    """The hexadecimal digits of a raw SHA-256.

    Raises:
        MalformedError: it has not 32 bytes.
    """
    if len(raw) != _DIGEST_BYTES:
        raise MalformedError(
            f"{what}: a SHA-256 has {_DIGEST_BYTES} bytes, not {len(raw)}"
        )
    return raw.hex()


def checked_digits(text: str, what: str) -> str:
    """`text`, where it is 64 lower-case hexadecimal digits.

    Raises:
        MalformedError: it is anything else.
    """
    if len(text) != 2 * _DIGEST_BYTES or not _HEX_DIGITS.issuperset(text):
        raise MalformedError(f"{what} {text[:80]!r}: 64 hexadecimal digits are needed")
    return text


def checked_word(text: str, what: str) -> str:
    """`text`, where it can name a site or a concept.

    Raises:
        MalformedError: it cannot.
    """
    if not is_name(text):
        raise MalformedError(f"{what} name {text[:80]!r}: a name is {NAME_RULE}")
    return text


def checked_class_word(text: str) -> str:
    """`text`, where it can name the class of a concept.

    Raises:
        MalformedError: it cannot.
    """
    if not is_class_word(text):
        raise MalformedError(
            f"class word {text[:80]!a}: a class word is {CLASS_WORD_RULE}"
        )
    return text


def checked_text(text: str, what: str, *, max_characters: int) -> str:
    """`text`, where it is short and shows on a terminal as what it is.

    Raises:
        MalformedError: it is longer, or holds control characters.
    """
    if len(text) > max_characters or not text.isprintable():
        raise MalformedError(
            f"{what} {text[:40]!r}: at most {max_characters} printable characters"
        )
    return text
