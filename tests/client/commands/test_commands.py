"""`mos-client enroll`, `concepts` and `verify` as a user types them."""

import json
from pathlib import Path

import pytest

from mos_client.cli import app
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_protocol.messages import Verdict
from mos_protocol.signed.enrolment import EnrolmentRequest
from tests.support.disk import snapshot
from tests.support.sites import signed, small_inventory
from tests.support.typing_in import type_in

INVENTORY = small_inventory()


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return SiteHome.open(tmp_path / "home", create=True)


def test_request_is_a_text_that_the_centre_can_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.request"
    words = ("enroll", "--name", "north", "--out", out, "--home", tmp_path / "home")
    assert type_in(app, *words, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    request = EnrolmentRequest.verified(out.read_bytes())
    assert out.read_text("ascii").startswith("-----BEGIN MOS ENROLMENT REQUEST-----")
    assert told["key"] == request.site_key.raw.hex()
    assert told["fingerprint"] == request.fingerprint
    private = SiteHome(tmp_path / "home").signing_key().to_pem()
    assert private not in out.read_bytes()


def test_status_after_enrolment_says_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = SiteHome.open(tmp_path / "home", create=True).folder
    assert type_in(app, "status", "--home", home) == 0
    assert "`mos-client enroll` writes the request" in capsys.readouterr().err
    words = ("enroll", "--name", "north", "--out", tmp_path / "a.request")
    assert type_in(app, *words, "--home", home) == 0
    capsys.readouterr()
    assert type_in(app, "status", "--home", home) == 0
    told = capsys.readouterr().err
    assert "the request was written" in told
    assert "`mos-client join` the welcome that comes back" in told
    assert type_in(app, "status", "--home", home, "--json") == 0
    assert json.loads(capsys.readouterr().out)["requested"]


def test_enrolment_under_no_proper_name_makes_no_home(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("enroll", "--name", "No Name", "--out", tmp_path / "a.request")
    assert type_in(app, *words, "--home", tmp_path / "home") == 2
    assert "a name is" in capsys.readouterr().err.replace("\n", " ")
    assert not any(tmp_path.iterdir())


def test_concepts_are_listed_by_what_became_of_them(
    home: SiteHome, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox = Outbox(home)
    digests = [signed(home, INVENTORY, name).digest for name in ("a", "b", "c")]
    outbox.settle(Verdict(digests[1], True, ""))
    outbox.settle(Verdict(digests[2], False, "expired: too late [red]"))
    assert type_in(app, "concepts", "--home", home.folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    for state, name in (("waiting", "a"), ("accepted", "b"), ("refused", "c")):
        assert [entry["concept"] for entry in told[state]] == [name]
    assert type_in(app, "concepts", "--home", home.folder) == 0
    shown = capsys.readouterr().err
    assert "expired: too late [red]" in " ".join(shown.split())


def test_refused_concept_is_signed_anew_by_share(
    home: SiteHome, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox = Outbox(home)
    digest = signed(home, INVENTORY).digest
    outbox.settle(Verdict(digest, False, "expired: too late"))
    (kept,) = outbox.refused()
    assert type_in(app, "share", kept.path, "--home", home.folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    (entry,) = outbox.entries()
    assert told["digest"] == entry.digest != digest
    assert entry.counter == 2
    assert entry.path.read_bytes() == kept.path.read_bytes()


def test_file_that_is_no_concept_is_not_signed(
    home: SiteHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(b"not to leave this machine")
    before = snapshot(home.folder)
    assert type_in(app, "share", path, "--home", home.folder) == 2
    assert capsys.readouterr().err.count("error:") == 1
    assert snapshot(home.folder) == before


def test_own_concept_is_verified(
    home: SiteHome, capsys: pytest.CaptureFixture[str]
) -> None:
    signed(home, INVENTORY)
    (entry,) = Outbox(home).entries()
    assert type_in(app, "verify", entry.path, "--home", home.folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["concept"], told["site"]) == ("concept", "rex", "north")


@pytest.mark.parametrize("which", ["payload", "envelope"])
def test_changed_file_is_not_verified(
    home: SiteHome, which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    signed(home, INVENTORY)
    (entry,) = Outbox(home).entries()
    path = entry.path
    if which == "envelope":
        path = path.with_name(f"{path.name}.sig")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert type_in(app, "verify", entry.path, "--home", home.folder) == 2
    told = capsys.readouterr()
    assert told.err.count("error:") == 1
    assert told.out == ""


def test_unsigned_file_is_not_verified(
    home: SiteHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rex.safetensors"
    path.write_bytes(signed(home, INVENTORY).payload)
    assert type_in(app, "verify", path, "--home", home.folder) == 2
    assert "no such file; the signature of" in capsys.readouterr().err


def test_strangers_concept_is_verified_only_by_the_key_given(
    home: SiteHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = SiteHome.open(tmp_path / "stranger", create=True)
    signed(stranger, INVENTORY)
    path = Outbox(stranger).entries()[0].path
    assert type_in(app, "verify", path, "--home", home.folder) == 2
    assert "pass its signer's public key" in capsys.readouterr().err.replace("\n", " ")
    key = stranger.signing_key().public.raw.hex()
    assert type_in(app, "verify", path, "--key", key) == 0
    assert type_in(app, "verify", path, "--key", "12 34") == 2
    assert "64 hexadecimal digits" in capsys.readouterr().err
