"""Our messages in Flower's records: one dictionary, and at most one blob.

A blob rides as ONE array of bytes. One array per tensor is ten times slower: Flower
sends each as several objects of its own.

This module imports Flower, and only Flower's public `flwr.app`.
"""

from typing import Final

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from mos_protocol.errors import MalformedError
from mos_protocol.messages import BLOB_KEY, CONFIG_KEY, PlainDict

_DTYPE: Final = "uint8"
_FORM: Final = "safetensors"


def to_records(
    values: PlainDict | None = None, blob: bytes | None = None
) -> RecordDict:
    """The content of a Flower message.

    Args:
        values: The dictionary of an ask or an answer.
        blob: A bundle or a release.
    """
    content = RecordDict()
    if values is not None:
        content[CONFIG_KEY] = ConfigRecord(dict(values))
    if blob is not None:
        array = Array(_DTYPE, (len(blob),), _FORM, blob)
        content[BLOB_KEY] = ArrayRecord({BLOB_KEY: array})
    return content


def values_of(content: RecordDict) -> PlainDict:
    """The dictionary in a message's content.

    Raises:
        MalformedError: it holds none.
    """
    record = content.get(CONFIG_KEY)
    if not isinstance(record, ConfigRecord):
        raise MalformedError("the message holds no values")
    return dict(record)


def blob_of(content: RecordDict) -> bytes:
    """The blob in a message's content, as it came; nothing in it is checked.

    Raises:
        MalformedError: it holds none.
    """
    record = content.get(BLOB_KEY)
    if not isinstance(record, ArrayRecord) or list(record) != [BLOB_KEY]:
        raise MalformedError("the message holds no blob")
    return bytes(record[BLOB_KEY].data)


def content_bytes(content: RecordDict) -> int:
    """Bytes of all values and blobs in a message's content, keys included."""
    total = 0
    for record in content.values():
        for key, value in record.items():
            total += len(key)
            if isinstance(value, Array):
                total += len(value.data)
            else:
                total += sum(map(_size, value if isinstance(value, list) else [value]))
    return total


def _size(value: object) -> int:
    if isinstance(value, bytes):
        return len(value)
    return len(value.encode()) if isinstance(value, str) else 8
