"""Pictures of every writer, and how chance or malice changes them."""

import io
import random
import struct
import zlib
from typing import Final

from PIL import Image

from tests.fuzz.mutations import NUMBERS, changed_bytes

WRITERS: Final = (
    *("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "TGA", "MPO"),
    *("JPEG2000", "AVIF", "ICO", "PCX", "SGI", "EPS", "PDF", "ICNS", "MSP"),
)
SIDE: Final = 32

_ORIENTATION: Final = 0x0112
_PARTS: Final = (0x8769, 0x8825, 0xA005, 0x014A)
"""EXIF's tags that point to a further table of entries."""

_TAGS: Final = (0x010E, 0x0132, 0x927C, 0x9286, 0x02BC, 0x8773, 0x0111, 0x0144, 7, 29)
_KINDS: Final = (*range(14), 16, 129, 0xFFFF)
_COUNTS: Final = (0, 1, 2, 3, 8, 255, 65_536, 2**28, 2**32 - 1)


def originals() -> list[bytes]:
    """A picture of each writer and mode that this Pillow has."""
    found: list[bytes] = []
    Image.init()
    image = _image()
    exif = image.getexif()
    exif[_ORIENTATION], exif[0x010E] = 6, "a dog"
    exif.get_ifd(0x8825)[7] = (1.5, 2.0, 3.0)
    for kind in (each for each in WRITERS if each in Image.SAVE):
        for mode, extra in (("RGB", {"exif": exif}), ("L", {}), ("P", {}), ("1", {})):
            content = io.BytesIO()
            try:
                image.convert(mode).save(content, kind, **extra)
            except (OSError, ValueError, KeyError):
                continue
            found.append(content.getvalue())
    return found


def mutated(source: random.Random, pictures: list[bytes]) -> bytes:
    """A picture with changed bytes, or with EXIF made up entry by entry."""
    if source.random() < 0.6:
        return changed_bytes(source, source.choice(pictures))
    content = with_exif(source.choice(("JPEG", "PNG", "WEBP")), made_up_exif(source))
    return changed_bytes(source, content) if source.random() < 0.1 else content


def with_exif(kind: str, exif: bytes) -> bytes:
    """A readable picture with these bytes for its EXIF, written without Pillow."""
    file = io.BytesIO()
    _image().save(file, kind, **({"exif": exif} if kind == "WEBP" else {}))
    content = file.getvalue()
    if kind == "JPEG":
        length = struct.pack(">H", len(exif) + 8)
        return content[:2] + b"\xff\xe1" + length + b"Exif\0\0" + exif + content[2:]
    if kind == "PNG":
        end = 8 + 25  # signature, IHDR
        check = struct.pack(">I", zlib.crc32(b"eXIf" + exif))
        chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + check
        return content[:end] + chunk + content[end:]
    return content


def made_up_exif(source: random.Random) -> bytes:
    """Tables of entries of any tag, type, count and place; some point to themselves."""
    order = source.choice("<<>")
    tables = source.choice((1, 2, 3))
    sizes = [source.choice((0, 1, 2, 5, 40)) for _ in range(tables)]
    starts = [8 + sum(6 + 12 * size for size in sizes[:i]) for i in range(tables)]
    end = starts[-1] + 6 + 12 * sizes[-1]
    tail = source.randbytes(source.choice((0, 8, 64)))
    places = (*starts, end, end + len(tail) - 4, *(n % 2**32 for n in NUMBERS))
    content = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    for number, size in enumerate(sizes):
        told = size if source.random() < 0.9 else source.choice((0, 1, 500, 65_535))
        content += struct.pack(order + "H", told)
        for _ in range(size):
            content += _entry(source, order, places)
        following = starts[(number + 1) % tables] if source.random() < 0.3 else 0
        content += struct.pack(order + "I", following)
    return content + tail


def _entry(source: random.Random, order: str, places: tuple[int, ...]) -> bytes:
    kind, count = source.choice(_KINDS), source.choice(_COUNTS)
    match source.randrange(4):
        case 0:
            tag, value = _ORIENTATION, struct.pack(order + "HH", *_shorts(source))
            if source.random() < 0.5:
                kind, count = 3, 1
        case 1:
            tag, kind, count = source.choice(_PARTS), 4, 1
            value = struct.pack(order + "I", source.choice(places))
        case 2:
            tag = source.choice(_TAGS)
            value = struct.pack(order + "I", source.choice(places))
        case _:
            tag, value = source.randrange(65_536), source.randbytes(4)
    return struct.pack(order + "HHI", tag, kind, count) + value


def _shorts(source: random.Random) -> tuple[int, int]:
    return source.choice((*range(10), 65_535)), source.choice((0, 1))


def _image() -> Image.Image:
    return Image.radial_gradient("L").resize((SIDE, SIDE)).convert("RGB")
