"""`mos-client tune` as a user types it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mos_client.cli import app
from mos_shared.concept import Concept
from mos_shared.console import run
from tests.support.bases import save_tiny_sd
from tests.support.pictures import save_pictures


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


def type_in(*words: object) -> int:
    """Run the command line; its exit code."""
    with pytest.raises(SystemExit) as leaving:
        run(app, [str(word) for word in words])
    code = leaving.value.code
    assert isinstance(code, int)
    return code


def test_folder_becomes_a_concept_named_after_it(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = save_pictures(tmp_path / "rex")
    out = tmp_path / "concepts" / "rex.safetensors"
    words = ("tune", "--data", data, "--out", out, "--base", base, "--steps", 2)
    assert type_in(*words, "--class-word", "cat", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["concept"] == "rex"
    assert told["pictures"] == 3
    concept = Concept.from_bytes(out.read_bytes())
    assert concept.facts.class_word == "cat"
    assert [path.name for path in out.parent.iterdir()] == ["rex.safetensors"]


def test_class_word_is_inferred_and_told(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = save_pictures(tmp_path / "rex")
    out = tmp_path / "rex.safetensors"
    assert (
        type_in("tune", "--data", data, "--out", out, "--base", base, "--steps", 1) == 0
    )
    told = capsys.readouterr().err
    assert "class word:" in told
    assert "next best:" in told


def test_no_usable_picture_ends_in_one_line_and_writes_nothing(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "rex"
    data.mkdir()
    (data / "broken.png").write_bytes(b"no")
    (data / "notes.txt").write_text("no")
    Image.new("RGB", (4, 4)).save(data / "tiny.png")
    out = tmp_path / "out" / "rex.safetensors"
    assert type_in("tune", "--data", data, "--out", out, "--base", base) == 2
    told = capsys.readouterr().err
    assert told.count("error:") == 1
    assert "Traceback" not in told
    assert all(name in told for name in ("broken.png", "notes.txt", "tiny.png"))
    assert not out.parent.exists()


def test_unknown_base_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = save_pictures(tmp_path / "rex")
    assert type_in("tune", "--data", data, "--base", tmp_path / "nowhere") == 2
    assert "no such directory" in capsys.readouterr().err
