"""Where commands may write: what is refused, and that nothing moved."""

import os
from pathlib import Path

import pytest

from mos_runtime.errors import OutputError
from mos_runtime.files import write_atomically
from mos_runtime.outputs import output_file, output_folder

PICTURES = (".png", ".jpg")


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "v1.2.jpg", "new/deep/a.png"])
def test_new_file_of_a_known_suffix_is_accepted(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert output_file(path, force=False, suffixes=PICTURES) == path
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.gif", ".png or .jpg is written; name it a.gif.png"),
        ("a", "name it a.png"),
        ("v1.2", "name it v1.2.png"),
        ("a.", "name it a.png"),
        (".png", "no name before the suffix; as picture.png"),
        (".hidden", "name it .hidden.png"),
        ("x" * 300 + ".png", "cannot be written: File name too long"),
        ("a\0.png", "cannot be written"),
        ("taken.png/a.png", "is a file, not a folder"),
        ("folder.png", "a folder; name a file in it"),
        ("taken.png", "exists already"),
        ("nowhere.png", "exists already"),
        ("pipe.png", "not an ordinary file"),
    ],
)
def test_file_that_cannot_be_written_is_refused(
    tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "taken.png").write_bytes(b"mine")
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OutputError, match=r"^--out ") as error:
        output_file(tmp_path / name, force=False, suffixes=PICTURES)
    assert reason in str(error.value)
    assert (tmp_path / "taken.png").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["", ".", "..", "/"])
def test_empty_name_is_refused(name: str) -> None:
    with pytest.raises(OutputError, match="a folder; name a file in it"):
        output_file(Path(name), force=True)


def test_existing_file_is_replaced_by_force_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    assert output_file(path, force=True, suffixes=PICTURES) == path


def test_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As an ordinary user is answered of a read-only folder; root may write anywhere.
    monkeypatch.setattr(os, "access", lambda *_: False)
    for path in (tmp_path / "a.png", tmp_path / "deep" / "a.png"):
        with pytest.raises(OutputError, match="cannot be written; choose another"):
            output_file(path, force=True)
    with pytest.raises(OutputError, match="cannot be written; choose another"):
        output_folder(tmp_path, force=True)


def test_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    assert output_folder(tmp_path) == tmp_path
    assert output_folder(tmp_path / "new") == tmp_path / "new"
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="choose another, or write into it with --f"):
        output_folder(tmp_path)
    with pytest.raises(OutputError, match=r"not empty; choose another$"):
        output_folder(tmp_path, own=("result.json",))
    assert output_folder(tmp_path, force=True) == tmp_path
    (tmp_path / "result.json").write_text("{}")
    assert output_folder(tmp_path, own=("result.json",)) == tmp_path
    with pytest.raises(OutputError, match="a file; name a folder"):
        output_folder(tmp_path / "mine.txt", force=True)


def test_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".png")
    write_atomically(path, b"content")
    assert path.read_bytes() == b"content"
