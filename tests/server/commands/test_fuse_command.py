"""`mos-server fuse` as one types it."""

import json
from pathlib import Path

import pytest

from mos_client.store.home import SiteHome
from mos_model.bases.base_files import read_inventory
from mos_model.concepts.concept import FusedModel
from mos_protocol.signed.blob import signature_path
from mos_server.cli import app
from tests.support.bases import save_tiny_sd
from tests.support.sites import Centre, signed
from tests.support.typing_in import type_in


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = save_tiny_sd(tmp_path_factory.mktemp("base"))
    quick = {"sample": {"steps": 1}, "fusion": {"scenes": [""]}}
    (folder / "mos_defaults.json").write_text(json.dumps(quick))
    return str(folder)


@pytest.fixture
def centre(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Centre:
    monkeypatch.setenv("MOS_CENTRE_HOME", str(tmp_path / "no-centre"))
    return Centre.at(tmp_path / "centre", read_inventory(base))


@pytest.fixture
def file(centre: Centre, tmp_path: Path) -> Path:
    """A concept of an admitted site, with its signature beside it."""
    home = SiteHome.open(tmp_path / "north", create=True)
    centre.enrol(home, "north")
    path = tmp_path / "rex.safetensors"
    signed(home, centre.inventory).write(path)
    return path


def fuse(base: str, file: Path, *words: object) -> int:
    out = file.with_name("fused.safetensors")
    return type_in(app, "fuse", file, "--base", base, "--out", out, *words)


def fused(file: Path) -> list[str]:
    model = FusedModel.from_bytes(file.with_name("fused.safetensors").read_bytes())
    return [concept.key for concept in model.concepts]


def test_signed_concept_of_an_admitted_site_is_fused_under_its_name(
    base: str, centre: Centre, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fuse(base, file, "--home", centre.home.folder) == 0
    assert "verified, from site north" in capsys.readouterr().err.replace("\n", " ")
    assert fused(file) == ["north/rex"]


def test_concept_that_nothing_vouches_for_is_fused_and_called_so(
    base: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fuse(base, file) == 0
    assert "UNVERIFIED" in capsys.readouterr().err
    assert fused(file) == ["rex"]
    signature_path(file).unlink()
    before = file.with_name("fused.safetensors").read_bytes()
    assert fuse(base, file) == 2
    assert "exists already" in capsys.readouterr().err
    assert file.with_name("fused.safetensors").read_bytes() == before
    assert fuse(base, file, "--force") == 0
    assert "not signed" in capsys.readouterr().err


def test_changed_concept_of_an_admitted_site_is_not_fused(
    base: str, centre: Centre, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert fuse(base, file, "--home", centre.home.folder) == 2
    assert capsys.readouterr().err.count("error:") == 1
    assert not file.with_name("fused.safetensors").exists()


def test_concept_of_a_revoked_site_is_not_fused(
    base: str, centre: Centre, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    centre.registry.membership.revoke("north")
    assert fuse(base, file, "--home", centre.home.folder) == 2
    assert "now revoked" in capsys.readouterr().err
