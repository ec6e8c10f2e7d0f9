"""`mos-client tune --check`: one screen, an exit code, and JSON."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mos_client.cli import app
from mos_model.bases import base as base_module
from mos_runtime.console import console
from tests.support.bases import save_tiny_sd
from tests.support.pictures import save_pictures
from tests.support.typing_in import type_in

NAMES = ("beach", "big", "captioned", "dark", "far", "plain", "tagged", "wide")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is refused is refused before a base is loaded."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the base was loaded")

    monkeypatch.setattr(base_module, "load_base", refuse)


def one_of_each(folder: Path) -> Path:
    """A folder as people have them: something of every kind."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in NAMES:
        pixels = rng.integers(0, 256, (6, 60 if name == "wide" else 6, 3), np.uint8)
        large = np.kron(pixels, np.ones((8, 8, 1), np.uint8))
        Image.fromarray(large).save(folder / f"{name}.png")
    picture = Image.open(folder / "plain.png")
    picture.save(folder / "same.bmp")
    picture.resize((12, 12)).save(folder / "small.png")
    picture.resize((47, 47)).save(folder / "zoomed.jpg")
    mask = Image.new("L", (48, 48))
    mask.save(folder / "dark.mask.PNG")
    ImageDraw.Draw(mask).rectangle((8, 8, 30, 30), fill=255)
    mask.save(folder / "beach_mask.png")
    mask.save(folder / "big_seg.png")
    mask.save(folder / "lost-masklabel.png")
    aside = Image.new("L", (480, 48))
    aside.paste(255, (0, 0, 40, 48))
    aside.save(folder / "wide.mask.png")
    far = Image.new("L", (48, 48))
    far.paste(255, (0, 0, 8, 8))
    far.save(folder / "far.mask.png")
    (folder / "plain.TXT").write_bytes("{} in the snow".encode("utf-16"))
    (folder / "captioned.caption").write_text("a red dog " * 30)
    (folder / "beach.txt").write_bytes(b"\xe9t\xe9")
    (folder / "metadata.jsonl").write_text(
        '{"file_name": "tagged.png", "text": "a dog"}'
    )
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (folder / "saved.jpg").write_bytes(b"<!DOCTYPE html><title>404</title>")
    (folder / "broken.png").write_bytes((folder / "plain.png").read_bytes()[:60])
    (folder / "notes.md").write_text("shopping list")
    (folder / "lost.txt").write_text("a cat")
    save_pictures(folder / "10_rex dog", count=1)
    os.mkfifo(folder / "pipe.png")
    return folder


LEFT_OUT = {
    "big_seg.png": "black and white, and named after big.png",
    "broken.png": "not a readable picture",
    "dark.png": "its mask dark.mask.PNG: black everywhere",
    "lost-masklabel.png": "named as a mask",
    "lost.txt": "there is no picture lost",
    "notes.md": "not a picture (.md)",
    "phone.heic": "a HEIC picture",
    "pipe.png": "not an ordinary file",
    "same.bmp": "the same picture as plain.png",
    "saved.jpg": "an HTML page",
    "small.png": "12x12 pixels",
    "wide.png": "all outside its mask",
}
REMARKS = {
    "10_rex dog/": "--concept rex --class-word dog",
    "zoomed.jpg": "looks like",
    "beach.txt": "save it as UTF-8",
    "captioned.caption": "the base reads 24; cut after",
    "far.mask.png": "marks only 2.8%",
}
USED = ("beach.png", "big.png", "captioned.png", "far.png", "plain.png")


def test_folder_with_one_of_each_is_told_on_one_screen_and_in_json(
    base: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(console, "width", 100)
    data, out = one_of_each(tmp_path / "Rex"), tmp_path / "rex.safetensors"
    words = ("tune", "--data", data, "--out", out, "--base", base, "--check", "--json")
    assert type_in(app, *words, "--class-word", "dog") == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["ready"] is True
    assert (found["concept"], found["concept_from"]) == ("rex", "folder")
    assert [each["file"] for each in found["pictures"]] == [
        *USED,
        "tagged.png",
        "zoomed.jpg",
    ]
    for key, expected in (("left_out", LEFT_OUT), ("remarks", REMARKS)):
        told = {note["file"]: note["reason"] for note in found[key]}
        assert told.keys() == expected.keys()
        for file, reason in expected.items():
            assert reason in told[file], file
    assert found["errors"] == []
    screen = " ".join(shown.err.split())
    assert "shared as <rex> (the folder's name): this name leaves" in screen
    assert "--concept NAME, or name in concept.toml" in screen
    for file in (*LEFT_OUT, *REMARKS):
        assert file in screen
    assert shown.err.count("\n") <= 45
    assert screen.endswith(
        "ready: 7 pictures used, 12 files left out; class word dog, 800 steps"
    )


def test_captions_that_tuning_would_refuse_are_errors_of_the_check_and_of_tuning(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = save_pictures(tmp_path / "rex")
    (data / "0.txt").write_text("<TOK> on a beach")
    (data / "1.txt").write_text("a photo of {} <lora:detail:0.6>")
    out = tmp_path / "rex.safetensors"
    words = ("tune", "--data", data, "--out", out, "--base", base, "--json")
    assert type_in(app, *words, "--check") == 2
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["ready"] is False
    assert [note["file"] for note in found["errors"]] == ["0.txt", "1.txt"]
    assert shown.err.rstrip().endswith("not ready: 2 files to mend")
    assert type_in(app, *words, "--no-share") == 2
    line = " ".join(capsys.readouterr().err.split())
    assert "error: 0.txt: <TOK>: this concept is <rex>" in line
    assert "1.txt: <lora:detail:0.6>:" in line
    assert not out.exists()


def test_folder_without_a_usable_picture_is_not_ready(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_pictures(tmp_path / "rex" / "10_rex dog")
    words = ("tune", "--data", tmp_path / "rex", "--base", base, "--check", "--json")
    assert type_in(app, *words, "--out", tmp_path / "rex.safetensors") == 2
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["ready"] is False
    assert found["sheet"] is None
    assert "a sub-folder of 3 pictures, not read" in found["errors"][0]["reason"]
    assert not list(tmp_path.glob("*.png"))


def test_crop_that_misses_the_subject_is_never_trained_on(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = save_pictures(tmp_path / "rex", count=1, side=48)
    mask = Image.new("L", (48, 48))
    mask.paste(255, (0, 0, 48, 1))
    mask.save(data / "0.mask.png")
    words = ("tune", "--data", data, "--base", base, "--check", "--json")
    more = ("--out", tmp_path / "rex.safetensors", "--class-word", "dog")
    assert type_in(app, *words, *more, "--set", "augmentations=64") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"][0]["mask"] is True
    assert "marks only 2.1%" in found["remarks"][0]["reason"]
