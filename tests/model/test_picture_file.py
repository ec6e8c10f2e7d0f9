"""Picture files: what a format cannot hold is refused beforehand."""

import io
from pathlib import Path

import pytest
from PIL import Image

from mos_model.errors import LayoutError
from mos_model.layouts.picture_file import (
    SUFFIXES,
    check_picture_file,
    picture_bytes,
    text_in,
)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_text_comes_back_from_every_format(suffix: str) -> None:
    text = '{"a": "' + "x" * 60_000 + '"}'
    content = picture_bytes(Image.new("RGB", (16, 8), "red"), suffix, text)
    with Image.open(io.BytesIO(content)) as image:
        assert text_in(image) == text
    with (
        Image.open(io.BytesIO(picture_bytes(Image.new("L", (4, 4)), suffix))) as image,
        pytest.raises(KeyError),
    ):
        text_in(image)


@pytest.mark.parametrize(
    ("name", "size", "text", "reason"),
    [
        ("a.webp", (16384, 8), None, "takes 16383 a side"),
        ("a.JPG", (8, 70000), None, "takes 65500 a side"),
        ("a.jpeg", (8, 8), "x" * 65001, "write a PNG, or pass --no-metadata"),
    ],
)
def test_picture_that_a_format_cannot_hold_is_refused(
    name: str, size: tuple[int, int], text: str | None, reason: str
) -> None:
    with pytest.raises(LayoutError, match=reason):
        check_picture_file(Path(name), size, text)
    check_picture_file(Path("a.png"), size, text)
    check_picture_file(Path("a.webp"), (8, 8), text)
