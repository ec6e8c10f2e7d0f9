"""Masks and captions as people name and write them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mos_client.pictures import Folder, scan_folder
from tests.support.pictures import save_pictures


def scanned(folder: Path) -> Folder:
    return scan_folder(folder, min_side=1)


def save_mask(path: Path, *, inside: int = 8, side: int = 32) -> None:
    mask = Image.new("L", (side, side))
    mask.paste(255, (0, 0, inside, inside))
    mask.save(path)


def reasons(folder: Folder) -> str:
    return "\n".join(map(str, (*folder.refused, *folder.remarks)))


@pytest.mark.parametrize(
    "name",
    [
        *("0.mask.png", "0.mask.PNG", "0.mask.jpg", "0.MASK.tif", "0_mask.png"),
        *("0-mask.webp", "0-masklabel.png", "0_Masks.bmp", "0 mask.png"),
        "0.png.mask.png",
    ],
)
def test_mask_is_never_tuned_on_as_a_picture(tmp_path: Path, name: str) -> None:
    save_pictures(tmp_path, count=1)
    save_mask(tmp_path / name)
    (picture,) = scanned(tmp_path).pictures
    assert picture.path.name == "0.png"
    assert picture.mask is not None
    assert np.asarray(picture.mask).mean() / 255 == pytest.approx(1 / 16, abs=0.01)


def test_names_match_without_regard_to_case_and_an_exact_one_first(
    tmp_path: Path,
) -> None:
    save_pictures(tmp_path, count=2)
    (tmp_path / "0.png").rename(tmp_path / "Rex.JPG")
    (tmp_path / "1.png").rename(tmp_path / "rex.png")
    (tmp_path / "Rex.TXT").write_text("one")
    (tmp_path / "rex.txt").write_text("two")
    captions = {p.path.name: p.caption for p in scanned(tmp_path).pictures}
    assert captions == {"Rex.JPG": "one", "rex.png": "two"}


@pytest.mark.parametrize("name", ["lost.mask.png", "carnival_mask.png"])
def test_mask_without_its_picture_is_named_and_not_tuned_on(
    tmp_path: Path, name: str
) -> None:
    save_pictures(tmp_path, count=1)
    save_mask(tmp_path / name)
    folder = scanned(tmp_path)
    assert len(folder.pictures) == 1
    assert f"{name}: named as a mask, and there is no picture" in reasons(folder)


@pytest.mark.parametrize("name", ["0.jpg", "0_seg.png", "0-matte.png"])
def test_black_and_white_namesake_is_questioned(tmp_path: Path, name: str) -> None:
    save_pictures(tmp_path, count=1)
    save_mask(tmp_path / name)
    folder = scanned(tmp_path)
    assert [picture.path.name for picture in folder.pictures] == ["0.png"]
    assert f"{name}: black and white, and named after 0.png" in reasons(folder)
    assert f"name it 0.mask{Path(name).suffix}" in reasons(folder)


def test_drawing_with_a_name_of_its_own_is_a_picture(tmp_path: Path) -> None:
    save_pictures(tmp_path, count=1)
    save_mask(tmp_path / "drawing.png")
    save_mask(tmp_path / "01.png", inside=20)
    assert len(scanned(tmp_path).pictures) == 3


@pytest.mark.parametrize(
    ("inside", "said"),
    [(0, "black everywhere; white marks"), (3, "marks 0.88% of the picture, at least")],
)
def test_mask_that_marks_nothing_leaves_its_picture_out(
    tmp_path: Path, inside: int, said: str
) -> None:
    save_pictures(tmp_path, count=2)
    save_mask(tmp_path / "0.mask.png", inside=inside)
    folder = scanned(tmp_path)
    assert [picture.path.name for picture in folder.pictures] == ["1.png"]
    assert f"0.png: its mask 0.mask.png: {said}" in reasons(folder)


@pytest.mark.parametrize(
    ("inside", "said"),
    [(5, "marks only 2.4%"), (32, "marks the whole picture, without effect")],
)
def test_mask_of_little_or_everything_is_noted(
    tmp_path: Path, inside: int, said: str
) -> None:
    save_pictures(tmp_path, count=1)
    save_mask(tmp_path / "0.mask.png", inside=inside)
    folder = scanned(tmp_path)
    assert folder.pictures[0].mask is not None
    assert f"0.mask.png: {said}" in reasons(folder)


def test_second_mask_and_second_caption_are_named(tmp_path: Path) -> None:
    save_pictures(tmp_path, count=1)
    save_mask(tmp_path / "0.mask.png")
    save_mask(tmp_path / "0_mask.png")
    (tmp_path / "0.txt").write_text("one")
    (tmp_path / "0.caption").write_text("two")
    folder = scanned(tmp_path)
    assert folder.pictures[0].caption == "one"
    assert "0_mask.png: 0.mask.png is used in its place" in reasons(folder)
    assert "0.caption: 0.txt is used in its place" in reasons(folder)


TEXT = "{} in the snow, Größe 3"
CAPTIONS = {
    "0.txt": TEXT.encode(),
    "0.TXT": TEXT.encode(),
    "0.png.txt": TEXT.encode(),
    "0.caption": TEXT.encode(),
    "0.Caption": ("\ufeff" + TEXT).encode("utf-8"),
    "0.json": json.dumps({"caption": TEXT, "seed": 1}).encode(),
    "0.png.json": json.dumps({"text": TEXT}).encode(),
    "metadata.jsonl": b"\n" + json.dumps({"file_name": "0.png", "text": TEXT}).encode(),
    "METADATA.JSONL": json.dumps({"file_name": "0.PNG", "caption": TEXT}).encode(),
    "metadata.csv": f'file_name,text\r\n0.png,"{TEXT}"\r\n'.encode("utf-8-sig"),
}


@pytest.mark.parametrize("name", CAPTIONS)
def test_caption_is_read_from_every_common_file(tmp_path: Path, name: str) -> None:
    save_pictures(tmp_path, count=1)
    (tmp_path / name).write_bytes(CAPTIONS[name])
    folder = scanned(tmp_path)
    assert folder.pictures[0].caption == TEXT
    assert folder.pictures[0].caption_file == name
    assert reasons(folder) == ""


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_caption_with_a_byte_order_mark_is_read(tmp_path: Path, encoding: str) -> None:
    save_pictures(tmp_path, count=1)
    (tmp_path / "0.txt").write_bytes(f"{TEXT}\r\nat night\r\n".encode(encoding))
    assert scanned(tmp_path).pictures[0].caption == f"{TEXT} at night"


UNREADABLE = {
    "latin-1": ("0.txt", "Größe".encode("latin-1"), "not UTF-8 text; save it as UTF-8"),
    "UTF-16 without a mark": ("0.txt", "rex".encode("utf-16-le"), "byte order mark"),
    "cut UTF-16": ("0.txt", b"\xff\xfer", "not UTF-16 text"),
    "huge": ("0.txt", b"a" * (2**20 + 1), "larger than 1 MiB"),
    "no JSON": ("0.json", b"{", "not readable JSON"),
    "deep JSON": ("0.json", b"[" * 100_000, "not readable JSON"),
    "no caption": ("0.json", b'{"seed": 1}', 'no "caption" or "text" in it'),
    "a list": ("0.json", b"[1]", 'no "caption" or "text" in it'),
    "no file name": ("metadata.jsonl", b'{"text": "a"}', 'entry 1 lacks "file_name"'),
    "a number": ("metadata.jsonl", b"5", 'entry 1 lacks "file_name"'),
    "no text": ("metadata.csv", b"file_name\n0.png\n", 'entry 1 lacks "file_name"'),
    "a long field": (
        "metadata.csv",
        b"file_name,text\n" + b"a" * 200_000,
        "not readable CSV",
    ),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_unreadable_caption_is_named_and_its_picture_used(
    tmp_path: Path, kind: str
) -> None:
    name, content, said = UNREADABLE[kind]
    save_pictures(tmp_path, count=1)
    (tmp_path / name).write_bytes(content)
    folder = scanned(tmp_path)
    assert [picture.caption for picture in folder.pictures] == [None]
    (note,) = folder.remarks
    assert note.file == name
    assert said in note.reason
    assert "used without" in note.reason


def test_table_that_names_missing_pictures_is_noted(tmp_path: Path) -> None:
    save_pictures(tmp_path, count=1)
    rows = [{"file_name": name, "text": "a"} for name in ("0.png", "gone.png")]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folder = scanned(tmp_path)
    assert folder.pictures[0].caption == "a"
    assert "1 of its pictures are not here, as gone.png" in reasons(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("notes.txt", "no picture notes"),
        ("meta_cap.json", "no picture meta_cap"),
        ("0.tags", "captions are read from 0.txt or metadata.jsonl"),
        ("data.csv", "captions are read from data.txt or metadata.jsonl"),
        ("Thumbs.db", "not a picture (.db)"),
        ("README", "not a picture (no suffix)"),
    ],
)
def test_other_file_is_named(tmp_path: Path, name: str, said: str) -> None:
    save_pictures(tmp_path, count=1)
    (tmp_path / name).write_text("anything")
    folder = scanned(tmp_path)
    assert [note.file for note in folder.refused] == [name]
    assert said in folder.refused[0].reason


def test_control_characters_reach_neither_terminal_nor_tokenizer(
    tmp_path: Path,
) -> None:
    save_pictures(tmp_path, count=1)
    (tmp_path / "0.txt").write_text("a\x1b[2J \x07dog\u2028on\ngrass")
    (tmp_path / "x\x1b[2J.db").write_text("")
    folder = scanned(tmp_path)
    assert folder.pictures[0].caption == "a [2J dog on grass"
    assert reasons(folder).isprintable()
