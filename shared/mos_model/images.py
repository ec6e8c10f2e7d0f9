"""Picture files of every kind, decoded.

Whatever a decoder raises ends as one DataError with its reason: decoders of broken
files raise anything. Only formats of pictures are tried, since Pillow also knows some
that start other programs (EPS). Orientation is read from EXIF, which is never written
again: Pillow cannot write all that it reads.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError

from mos_model.errors import DataError

FORMATS: Final = (
    *("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "AVIF", "HEIF"),
    *("JPEG2000", "PPM", "TGA"),
)
SUFFIXES: Final = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff"),
        *(".gif", ".avif", ".heic", ".heif", ".jp2", ".ppm", ".tga"),
    }
)
MAX_PICTURE_BYTES: Final = 512 * 2**20

_ORIENTATION: Final = 0x0112
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_HEAD_BYTES: Final = 512
_HEIF_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
)
_SAVE: Final = "save it as JPEG or PNG"


def decode_picture(source: Path | bytes) -> Image.Image:
    """The first frame of a picture, turned as its EXIF says, in its own mode.

    Raises:
        DataError: "not a readable picture (reason)", without the file's name.
    """
    with decoding():
        content = source if isinstance(source, bytes) else _content(source)
        foreign = _foreign(content[:_HEAD_BYTES])
        if foreign is not None:
            raise DataError(f"not a readable picture ({foreign})")
        with Image.open(io.BytesIO(content), formats=_formats()) as opened:
            opened.load()
            return _turned(opened)


@contextmanager
def decoding() -> Iterator[None]:
    """Whatever is raised inside ends as a DataError: decoders raise anything.

    Warnings, of broken metadata next to readable pixels, are dropped.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataError:
        raise
    except Exception as error:  # struct.error, IndexError, SyntaxError ...
        reason = _reason(error)
        raise DataError(f"not a readable picture ({reason})") from error


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_PICTURE_BYTES + 1)
    if len(content) > MAX_PICTURE_BYTES:
        raise ValueError(f"larger than {MAX_PICTURE_BYTES // 2**20} MiB")
    return content


def _turned(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # broken metadata beside readable pixels
        orientation = None
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image.copy() if turn is None else image.transpose(turn)


def _formats() -> list[str]:
    """Those of `FORMATS` that this Pillow reads; HEIF needs pillow-heif."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _foreign(head: bytes) -> str | None:
    """What a file is, where it is no picture that can be read here."""
    if not head:
        return "an empty file"
    text = head.lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer; fetch the file with `git lfs pull`"
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page; download the picture itself"
    if text.startswith((b"<svg", b"<?xml")):
        return f"a vector drawing; {_SAVE}"
    if head.startswith(b"8BPS"):
        return f"a Photoshop file; {_SAVE}"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return f"a JPEG XL picture; {_SAVE}"
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in (b"avif", b"avis") and "AVIF" not in _formats():
        return f"an AVIF picture; install Pillow 11.3 or newer, or {_SAVE}"
    if brand in _HEIF_BRANDS and not _reads_heif():
        return f"a HEIC picture; `pip install pillow-heif`, or {_SAVE}"
    return None


def _reads_heif() -> bool:
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _reason(error: Exception) -> str:
    """The first line of an error's text, printable, or its kind."""
    if isinstance(error, UnidentifiedImageError):
        return "of no known format"
    text = getattr(error, "strerror", None) or str(error)
    lines = text.splitlines()
    text = "".join(c for c in lines[0] if c.isprintable()) if lines else ""
    return text[:160] or type(error).__name__
