"""Another user of the same machine: what lies where, and who may read it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from mos_client.cli import app as client
from mos_client.federation.joining import supernode_command
from mos_client.store.home import SiteHome
from mos_protocol.signed.enrolment import Welcome
from mos_protocol.signed.keys import SigningKey
from mos_runtime.console import run
from mos_runtime.errors import StorageError
from mos_server.cli import app as server
from mos_server.registry.home import CentreHome
from mos_server.serving.tls import ensure_certificates
from tests.support.bases import save_tiny_sd
from tests.support.disk import snapshot
from tests.threats.stage import Stage

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permission bits")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("bits", [0o644, 0o640, 0o606])
def test_node_key_that_others_can_read_is_not_used(stage: Stage, bits: int) -> None:
    home = stage.north
    welcome = Welcome(
        address="127.0.0.1:9",
        ca_certificate=b"authority",
        centre_key=stage.centre.home.signing_key().public,
        site="north",
        base=stage.inventory.base,
    )
    assert str(home.node_key_path) in supernode_command(home, welcome)
    home.node_key_path.chmod(bits)
    with pytest.raises(StorageError, match=r"node\.key: others on this machine can"):
        supernode_command(home, welcome)


def test_servers_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path / "tls", ["127.0.0.1"])
    before = snapshot(tmp_path)
    made.key.chmod(0o644)
    with pytest.raises(StorageError, match=r"server\.key: others on this machine can"):
        ensure_certificates(tmp_path / "tls", ["127.0.0.1"])
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("kind", [SiteHome, CentreHome])
def test_home_that_others_could_enter_is_shut(
    tmp_path: Path, kind: type[SiteHome] | type[CentreHome]
) -> None:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    kind.open(folder, create=True)
    assert mode(folder) == 0o700
    folder.chmod(0o755)  # as an older version left it
    kind.open(folder)
    assert mode(folder) == 0o700


@pytest.mark.parametrize("kind", [SiteHome, CentreHome])
def test_folder_of_other_things_is_not_made_a_home(
    tmp_path: Path, kind: type[SiteHome] | type[CentreHome]
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o755)
    (folder / "of-others").write_text("kept")
    with pytest.raises(StorageError, match="chmod 700"):
        kind.open(folder, create=True)
    assert mode(folder) == 0o755
    assert snapshot(folder) == {"of-others": b"kept"}


@pytest.fixture
def no_umask() -> Iterator[None]:
    kept = os.umask(0)
    yield
    os.umask(kept)


@pytest.mark.usefixtures("no_umask")
def test_nothing_is_anybodys_to_change_whatever_the_umask(tmp_path: Path) -> None:
    base = save_tiny_sd(tmp_path / "base")
    request, welcome = tmp_path / "exchange" / "a.request", tmp_path / "a.welcome"
    site, centre = tmp_path / "homes" / "site", tmp_path / "homes" / "centre"
    words = ["enroll", "--name", "north", "--out", str(request), "--home", str(site)]
    with pytest.raises(SystemExit) as ended:
        run(client, words)
    assert ended.value.code == 0
    words = ["admit", str(request), "--out", str(welcome), "--home", str(centre)]
    with pytest.raises(SystemExit) as ended:
        run(server, [*words, "--base", str(base)])
    assert ended.value.code == 0
    assert (mode(site), mode(centre)) == (0o700, 0o700)
    made = [*site.rglob("*"), *centre.rglob("*"), tmp_path / "homes", request.parent]
    assert {centre / "tls", centre / "tls" / "ca.key"} <= set(made)
    assert [path for path in made if mode(path) & 0o022] == []
    private = [path for path in made if path.suffix == ".key"]
    assert {mode(path) for path in private} == {0o600}


SCRYPT = bytes.fromhex("06092b06010401da47040b")
COST = bytes.fromhex("0203020000")
"""2^17, an INTEGER in DER."""


def test_passphrase_is_costly_to_guess() -> None:
    import base64

    key = SigningKey.generate()
    pem = key.to_pem(b"secret")
    content = base64.b64decode(b"".join(pem.splitlines()[1:-1]))
    assert SCRYPT in content
    assert COST in content
    assert key.private.private_bytes_raw() not in content
    assert SigningKey.from_pem(pem, b"secret").public == key.public
    assert key.to_pem(b"secret") != pem  # a salt each


def test_key_encrypted_before_is_still_read() -> None:
    key = SigningKey.generate()
    old = key.private.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    assert SigningKey.from_pem(old, b"secret").public == key.public
