"""Pictures of every kind a photographer brings, and what is said of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mos_client.pictures import read_concept_file, read_folder
from mos_client.pictures.buckets import bucket_for, bucket_sizes, crop_of
from mos_model.errors import DataError
from tests.support.pictures import save_pictures

RED = (250, 10, 10)


def only_pixel(folder: Path) -> tuple[int, int, int]:
    (picture,) = read_folder(folder, min_side=1).pictures
    red, green, blue = np.asarray(picture.image)[4, 4].tolist()
    return red, green, blue


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tiff", "gif"])
def test_every_kind_of_file_keeps_its_colour(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (8, 8), RED).save(tmp_path / f"one.{suffix}")
    assert np.abs(np.subtract(only_pixel(tmp_path), RED)).max() <= 12


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_keep_their_brightness(tmp_path: Path, suffix: str) -> None:
    grey = np.full((8, 8), 40_000, np.uint16)
    Image.fromarray(grey).save(tmp_path / f"one.{suffix}")
    assert only_pixel(tmp_path) == (155, 155, 155)


def test_cmyk_photograph_keeps_its_colour(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "one.jpg")
    assert np.abs(np.subtract(only_pixel(tmp_path), (255, 0, 0))).max() <= 4


def test_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "one.gif", save_all=True, append_images=frames[1:])
    assert only_pixel(tmp_path) == (255, 0, 0)


def test_floating_point_picture_is_named_and_left_out(tmp_path: Path) -> None:
    save_pictures(tmp_path, count=1)
    Image.new("F", (32, 32), 0.5).save(tmp_path / "hdr.tiff")
    folder = read_folder(tmp_path, min_side=1)
    assert len(folder.pictures) == 1
    assert "save it with 8 or 16 bits" in folder.refused[0].reason


def test_equal_pictures_count_once_and_alike_ones_are_named(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    picture = Image.fromarray(ramp).convert("RGB")
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.bmp")
    picture.resize((48, 48)).save(tmp_path / "c.jpg")
    Image.fromarray(ramp.T.copy()).convert("RGB").save(tmp_path / "d.png")
    folder = read_folder(tmp_path, min_side=1)
    names = [each.path.name for each in folder.pictures]
    assert names == ["a.png", "c.jpg", "d.png"]
    assert list(map(str, folder.refused)) == ["b.bmp: the same picture as a.png"]
    alike = "c.jpg: looks like a.png; keep the better one"
    assert list(map(str, folder.remarks)) == [alike]


def test_concept_file_says_name_class_licence_and_captions(tmp_path: Path) -> None:
    save_pictures(tmp_path, count=2)
    (tmp_path / "0.txt").write_text("{} in the snow")
    (tmp_path / "concept.toml").write_text(
        'name = "rex"\nclass_word = "dog"\nlicence = "CC0-1.0"\n'
        'captions = ["a drawing of {}"]\n'
    )
    told = read_concept_file(tmp_path)
    assert (told.name, told.class_word, told.licence) == ("rex", "dog", "CC0-1.0")
    first, second = read_folder(tmp_path, min_side=1).pictures
    assert first.caption == "{} in the snow"
    assert (second.caption, second.defaults) == (None, ("a drawing of {}",))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('klass = "dog"', "unknown key 'klass'"),
        ("name = 3", "name is a text between quotes"),
        ('captions = "a photo"', "captions is a list of texts"),
        ("name = ", "not readable TOML"),
    ],
)
def test_broken_concept_file_is_refused(
    tmp_path: Path, content: str, said: str
) -> None:
    save_pictures(tmp_path, count=1)
    (tmp_path / "concept.toml").write_text(content)
    with pytest.raises(DataError, match=said):
        read_folder(tmp_path, min_side=1)


@pytest.mark.parametrize(("side", "unit"), [(64, 16), (512, 64), (768, 64), (1024, 64)])
def test_every_bucket_fits_the_base(side: int, unit: int) -> None:
    for width, height in bucket_sizes(side, unit):
        assert width % unit == height % unit == 0
        assert width * height <= side * side


@pytest.mark.parametrize("size", [(64, 64), (90, 64), (100, 64), (64, 300), (451, 300)])
def test_no_picture_is_enlarged_where_a_bucket_fits(size: tuple[int, int]) -> None:
    bucket = bucket_for(size, bucket_sizes(64, 16))
    left, top, right, bottom = crop_of(size, bucket).box
    assert (right - left) >= bucket[0]
    assert (bottom - top) >= bucket[1]
    assert (right - left) / (bottom - top) == pytest.approx(bucket[0] / bucket[1])


def test_wide_picture_keeps_its_shape_and_is_not_cut_square() -> None:
    assert bucket_for((4510, 3000), bucket_sizes(512, 64)) == (640, 384)


def test_mirrored_crop_is_told_as_the_mirrored_picture_has_it() -> None:
    crop = crop_of((200, 100), (64, 64), across=0.0, mirrored=True)
    assert crop.time_ids((200, 100)) == (100, 200, 0, 64, 64, 64)
