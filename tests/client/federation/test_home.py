"""A site's keys and names."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    load_ssh_private_key,
    load_ssh_public_key,
)

from mos_client.errors import IdentityError
from mos_client.store.enrolment import (
    keep_welcome,
    make_request,
    read_welcome,
    site_name,
)
from mos_client.store.home import SiteHome, name_of_this_machine
from mos_client.store.outbox import Outbox
from mos_model.concepts.names import is_name
from mos_model.errors import ConceptError
from mos_protocol.signed.enrolment import EnrolmentRequest
from mos_protocol.signed.keys import SigningKey
from mos_runtime.errors import StorageError
from tests.support.disk import snapshot
from tests.support.sites import NOW, Centre, signed


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return SiteHome.open(tmp_path / "site", create=True)


def test_private_keys_are_their_owners_alone(home: SiteHome) -> None:
    for path in (home.signing_key_path, home.node_key_path):
        assert path.stat().st_mode & 0o777 == 0o600, path


def test_node_key_is_the_kind_that_flower_takes(home: SiteHome) -> None:
    private = load_ssh_private_key(home.node_key_path.read_bytes(), None)
    public = load_ssh_public_key(home.node_public_path.read_bytes())
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(private.curve, ec.SECP384R1)
    assert private.public_key() == public


def test_home_opened_again_keeps_its_keys(home: SiteHome) -> None:
    before = snapshot(home.folder)
    SiteHome.open(home.folder, create=True)
    assert snapshot(home.folder) == before


def test_home_that_is_not_there_is_not_made_unasked(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="no site has its home there"):
        SiteHome.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_home_below_a_file_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be created"):
        SiteHome.open(tmp_path / "file" / "site", create=True)


def test_home_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOS_SITE_HOME", str(tmp_path / "elsewhere"))
    assert SiteHome.open(create=True).folder == tmp_path / "elsewhere"


def test_machines_name_can_name_a_site(monkeypatch: pytest.MonkeyPatch) -> None:
    for node in ("Büro-PC.local", "", "---", "A" * 200, "lab_7"):
        monkeypatch.setattr("platform.node", lambda node=node: node)
        assert is_name(name_of_this_machine()), node


def test_request_shows_both_keys_and_the_name(home: SiteHome) -> None:
    request = EnrolmentRequest.verified(make_request(home, "north", now=NOW))
    assert request.site == "north"
    assert request.site_key == home.signing_key().public
    assert request.node_key == home.node_public_path.read_bytes()


def test_request_under_no_proper_name_changes_nothing(home: SiteHome) -> None:
    before = snapshot(home.folder)
    with pytest.raises(ConceptError, match="site name"):
        make_request(home, "Not a name")
    assert snapshot(home.folder) == before


def test_welcome_is_kept_and_read_back(home: SiteHome, tmp_path: Path) -> None:
    welcome = Centre.at(tmp_path / "centre").enrol(home, "north")
    home.welcome_path.unlink()
    assert keep_welcome(home, welcome.to_bytes()) == welcome
    assert read_welcome(home) == welcome
    assert site_name(home) == "north"


def test_welcome_for_another_site_is_refused(home: SiteHome, tmp_path: Path) -> None:
    other = SiteHome.open(tmp_path / "other", create=True)
    welcome = Centre.at(tmp_path / "centre").enrol(other, "south")
    make_request(home, "north", now=NOW)
    with pytest.raises(IdentityError, match="the welcome is for site 'south'"):
        keep_welcome(home, welcome.to_bytes())
    assert read_welcome(home) is None


def test_welcome_of_another_centre_is_refused(home: SiteHome, tmp_path: Path) -> None:
    welcome = Centre.at(tmp_path / "centre").enrol(home, "north")
    impostor = type(welcome)(
        address=welcome.address,
        ca_certificate=b"",
        centre_key=SigningKey.generate().public,
        site="north",
        base=welcome.base,
    )
    with pytest.raises(IdentityError, match="this site belongs to"):
        keep_welcome(home, impostor.to_bytes())
    assert read_welcome(home) == welcome


def test_site_does_not_take_two_names(home: SiteHome) -> None:
    assert site_name(home, "north") == "north"
    with pytest.raises(IdentityError, match="called 'north'"):
        site_name(home, "south")


def test_machines_name_is_no_obstacle_to_a_name_wanted_later(home: SiteHome) -> None:
    assert site_name(home) == name_of_this_machine()
    assert site_name(home, "north") == "north"
    assert site_name(home) == "north"


def test_concept_tuned_before_enrolment_is_signed_under_the_new_name(
    home: SiteHome, tmp_path: Path
) -> None:
    centre = Centre.at(tmp_path / "centre")
    signed(home, centre.inventory, site="laptop")
    centre.enrol(home, "north")
    (entry,) = Outbox(home).entries()
    assert (entry.site, entry.concept) == ("north", "rex")
    content = Outbox(home).bundle(entry.digest).to_bytes()
    assert centre.desk.receive(content).accepted
