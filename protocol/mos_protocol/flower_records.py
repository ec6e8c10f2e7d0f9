"""Our messages in Flower's records: one signed envelope, and at most one blob.

A blob rides as ONE array of bytes. One array per tensor is ten times slower: Flower
sends each as several objects of its own.

This module imports Flower, and only Flower's public `flwr.app`.
"""

from typing import Final

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from mos_protocol.errors import MalformedError
from mos_protocol.messages import BLOB_KEY, ENVELOPE_KEY

_DTYPE: Final = "uint8"
_FORM: Final = "safetensors"


def to_records(envelope: bytes, blob: bytes | None = None) -> RecordDict:
    """The content of a Flower message.

    Args:
        envelope: Of a call or an answer.
        blob: A bundle or a release.
    """
    content = RecordDict()
    content[ENVELOPE_KEY] = ConfigRecord({ENVELOPE_KEY: envelope})
    if blob is not None:
        array = Array(_DTYPE, (len(blob),), _FORM, blob)
        content[BLOB_KEY] = ArrayRecord({BLOB_KEY: array})
    return content


def envelope_of(content: RecordDict) -> bytes:
    """The envelope in a message's content, not verified.

    Raises:
        MalformedError: it holds none.
    """
    record = content.get(ENVELOPE_KEY)
    found = record.get(ENVELOPE_KEY) if isinstance(record, ConfigRecord) else None
    if not isinstance(found, bytes):
        raise MalformedError("the message holds no envelope")
    return found


def blob_of(content: RecordDict) -> bytes | None:
    """The blob in a message's content, as it came; None where there is none.

    Raises:
        MalformedError: something else stands in its place.
    """
    if BLOB_KEY not in content:
        return None
    record = content[BLOB_KEY]
    if not isinstance(record, ArrayRecord) or list(record) != [BLOB_KEY]:
        raise MalformedError("the message holds no blob")
    return bytes(record[BLOB_KEY].data)
