"""Masks as people save them: what is inside."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mos_model.errors import DataError
from mos_model.masks import looks_like_mask, read_mask

INSIDE = np.zeros((8, 12), bool)
INSIDE[2:6, 3:9] = True


def saved(image: Image.Image, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


def grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values)


def palette(inside: tuple[int, int, int], *, labels: int = 2) -> Image.Image:
    image = grey(INSIDE.astype(np.uint8))
    image.putpixel((0, 0), labels - 1)
    image = image.convert("L")
    image.putpalette([0, 0, 0, *inside, 0, 128, 0])
    if labels == 2:
        image.putpixel((0, 0), 0)
    return image


def cut_out(colour: tuple[int, int, int]) -> Image.Image:
    pixels = np.full((8, 12, 4), (*colour, 0), np.uint8)
    pixels[..., 3] = INSIDE * 255
    return Image.fromarray(pixels)


def painted_beside_nothing() -> Image.Image:
    """White subject on black, transparent around both."""
    pixels = np.zeros((8, 12, 4), np.uint8)
    pixels[INSIDE] = 255
    pixels[:, :11, 3] = 255
    return Image.fromarray(pixels)


KINDS: dict[str, Callable[[], bytes]] = {
    "grey": lambda: saved(grey(INSIDE * np.uint8(255))),
    "one bit": lambda: saved(grey(INSIDE * np.uint8(255)).convert("1")),
    "16 bits": lambda: saved(grey(INSIDE * np.uint16(65535))),
    "16 bits of a TIFF": lambda: saved(grey(INSIDE * np.uint16(65535)), "TIFF"),
    "label 1": lambda: saved(grey(INSIDE * np.uint8(1))),
    "label 15": lambda: saved(grey(INSIDE * np.uint8(15))),
    "label 1 in 16 bits": lambda: saved(grey(INSIDE * np.uint16(1))),
    "palette of greys": lambda: saved(palette((255, 255, 255))),
    "palette of labels": lambda: saved(palette((128, 0, 0))),
    "red on black": lambda: saved(
        Image.merge(
            "RGB", [grey(INSIDE * np.uint8(200))] + 2 * [grey(INSIDE * np.uint8(0))]
        )
    ),
    "cut-out": lambda: saved(cut_out((90, 40, 20))),
    "black cut-out": lambda: saved(cut_out((0, 0, 0))),
    "white on nothing": lambda: saved(cut_out((255, 255, 255))),
    "black and white on nothing": lambda: saved(painted_beside_nothing()),
    "opaque RGBA": lambda: saved(grey(INSIDE * np.uint8(255)).convert("RGBA")),
    "floating point": lambda: saved(grey(INSIDE.astype(np.float32)), "TIFF"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_inside_is_inside_however_it_is_saved(kind: str) -> None:
    mask = read_mask(KINDS[kind]())
    assert mask.dtype == np.float32
    np.testing.assert_array_equal(mask, INSIDE.astype(np.float32))


def test_soft_edges_keep_their_share_in_8_and_16_bits_and_as_fractions() -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    for values, kind in (
        ((ramp * 255).round().astype(np.uint8), "PNG"),
        ((ramp * 65535).round().astype(np.uint16), "PNG"),
        (ramp, "TIFF"),
    ):
        found = read_mask(saved(Image.fromarray(values), kind))
        assert np.abs(found - ramp).max() < 1 / 255


def test_a_half_grey_mask_stays_half_and_a_black_one_black() -> None:
    assert read_mask(saved(Image.new("L", (4, 4), 128))).mean() == pytest.approx(
        0.502, abs=1e-3
    )
    assert not read_mask(saved(Image.new("L", (4, 4)))).any()
    assert not read_mask(saved(Image.new("RGBA", (4, 4)))).any()


def test_orientation_counts(tmp_path: Path) -> None:
    image = Image.new("L", (8, 4))
    image.paste(255, (0, 0, 2, 4))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    mask = read_mask(tmp_path / "a.png")
    assert mask.shape == (8, 4)
    assert mask[:2].all()
    assert not mask[2:].any()


def test_labels_of_several_things_are_refused_with_the_way_out() -> None:
    with pytest.raises(DataError, match="labels of several things; save the one"):
        read_mask(saved(palette((128, 0, 0), labels=3)))


@pytest.mark.parametrize("worst", [np.nan, np.inf, -1.0])
def test_values_that_are_no_share_are_refused(worst: float) -> None:
    values = np.full((4, 4), 0.5, np.float32)
    values[0, 0] = worst
    with pytest.raises(DataError, match="not a mask"):
        read_mask(saved(Image.fromarray(values), "TIFF"))


def test_whatever_a_conversion_raises_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("conversion from X to RGB not supported")

    monkeypatch.setattr(Image.Image, "convert", broken)
    with pytest.raises(DataError, match=r"not a readable picture \(conversion"):
        read_mask(saved(Image.new("L", (4, 4))))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_only_black_and_white_looks_like_a_mask(kind: str) -> None:
    def looks(image: Image.Image) -> bool:
        with Image.open(io.BytesIO(saved(image, kind))) as opened:
            return looks_like_mask(opened)

    large = np.kron(INSIDE * np.uint8(255), np.ones((16, 16), np.uint8))
    assert looks(grey(large))
    assert not looks(grey(np.linspace(0, 255, 4096, dtype=np.uint8).reshape(64, 64)))
    assert not looks(Image.new("L", (8, 8), 255))
    yellow = Image.merge("RGB", [grey(large), grey(large), grey(0 * large)])
    assert not looks(yellow)
