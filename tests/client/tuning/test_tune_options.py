"""`mos-client tune`: method, device and further settings, as a user types them."""

from pathlib import Path

import pytest
import torch

from mos_client.cli import app
from mos_model.concepts.concept import Concept
from tests.support.bases import save_tiny_sd
from tests.support.pictures import save_pictures
from tests.support.typing_in import type_in


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


@pytest.fixture
def words(base: str, tmp_path: Path) -> list[object]:
    data = save_pictures(tmp_path / "rex", count=1)
    out = tmp_path / "rex.safetensors"
    return [
        *("tune", "--data", data, "--out", out, "--base", base, "--steps", 1),
        *("--class-word", "cat", "--no-share"),
    ]


def test_method_and_settings_reach_the_run(words: list[object], tmp_path: Path) -> None:
    more = ("--method", "lora", "--set", "accumulate=2", "--set", "augmentations=1")
    assert type_in(app, *words, *more) == 0
    concept = Concept.from_bytes((tmp_path / "rex.safetensors").read_bytes())
    vectors = concept.embeddings["text_encoder"]
    assert torch.equal(vectors, vectors[:, :1].expand_as(vectors))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--device", "cuda"), "is not here"),
        (("--precision", "int8"), "give one of"),
        (("--method", "dora"), "ed-lora, lora"),
        (("--set", "speed=9"), "give NAME=VALUE"),
    ],
)
def test_what_cannot_be_ends_in_one_line_and_writes_nothing(
    more: tuple[str, str],
    told: str,
    words: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert type_in(app, *words, *more) == 2
    error = capsys.readouterr().err.strip()
    assert told in " ".join(error.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rex"]
