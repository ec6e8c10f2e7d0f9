"""`mos-client import` and `export` as a user types them."""

import json
from pathlib import Path

import pytest
import torch

from mos_client.cli import app
from mos_model.bases.base_files import read_inventory
from mos_model.bases.inventory import Inventory
from mos_model.concepts.applying import as_fused
from mos_model.concepts.concept import Concept
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.disk import snapshot
from tests.support.typing_in import type_in


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def inventory(base: str) -> Inventory:
    return read_inventory(base)


@pytest.fixture
def concept(inventory: Inventory, tmp_path: Path) -> Path:
    path = tmp_path / "rex.safetensors"
    path.write_bytes(random_concept(inventory).to_bytes())
    return path


def test_export_and_import_give_the_same_file(
    base: str, concept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, back = tmp_path / "kohya", tmp_path / "back.safetensors"
    assert type_in(app, "export", concept, "--format", "kohya", "--out", out) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "lost in it: a word of its own for every layer" in told
    words: tuple[object, ...] = ("import", out / "lora.safetensors", "--base", base)
    words += ("--name", "rex", "--class-word", "cat", "--out", back)
    words += ("--words", out / "layers" / "rex.safetensors", "--json")
    assert type_in(app, *words) == 0
    assert json.loads(capsys.readouterr().out)["own_words"] is True
    assert back.read_bytes() == concept.read_bytes()


def test_release_is_exported_whole(
    inventory: Inventory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = as_fused(random_concept(inventory), site="north")
    path = tmp_path / "release.safetensors"
    path.write_bytes(model.to_bytes())
    assert type_in(app, "export", path, "--out", tmp_path / "out", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["words"] == ["<rex>"]
    assert told["files"] == [
        "embeddings/rex.safetensors",
        "layers/rex.safetensors",
        "pytorch_lora_weights.safetensors",
    ]


def test_folder_that_holds_something_is_left_alone(
    concept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(tmp_path)
    assert type_in(app, "export", concept, "--out", tmp_path) == 2
    assert "the folder is not empty" in capsys.readouterr().err
    assert snapshot(tmp_path) == before


def test_merging_into_another_base_leaves_no_folder(
    concept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = save_tiny_sd(tmp_path / "other", seed=1)
    out = tmp_path / "out" / "merged"
    words = ("export", concept, "--format", "merged", "--base", other, "--out", out)
    assert type_in(app, *words) == 2
    assert "was made for base" in capsys.readouterr().err
    assert list(out.parent.iterdir()) == []


def test_file_that_is_no_concept_is_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rex.safetensors"
    path.write_bytes(b"no more than that")
    assert type_in(app, "export", path, "--out", tmp_path / "out") == 2
    assert "not a whole safetensors file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_broken_import_ends_in_one_line_and_keeps_what_was_there(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "lora.safetensors", tmp_path / "rex.safetensors"
    path.write_bytes(b"no more than that")
    out.write_bytes(b"an older concept")
    words = ("import", path, "--base", base, "--class-word", "cat", "--out", out)
    assert type_in(app, *words) == 2
    told = capsys.readouterr().err
    assert told.count("error:") == 1
    assert "Traceback" not in told
    assert out.read_bytes() == b"an older concept"


def test_unknown_class_word_and_name_are_told(
    base: str, concept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert type_in(app, "export", concept, "--out", out) == 0
    lora = out / "pytorch_lora_weights.safetensors"
    words = ("import", lora, "--base", base, "--out", tmp_path / "new.safetensors")
    assert type_in(app, *words, "--class-word", "") == 2
    assert type_in(app, *words, "--class-word", "cat", "--name", "No Name") == 2
    assert "a name is" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "new.safetensors").exists()


def test_import_does_not_overwrite_what_it_reads(
    base: str, concept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert type_in(app, "export", concept, "--out", out) == 0
    lora = out / "pytorch_lora_weights.safetensors"
    before = lora.read_bytes()
    words = ("import", lora, "--base", base, "--class-word", "cat", "--out", lora)
    assert type_in(app, *words) == 2
    assert "is the file that is read" in " ".join(capsys.readouterr().err.split())
    assert lora.read_bytes() == before


def test_imported_concept_is_one_that_can_be_sampled(
    base: str, concept: Path, tmp_path: Path
) -> None:
    out, path = tmp_path / "out", tmp_path / "new.safetensors"
    assert type_in(app, "export", concept, "--out", out) == 0
    lora = out / "pytorch_lora_weights.safetensors"
    words = ("import", lora, "--base", base, "--class-word", "dog", "--name", "rex")
    assert type_in(app, *words, "--out", path) == 0
    made = Concept.from_bytes(path.read_bytes())
    assert made.facts.class_word == "dog"
    assert torch.isfinite(made.embeddings["text_encoder"]).all()
    picture = tmp_path / "picture.png"
    asked: tuple[object, ...] = ("sample", "--prompt", "a photo of a <rex>")
    asked += ("--concept", path, "--base", base, "--steps", 1, "--size", "32x32")
    assert type_in(app, *asked, "--out", picture) == 0
    assert picture.is_file()
