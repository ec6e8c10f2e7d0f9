"""Folders of pictures: what is taken, what is named and left out."""

from pathlib import Path

import pytest
from PIL import Image

from mos_client.pictures import read_folder
from mos_model.errors import DataError
from tests.support.pictures import save_pictures


def test_unusable_files_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    save_pictures(tmp_path, count=2, side=64)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    (tmp_path / "notes.txt").write_text("shopping list")
    Image.new("RGB", (20, 20)).save(tmp_path / "tiny.png")
    folder = read_folder(tmp_path, min_side=64)
    assert [picture.path.name for picture in folder.pictures] == ["0.png", "1.png"]
    reasons = "\n".join(map(str, folder.refused))
    assert "broken.png: not a readable picture" in reasons
    assert "notes.txt: not a picture" in reasons
    assert "tiny.png: 20x20 pixels; at least 64 are needed" in reasons


def test_folder_without_a_usable_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match=r"no usable picture: broken\.jpg"):
        read_folder(tmp_path, min_side=1)


def test_one_reason_of_many_files_is_told_once(tmp_path: Path) -> None:
    save_pictures(tmp_path, count=12, side=16)
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(b"no" * number)
    (tmp_path / "notes.md").write_text("mine")
    with pytest.raises(DataError) as told:
        read_folder(tmp_path, min_side=64)
    reason = str(told.value).partition("no usable picture: ")[2]
    assert reason.startswith("0.png, 1.png, 10.png and 9 more: 16x16 pixels; at least")
    assert reason.count("16x16 pixels") == 1
    assert reason.endswith("`tune --check --json` lists all")
    assert len(reason) < 500


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no usable picture: it is empty"):
        read_folder(tmp_path, min_side=1)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_folder(tmp_path / "nowhere", min_side=1)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "red")
    exif = image.getexif()
    exif[0x0112] = 6  # turned a quarter clockwise
    image.save(tmp_path / "turned.jpg", exif=exif)
    (picture,) = read_folder(tmp_path, min_side=1).pictures
    assert picture.image.size == (20, 40)


def test_transparent_parts_become_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    (picture,) = read_folder(tmp_path, min_side=1).pictures
    assert picture.image.getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["I;16", "CMYK", "L", "P", "1"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "tif"
    Image.new(mode, (8, 8)).save(tmp_path / f"picture.{suffix}")
    (picture,) = read_folder(tmp_path, min_side=1).pictures
    assert picture.image.mode == "RGB"


def test_caption_and_mask_lie_beside_their_picture(tmp_path: Path) -> None:
    save_pictures(tmp_path, count=1, side=16)
    (tmp_path / "0.txt").write_text("{} in the snow\n")
    Image.new("L", (16, 16), 255).save(tmp_path / "0.mask.png")
    (picture,) = read_folder(tmp_path, min_side=1).pictures
    assert picture.caption == "{} in the snow"
    assert picture.mask is not None


def test_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    save_pictures(tmp_path, count=1, side=16)
    Image.new("L", (8, 8)).save(tmp_path / "0.mask.png")
    with pytest.raises(DataError, match=r"0\.mask\.png: 8x8 pixels"):
        read_folder(tmp_path, min_side=1)
