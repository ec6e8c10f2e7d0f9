"""What a file is by its first bytes, for whoever passed another than was wanted."""

from typing import Final

HEAD_BYTES: Final = 512
"""As many as are looked at."""

_TEXTS: Final[tuple[tuple[tuple[bytes, ...], str], ...]] = (
    (
        (b"version https://git-lfs",),
        "a Git LFS pointer; fetch the file with `git lfs pull`",
    ),
    ((b"<svg", b"<?xml"), "a vector drawing or XML"),
    (
        (b"<!doctype", b"<html", b"<head"),
        "an HTML page saved under this name; download the file itself",
    ),
    ((b"{", b"["), "JSON text, perhaps a server's answer; download the file itself"),
)
_SIGNATURES: Final[tuple[tuple[tuple[bytes, ...], str], ...]] = (
    ((b"\x89PNG\r\n",), "a PNG picture"),
    ((b"\xff\xd8\xff",), "a JPEG picture"),
    ((b"GIF8",), "a GIF picture"),
    ((b"8BPS",), "a Photoshop file"),
    ((b"\xff\x0a", b"\0\0\0\x0cJXL "), "a JPEG XL picture"),
    ((b"%PDF",), "a PDF document"),
    ((b"PK\x03\x04",), "a ZIP archive, as `torch.save` writes too"),
    (
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "a bare Python pickle, which can run code and is not opened",
    ),
    ((b"GGUF",), "a GGUF file of quantised weights"),
    ((b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!"), "an archive; unpack it first"),
)


def file_kind(content: bytes) -> str | None:
    """What a file's beginning says it is; None if that is nothing known here.

    Args:
        content: The file, or its first `HEAD_BYTES`.
    """
    if not content:
        return "an empty file"
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") < 2**32:
        return "a safetensors file"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "a WebP picture"
    text = content[:HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for head, rules in ((text, _TEXTS), (content, _SIGNATURES)):
        for starts, kind in rules:
            if head.startswith(starts):
                return kind
    return None
