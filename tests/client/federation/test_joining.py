"""How a site joins: what it asks of a welcome before anything starts."""

from dataclasses import replace
from pathlib import Path

import pytest

from mos_client.cli import app
from mos_client.errors import IdentityError
from mos_client.federation.joining import supernode_command
from mos_client.federation.node import site_of
from mos_client.store.home import SiteHome
from mos_protocol.signed.enrolment import Welcome
from tests.support.sites import Centre
from tests.support.typing_in import type_in


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return SiteHome.open(tmp_path / 'a site\'s "home"', create=True)


@pytest.fixture
def welcome(tmp_path: Path, home: SiteHome) -> Welcome:
    return Centre.at(tmp_path / "centre").enrol(home, "north")


def test_centre_elsewhere_without_a_certificate_is_not_joined(
    home: SiteHome, welcome: Welcome
) -> None:
    elsewhere = replace(welcome, address="centre.example.org:9092")
    with pytest.raises(IdentityError, match="no certificate"):
        supernode_command(home, elsewhere)


def test_centre_with_a_certificate_is_shown_the_sites_node_key(
    home: SiteHome, welcome: Welcome
) -> None:
    secured = replace(welcome, ca_certificate=b"-----BEGIN CERTIFICATE-----")
    command = supernode_command(home, secured)
    assert "--insecure" not in command
    key = command[command.index("--auth-supernode-private-key") + 1]
    assert key == str(home.node_key_path.resolve())
    authority = command[command.index("--root-certificates") + 1]
    assert Path(authority).read_bytes() == secured.ca_certificate


def test_quotes_in_a_homes_path_reach_the_client_app(
    home: SiteHome, welcome: Welcome
) -> None:
    from flwr.common.config import parse_config_args

    command = supernode_command(home, welcome)
    config = command[command.index("--node-config") + 1]
    site = site_of(parse_config_args([config]))
    assert site.home.folder == home.folder.resolve()
    assert site.tuning is None


def test_site_that_was_never_admitted_is_told_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SiteHome.open(tmp_path / "site", create=True)
    assert type_in(app, "join", "--home", tmp_path / "site") == 2
    assert "no welcome is stored" in capsys.readouterr().err


def test_welcome_for_another_site_is_refused_and_not_kept(
    home: SiteHome,
    welcome: Welcome,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = tmp_path / "other.welcome"
    other.write_bytes(replace(welcome, site="south").to_bytes())
    before = home.welcome_path.read_bytes()
    assert type_in(app, "join", other, "--home", home.folder) == 2
    assert "south" in capsys.readouterr().err
    assert home.welcome_path.read_bytes() == before
