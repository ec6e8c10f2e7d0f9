"""What a file is by its first bytes, for whoever passed another than was wanted."""

from typing import Final

_SIGNATURES: Final = (
    (b"\x89PNG\r\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a Git LFS pointer (`git lfs pull` fetches the file)"),
)
_PAGES: Final = (b"<!doctype html", b"<html")


def file_kind(content: bytes) -> str | None:
    """What a file's beginning says it is; None if that is nothing known here."""
    for signature, kind in _SIGNATURES:
        if content.startswith(signature):
            return kind
    if content[:8].startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "a WebP picture"
    if content[:256].lstrip().lower().startswith(_PAGES):
        return "an HTML page"
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") < 2**32:
        return "a safetensors file"
    return None
