"""Files known by their first bytes."""

import io

import pytest
from PIL import Image

from mos_runtime.file_signatures import file_kind


def picture(kind: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (2, 2)).save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (picture("PNG"), "a PNG picture"),
        (picture("JPEG"), "a JPEG picture"),
        (picture("WEBP"), "a WebP picture"),
        (picture("GIF"), "a GIF picture"),
        (b"PK\x03\x04rest", "a ZIP archive, as `torch.save` writes too"),
        (b"%PDF-1.7", "a PDF document"),
        (
            b"\n <!DOCTYPE html><html>",
            "an HTML page saved under this name; download the file itself",
        ),
        (b"\x10" + bytes(7) + b'{"a":1}', "a safetensors file"),
        (b"", "an empty file"),
        (b"-----BEGIN MOS WELCOME-----", None),
        (b"plain words", None),
    ],
)
def test_first_bytes_say_what_a_file_is(content: bytes, kind: str | None) -> None:
    assert file_kind(content) == kind
