"""Picture files: what is decoded, and what is said of the rest."""

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from mos_model import images
from mos_model.errors import DataError
from mos_model.images import decode_picture

PIXELS = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3) * 3


def saved(kind: str, *, orientation: int | None = None) -> bytes:
    image, content = Image.fromarray(PIXELS), io.BytesIO()
    exif = image.getexif()
    if orientation is not None:
        exif[0x0112] = orientation
    image.save(content, kind, exif=exif)
    return content.getvalue()


def with_gps(tag: int, kind: int, count: int, values: bytes) -> bytes:
    """A JPEG of orientation 6 with one entry in the GPS part of its EXIF."""
    main = struct.pack("<HHHIHHHHIII", 2, 0x0112, 3, 1, 6, 0, 0x8825, 4, 1, 38, 0)
    gps = struct.pack("<HHHIII", 1, tag, kind, count, 56, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + main + gps + values
    content = io.BytesIO()
    Image.fromarray(PIXELS).save(content, "JPEG", exif=exif)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_turns_the_picture(kind: str, orientation: int) -> None:
    content = saved(kind, orientation=orientation)
    with Image.open(io.BytesIO(content)) as opened:
        expected = ImageOps.exif_transpose(opened)
    np.testing.assert_array_equal(decode_picture(content), expected)


UNWRITABLE = {
    "signed rational below 0": (
        7,
        10,
        3,
        struct.pack("<6i", 2**31 - 1, -1, *[-1, 0] * 2),
    ),
    "not a number": (11, 12, 2, struct.pack("<2d", float("nan"), 1)),
    "text for a number": (7, 2, 1, b"\0" * 8),
    "number for a text": (29, 10, 1, struct.pack("<ii", 1, 1)),
}


@pytest.mark.filterwarnings("ignore:Metadata Warning")
@pytest.mark.parametrize("kind", UNWRITABLE)
def test_exif_that_cannot_be_written_again_turns_the_picture(kind: str) -> None:
    content = with_gps(*UNWRITABLE[kind])
    with (
        Image.open(io.BytesIO(content)) as opened,
        pytest.raises((struct.error, ValueError, TypeError, AttributeError)),
    ):
        ImageOps.exif_transpose(opened)
    assert decode_picture(content).size == (6, 4)


def heif(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1" + brand + b"\0" * 64


FOREIGN = {
    b"": "an empty file",
    heif(b"heic"): "a HEIC picture; `pip install pillow-heif`",
    b"<!DOCTYPE html><title>404": "an HTML page",
    b"version https://git-lfs.github.com/spec/v1\noid": "a Git LFS pointer",
    b"8BPS" + b"\0" * 20: "a Photoshop file",
    b"\xff\x0a" + b"\0" * 20: "a JPEG XL picture",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>": "a vector drawing",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n": "of no known format",
    b"nothing": "of no known format",
}


@pytest.mark.parametrize("content", FOREIGN)
def test_what_is_no_picture_is_named(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError) as told:
        decode_picture(content)
    assert str(told.value).startswith("not a readable picture (")
    assert FOREIGN[content] in str(told.value)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read() -> None:
    assert decode_picture(saved("AVIF")).size == (4, 6)


def test_avif_without_a_reader_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Image.init()
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    with pytest.raises(DataError, match=r"an AVIF picture; install Pillow 11\.3"):
        decode_picture(heif(b"avif"))


def test_whatever_a_decoder_raises_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise IndexError("first\x1b[2J\nsecond")

    monkeypatch.setattr(Image, "open", broken)
    with pytest.raises(DataError, match=r"not a readable picture \(first\[2J\)"):
        decode_picture(b"anything")


def test_missing_file_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        decode_picture(tmp_path / "none.png")


def test_larger_file_than_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_PICTURE_BYTES", 2**20)
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(2**20 + 1)
    with pytest.raises(DataError, match="larger than 1 MiB"):
        decode_picture(tmp_path / "a.png")


@pytest.mark.parametrize("orientation", [1, 6])
def test_heic_is_read_and_turned_once(orientation: int) -> None:
    heif_reader = pytest.importorskip(
        "pillow_heif", reason="the extra `heif` (pillow-heif) is not installed"
    )
    heif_reader.register_heif_opener()
    shade = Image.linear_gradient("L").resize((64, 32)).convert("RGB")
    content, exif = io.BytesIO(), shade.getexif()
    exif[0x0112] = orientation
    # From bytes, the orientation is written as phones do: a property of the file.
    shade.save(content, "HEIF", exif=exif.tobytes(), quality=90)
    decoded = decode_picture(content.getvalue())
    turned = ImageOps.exif_transpose(with_exif(shade, exif))
    assert decoded.size == turned.size
    apart = np.abs(np.asarray(decoded, float) - np.asarray(turned, float))
    assert apart.mean() < 4


def with_exif(image: Image.Image, exif: Image.Exif) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "PNG", exif=exif)
    return Image.open(content)
