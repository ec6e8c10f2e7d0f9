"""`mos-server admit`, `sites`, `revoke`, `withdraw`, `releases` as one types them."""

import json
from pathlib import Path

import pytest

from mos_client.cli import app as client
from mos_model.bases.base_files import read_inventory
from mos_protocol.signed.enrolment import Welcome
from mos_server.cli import app
from mos_server.registry.home import CentreHome
from mos_server.registry.registry import Registry
from tests.support.bases import save_tiny_sd
from tests.support.disk import snapshot
from tests.support.typing_in import type_in


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    path = tmp_path / "a.request"
    words = ("enroll", "--name", "north", "--out", path, "--home", tmp_path / "north")
    assert type_in(client, *words) == 0
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "centre"


def test_admitted_site_gets_all_that_it_joins_with(
    base: str, request_file: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = home.parent / "a.welcome"
    words = ("admit", request_file, "--out", out, "--base", base, "--home", home)
    assert type_in(app, *words, "--address", "centre.example:9092", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    welcome = Welcome.from_bytes(out.read_bytes())
    centre = CentreHome.open(home)
    assert welcome.address == "centre.example:9092"
    assert welcome.centre_key == centre.signing_key().public
    assert welcome.ca_certificate == (centre.tls / "ca.crt").read_bytes()
    assert welcome.base == read_inventory(base).base
    (site,) = Registry(centre).membership.sites()
    assert (site.name, site.key.raw.hex()) == ("north", told["key"])
    assert site.node_key == (home.parent / "north" / "node.pub").read_bytes().strip()


def test_host_of_an_ipv6_address_is_named_whole(
    base: str, request_file: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In brackets it can read as markup of the console."""
    out = home.parent / "a.welcome"
    assert type_in(app, "init", "--host", "localhost", "--home", home) == 0
    words = ("admit", request_file, "--out", out, "--base", base, "--home", home)
    assert type_in(app, *words, "--address", "[fe80::1]:9092") == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "The server certificate now names fe80::1;" in told
    assert Welcome.from_bytes(out.read_bytes()).host == "fe80::1"


def test_site_on_loopback_may_do_without_tls(
    base: str, request_file: Path, home: Path
) -> None:
    out = home.parent / "a.welcome"
    words = ("admit", request_file, "--out", out, "--base", base, "--home", home)
    assert type_in(app, *words, "--insecure") == 0
    assert Welcome.from_bytes(out.read_bytes()).ca_certificate == b""


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--address", "centre.example:9092", "--insecure"), "only loopback"),
        (("--address", "nowhere"), "host:port"),
        (("--base", "nowhere"), "no such directory"),
    ],
)
def test_mistaken_admission_ends_in_one_line_and_admits_nobody(
    base: str,
    request_file: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    reason: str,
) -> None:
    out = home.parent / "a.welcome"
    line = ("admit", request_file, "--out", out, "--base", base, "--home", home)
    capsys.readouterr()
    assert type_in(app, *line, *words) == 2
    told = capsys.readouterr().err
    assert told.count("error:") == 1
    assert reason in told.replace("\n", " ")
    assert not out.exists()
    assert not (home / "registry.sqlite").exists()


def test_request_with_one_changed_letter_admits_nobody(
    base: str, request_file: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = request_file.read_text()
    middle = len(text) // 2
    other = "A" if text[middle] != "A" else "B"
    request_file.write_text(text[:middle] + other + text[middle + 1 :])
    out = home.parent / "a.welcome"
    words = ("admit", request_file, "--out", out, "--base", base, "--home", home)
    assert type_in(app, *words) == 2
    assert capsys.readouterr().err.count("error:") == 1
    assert not home.exists()


def test_revoked_site_is_listed_so(
    base: str, request_file: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = home.parent / "a.welcome"
    words = ("admit", request_file, "--out", out, "--base", base, "--home", home)
    assert type_in(app, *words) == 0
    assert type_in(app, "revoke", "north", "--home", home) == 0
    capsys.readouterr()
    assert type_in(app, "sites", "--home", home, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["sites"]
    assert (row["site"], row["revoked"], row["concepts"]) == ("north", True, [])
    assert type_in(app, "sites", "--home", home) == 0
    assert "revoked" in capsys.readouterr().err
    assert type_in(app, *words, "--force") == 2
    assert "was revoked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("revoke", "nobody"), "no active site of that name"),
        (("withdraw", "rex"), "SITE/CONCEPT"),
        (("withdraw", "north/rex"), "no such concept"),
    ],
)
def test_mistakes_end_in_one_line_and_change_nothing(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    reason: str,
) -> None:
    Registry(CentreHome.open(home, create=True))
    before = snapshot(home)
    assert type_in(app, *words, "--home", home) == 2
    told = capsys.readouterr().err
    assert told.count("error:") == 1
    assert reason in told.replace("\n", " ")
    assert snapshot(home) == before


@pytest.mark.parametrize("command", ["sites", "releases"])
def test_empty_centre_says_so_and_an_absent_one_is_not_made(
    home: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert type_in(app, command, "--home", home) == 2
    assert "no centre has its home there" in capsys.readouterr().err.replace("\n", " ")
    assert not home.exists()
    CentreHome.open(home, create=True)
    assert type_in(app, command, "--home", home) == 0
    assert " yet; " in capsys.readouterr().err
