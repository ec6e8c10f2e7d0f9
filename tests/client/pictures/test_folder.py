"""Folders as people lay them: sub-folders, special files, names."""

import os
from pathlib import Path

import pytest
from PIL import Image

from mos_client.pictures import (
    ConceptFile,
    concept_name,
    read_concept_file,
    read_folder,
    scan_folder,
)
from mos_model.errors import ConceptError, DataError
from tests.support.pictures import save_pictures


def test_kohya_folder_is_named_with_what_to_pass(tmp_path: Path) -> None:
    save_pictures(tmp_path / "10_Rex big dog", count=2)
    with pytest.raises(DataError) as refused:
        read_folder(tmp_path, min_side=1)
    assert "10_Rex big dog/: a sub-folder of 2 pictures, not read" in str(refused.value)
    assert "--concept rex --class-word 'big dog'" in str(refused.value)


def test_sub_folder_next_to_pictures_is_noted(tmp_path: Path) -> None:
    save_pictures(tmp_path, count=1)
    save_pictures(tmp_path / "masks", count=1)
    (tmp_path / "old").mkdir()
    folder = scan_folder(tmp_path, min_side=1)
    assert len(folder.pictures) == 1
    assert [note.file for note in folder.remarks] == ["masks/", "old/"]


def test_pipes_and_dangling_links_are_named_and_not_opened(tmp_path: Path) -> None:
    save_pictures(tmp_path, count=1)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    folder = scan_folder(tmp_path, min_side=1)
    assert {str(note) for note in folder.refused} == {
        "link.png: not an ordinary file",
        "pipe.png: not an ordinary file",
    }


def test_whatever_a_conversion_raises_leaves_the_picture_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("conversion from X to RGB not supported")

    save_pictures(tmp_path, count=1)
    monkeypatch.setattr(Image.Image, "convert", broken)
    folder = scan_folder(tmp_path, min_side=1)
    assert "0.png: not a readable picture (conversion" in str(folder.refused[0])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["concept.toml", "Concept.TOML"])
def test_concept_file_of_notepad_is_read(
    tmp_path: Path, encoding: str, name: str
) -> None:
    (tmp_path / name).write_bytes('name = "Größe"\r\n'.encode(encoding))
    assert read_concept_file(tmp_path).name == "Größe"


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfen", b'name = "\xe4"', b"a = " + b"[" * 100_000, b"a" * (2**20 + 1)],
    ids=["cut UTF-16", "latin-1", "deep", "huge"],
)
def test_unreadable_concept_file_is_refused_in_one_line(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "concept.toml").write_bytes(content)
    with pytest.raises(DataError, match=r"concept\.toml: not readable TOML") as refused:
        read_concept_file(tmp_path)
    assert str(refused.value).isprintable()


def test_name_is_lower_cased_wherever_it_comes_from(tmp_path: Path) -> None:
    folder = tmp_path / "Rex"
    named = ConceptFile(name="Bolt")
    for found, name, source in (
        (concept_name(folder, ConceptFile()), "rex", "folder"),
        (concept_name(folder, named), "bolt", "concept.toml"),
        (concept_name(folder, named, "Spot"), "spot", "--concept"),
    ):
        assert (found.name, found.source) == (name, source)


@pytest.mark.parametrize(
    ("folder", "way"),
    [
        ("my photos", "pass --concept my-photos"),
        ("10_rex dog", "pass --concept rex --class-word dog"),
        ("été", "pass --concept t"),
        ("写真", "pass --concept NAME"),
        ("x" * 80, f"pass --concept {'x' * 64}"),
    ],
)
def test_folder_that_cannot_name_a_concept_is_refused_with_a_near_name(
    tmp_path: Path, folder: str, way: str
) -> None:
    with pytest.raises(ConceptError) as refused:
        concept_name(tmp_path / folder, ConceptFile())
    assert str(refused.value).endswith(way)
