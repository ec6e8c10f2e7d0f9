"""`mos-client publish`: what is in the folder, what the card says, what is uploaded."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file

from mos_client.cli import app
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_model.bases.base_files import read_inventory
from mos_model.concepts.applying import as_fused
from mos_model.concepts.concept import Concept
from tests.client.commands.small_hub import COMMIT, SmallHub, small_hub
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.disk import snapshot
from tests.support.pictures import save_pictures
from tests.support.typing_in import type_in

Caught = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


@pytest.fixture
def concept(base: str, tmp_path: Path) -> Path:
    path = tmp_path / "rex.safetensors"
    path.write_bytes(random_concept(read_inventory(base)).to_bytes())
    return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHub]:
    with small_hub() as made:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", made.address)
        monkeypatch.setenv("HF_ENDPOINT", made.address)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield made


def head_of(card: str) -> dict[str, Any]:
    found: dict[str, Any] = cast(Any, ModelCard(card).data).to_dict()
    return found


def test_folder_holds_the_model_its_pictures_and_a_card(
    base: str, concept: Path, tmp_path: Path, capsys: Caught
) -> None:
    out, data = tmp_path / "out", save_pictures(tmp_path / "private")
    for path in list(data.iterdir()):
        path.rename(path.with_name(f"secret-{path.name}"))
    words = ("publish", concept, "--base", base, "--out", out, "--data", data)
    more = ("--licence", "CC-BY-4.0", "--title", "Rex", "--images", 2, "--json")
    assert type_in(app, *words, *more) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == [
        "README.md",
        "embeddings/rex.safetensors",
        "images/picture-2.png",
        "images/picture.png",
        "layers/rex.safetensors",
        "pytorch_lora_weights.safetensors",
        "rex.safetensors",
    ]
    assert told["notes"] == ["it is not signed; nobody can verify who made it"]
    assert (out / "rex.safetensors").read_bytes() == concept.read_bytes()
    Image.open(out / "images/picture-2.png").verify()
    card = (out / "README.md").read_text()
    head = head_of(card)
    assert head["license"] == "cc-by-4.0"
    assert head["instance_prompt"] == "<rex>"
    assert head["widget"] == [
        {"text": "a photo of <rex>", "output": {"url": f"images/{name}.png"}}
        for name in ("picture", "picture-2")
    ]
    assert "base_model" not in head  # a folder here says nothing to others
    assert hashlib.sha256(concept.read_bytes()).hexdigest() in card
    assert "repeating a training picture | " in card
    assert "secret" not in card


def test_release_lists_its_concepts_and_needs_no_base_without_pictures(
    concept: Path, tmp_path: Path, capsys: Caught
) -> None:
    release = tmp_path / "ours.safetensors"
    model = as_fused(Concept.from_bytes(concept.read_bytes()), site="north")
    release.write_bytes(model.to_bytes())
    out = tmp_path / "out"
    words = ("publish", release, "--base", "owner/base", "--out", out, "--images", 0)
    assert type_in(app, *words) == 0
    card = (out / "README.md").read_text()
    assert head_of(card)["base_model"] == "owner/base"
    assert f"| `<rex>` | {model.concepts[0].class_word} | north |" in card
    assert "mos-client sample --release ours.safetensors" in card
    assert "no licence is stated" in " ".join(capsys.readouterr().err.split())
    weights = load_file(out / "pytorch_lora_weights.safetensors")
    assert len(weights) == 2 * len(model.lora)


def test_signature_goes_with_the_concept(
    base: str, concept: Path, tmp_path: Path
) -> None:
    home = SiteHome.open(tmp_path / "home", create=True)
    entry = Outbox(home).put(concept.read_bytes(), "north")
    out = tmp_path / "out"
    words = ("publish", entry.path, "--base", base, "--out", out, "--images", 0)
    assert type_in(app, *words) == 0
    key = home.signing_key().public.key_id
    assert f"key `{key[:12]}` signed it" in (out / "README.md").read_text()
    file = out / "rex.safetensors"
    assert type_in(app, "verify", file, "--home", home.folder) == 0


def test_folder_is_uploaded_as_one_private_commit(
    base: str, concept: Path, tmp_path: Path, hub: SmallHub, capsys: Caught
) -> None:
    out = tmp_path / "out"
    words = ("publish", concept, "--base", base, "--out", out, "--images", 0)
    assert type_in(app, *words, "--to", "me/rex", "--json") == 0
    address = json.loads(capsys.readouterr().out)["address"]
    assert address == f"{hub.address}/me/rex/commit/{COMMIT}"
    assert hub.tokens == {"Bearer hf_secret"}
    assert hub.repositories["me/rex"]["visibility"] == "private"
    assert hub.files == {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }


def test_refused_upload_leaves_the_folder_and_says_so(
    base: str, concept: Path, tmp_path: Path, hub: SmallHub, capsys: Caught
) -> None:
    hub.refuse, out = True, tmp_path / "out"
    words = ("publish", concept, "--base", base, "--out", out, "--images", 0)
    assert type_in(app, *words, "--to", "me/rex") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "--to me/rex: not uploaded (" in told
    assert "is complete, and can be uploaded again" in told
    assert "hf_secret" not in told
    assert (out / "README.md").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--to", "rex"), "--to rex: write it as OWNER/NAME"),
        (("--to", "me/rex"), "--to me/rex: no token; set $HF_TOKEN"),
        (("--data", "nowhere"), "nowhere"),
        (("--data", ".", "--images", 0), "--data: nothing to compare with --images 0"),
        (("--prompt", "<kiki>"), "<kiki>"),
    ],
)
def test_what_cannot_be_published_is_refused_before_the_folder_is_made(
    base: str,
    concept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Caught,
    words: tuple[object, ...],
    reason: str,
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no"))
    before = snapshot(tmp_path)
    start = ("publish", concept, "--base", base, "--out", tmp_path / "out")
    assert type_in(app, *start, *words) == 2
    assert reason in " ".join(capsys.readouterr().err.split())
    assert snapshot(tmp_path) == before
