"""Pictures made again that masks and controls took part in."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import T2IAdapter
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mos_client.cli import app
from tests.support.bases import save_tiny_sd
from tests.support.typing_in import type_in

SIZE = (32, 16)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a layout, its mask, a control's picture and its model."""
    folder = tmp_path / "secret folder"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    mask = Image.new("L", SIZE)
    mask.paste(200, (4, 2, 20, 14))
    mask.save(folder / "hidden-mask.png")
    mask.transpose(Image.Transpose.ROTATE_180).save(folder / "hidden-outline.png")
    save_adapter(folder / "tiny-adapter", seed=5)
    control = {"model": str(folder / "tiny-adapter"), "image": "hidden-outline.png"}
    whole = {
        "prompt": "a dog",
        "width": SIZE[0],
        "height": SIZE[1],
        "regions": [
            {"prompt": "a car", "box": [0, 0, 0.3, 1]},
            {"prompt": "a cat", "mask": "hidden-mask.png", "z": 1},
        ],
        "controls": [control | {"weight": 0.5, "region_weights": [1, 0.25]}],
    }
    (folder / "layout.json").write_text(json.dumps(whole))
    return folder


def save_adapter(folder: Path, *, seed: int) -> None:
    torch.manual_seed(seed)
    T2IAdapter(1, [32, 64], 1, 2, "full_adapter").save_pretrained(folder)


@pytest.fixture
def first(base: str, secret: Path, tmp_path: Path) -> Path:
    """The picture of that layout, in another folder."""
    out = tmp_path / "pictures" / "first.png"
    words = ("sample", "--base", base, "--layout", secret / "layout.json")
    assert type_in(app, *words, "--steps", 2, "--seed", 7, "--out", out) == 0
    return out


def again(base: str, picture: Path, *files: Path) -> tuple[int, Path]:
    out = picture.with_name("again.png")
    words: list[object] = ["sample", "--base", base, "--from-picture", picture]
    for place in files:
        words += ["--files", place]
    return type_in(app, *words, "--out", out), out


def test_picture_of_masks_and_controls_names_no_file(first: Path) -> None:
    content = first.read_bytes()
    for name in (b"secret folder", b"hidden-mask", b"hidden-outline"):
        assert name not in content


def test_picture_of_masks_and_controls_is_made_again_bit_by_bit(
    base: str, first: Path, secret: Path
) -> None:
    code, out = again(base, first, secret)
    assert code == 0
    assert out.read_bytes() == first.read_bytes()


def test_files_are_known_by_their_pixels_whatever_they_are_called_now(
    base: str, first: Path, secret: Path, tmp_path: Path
) -> None:
    for name in ("mask", "outline"):
        found = tmp_path / "elsewhere" / f"{name}-renamed.bmp"
        with Image.open(secret / f"hidden-{name}.png") as image:
            image.save(found)
    shutil.move(secret / "tiny-adapter", first.parent / "tiny-adapter")
    shutil.rmtree(secret)
    code, out = again(base, first)
    assert code == 0
    assert out.read_bytes() == first.read_bytes()


def test_files_can_be_named_one_by_one(base: str, first: Path, secret: Path) -> None:
    names = ("hidden-mask.png", "hidden-outline.png", "tiny-adapter")
    code, out = again(base, first, *(secret / name for name in names))
    assert code == 0
    assert out.read_bytes() == first.read_bytes()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("mask gone", "region 2's mask (SHA-256 of its pixels"),
        ("mask changed", "changed since: none of the 3 pictures of 32x16"),
        ("outline gone", "control tiny-adapter's picture (SHA-256"),
        ("model gone", "control tiny-adapter: its folder is not at hand"),
        ("model changed", "control tiny-adapter: its weights are not those"),
    ],
)
def test_picture_is_not_made_again_from_what_is_gone_or_changed(
    base: str,
    first: Path,
    secret: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: str,
    reason: str,
) -> None:
    mask, model = secret / "hidden-mask.png", secret / "tiny-adapter"
    if spoil == "mask gone":
        mask.unlink()
    elif spoil == "mask changed":
        with Image.open(mask) as image:
            image.putpixel((0, 0), 1)
            image.save(mask)
    elif spoil == "outline gone":
        (secret / "hidden-outline.png").unlink()
    else:
        shutil.rmtree(model)
        if spoil == "model changed":
            save_adapter(model, seed=6)
    capsys.readouterr()
    code, out = again(base, first, secret)
    assert code == 2
    told = capsys.readouterr().err
    assert told.count("error:") == 1
    assert reason in " ".join(told.split())
    assert not out.exists()


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("seed", "7", "holds no record"),
        ("seed", True, "holds no record"),
        ("layout", [], "holds no record"),
        ("layout", {"width": 32, "height": 16}, "record is damaged"),
        (
            "layout",
            {
                "prompt": "",
                "width": 32,
                "height": 16,
                "regions": [{"prompt": "a", "mask": "/etc/hostname"}],
                "controls": [],
            },
            "record is damaged",
        ),
    ],
)
def test_damaged_record_is_told_in_one_line(
    base: str,
    first: Path,
    secret: Path,
    capsys: pytest.CaptureFixture[str],
    key: str,
    value: Any,
    reason: str,
) -> None:
    with Image.open(first) as image:
        record = json.loads(image.info["mix-of-show"])
        record["pictures"][0][key] = value
        info = PngInfo()
        info.add_itxt("mix-of-show", json.dumps(record))
        image.save(first, pnginfo=info)
    code, out = again(base, first, secret)
    assert code == 2
    assert reason in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--prompt", "a cat"), "--files: goes with --from-picture alone"),
        (("--from-picture", "first.png"), "nowhere: no such file or folder"),
    ],
)
def test_files_that_are_not_there_or_not_needed_are_told(
    base: str,
    first: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    reason: str,
) -> None:
    monkeypatch.chdir(first.parent)
    line = ("sample", "--base", base, *words, "--files", "nowhere", "--out", "b.png")
    assert type_in(app, *line) == 2
    assert reason in " ".join(capsys.readouterr().err.split())
