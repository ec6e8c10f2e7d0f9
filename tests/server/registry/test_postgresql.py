"""The registry in a real PostgreSQL keeps the rules that it keeps in SQLite."""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from mos_client.store.home import SiteHome
from mos_model.bases.base import load_base
from mos_protocol.errors import AdmissionError
from mos_protocol.rules.admission import Admission
from mos_protocol.signed.keys import save_key
from mos_runtime.files import private_folder
from mos_server.commands.init import init
from mos_server.errors import RegistryError
from mos_server.federation.publishing import publish
from mos_server.fusion import FusionSettings
from mos_server.registry.home import DATABASE_VARIABLE, CentreHome
from mos_server.registry.registry import Registry
from mos_server.registry.sites.quotas import Quota
from mos_server.registry.storage.database import Database
from tests.support.bases import save_tiny_sd
from tests.support.sites import NOW, Centre, signed


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """URL of a PostgreSQL that runs for these tests."""
    pytest.importorskip("psycopg")
    debian = ":".join(map(str, Path("/usr/lib/postgresql").glob("*/bin")))
    programs = [
        shutil.which(name) or shutil.which(name, path=debian)
        for name in ("initdb", "pg_ctl")
    ]
    if None in programs:
        pytest.skip("PostgreSQL is not installed: no initdb and pg_ctl")
    initdb, pg_ctl = map(str, programs)
    folder = Path(tempfile.mkdtemp(prefix="mos-pg-"))
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    quiet = f"-k {folder} -c listen_addresses='' -c fsync=off"

    def run(*command: str) -> None:
        subprocess.run(
            command, user=user, check=True, cwd=folder, stdout=subprocess.DEVNULL
        )

    data = ["-D", str(folder / "data")]
    run(initdb, *data, "-U", "mos", "--auth=trust")
    run(pg_ctl, *data, "-w", "-l", str(folder / "log"), "-o", quiet, "start")
    yield f"postgresql+psycopg://mos@/postgres?host={folder}"
    run(pg_ctl, *data, "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture
def server(postgresql: str) -> Iterator[str]:
    """The same, empty."""
    yield postgresql
    execute(postgresql, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


@pytest.fixture
def centre(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Centre:
    monkeypatch.setenv(DATABASE_VARIABLE, server)
    return Centre.at(tmp_path / "centre")


@pytest.fixture
def north(tmp_path: Path, centre: Centre) -> SiteHome:
    home = SiteHome.open(tmp_path / "north", create=True)
    centre.enrol(home, "north")
    return home


def test_accepted_bundle_is_there_after_a_restart(
    centre: Centre, north: SiteHome
) -> None:
    bundle = signed(north, centre.inventory)
    admission = Admission(centre.inventory)
    sites = centre.registry.membership.known()
    admitted = admission.admit(bundle.to_bytes(), sites=sites, now=NOW)
    centre.registry.bundles.accept(admitted, NOW)
    again = Registry(centre.home)
    (stored,) = again.bundles.current()
    assert (stored.digest, stored.counter) == (bundle.digest, 1)
    assert type(again.bundles.usage(stored.signer, NOW).bytes) is int
    assert not centre.home.database_path.exists()
    with pytest.raises(AdmissionError):
        again.bundles.accept(admitted, NOW)


def test_quota_holds_while_bundles_arrive_at_once(
    centre: Centre, north: SiteHome
) -> None:
    (site,) = centre.registry.membership.sites()
    centre.registry.membership.admit(
        "north", site.key, site.node_key, quota=Quota(concepts=2), now=NOW
    )
    sites = centre.registry.membership.known()
    admission, accepted = Admission(centre.inventory), []
    coming = [
        admission.admit(
            signed(north, centre.inventory, f"c{number}").to_bytes(),
            sites=sites,
            now=NOW,
        )
        for number in range(6)
    ]

    registries = [Registry(centre.home) for _ in coming]
    together = threading.Barrier(len(coming))

    def accept(number: int) -> None:
        try:
            together.wait()
            registries[number].bundles.accept(coming[number], NOW)
            accepted.append(number)
        except AdmissionError:
            pass

    threads = [threading.Thread(target=accept, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(centre.registry.bundles.current()) == len(accepted) <= 2
    newest = max(coming[number].facts.counter for number in accepted)
    assert centre.registry.membership.known()[site.key.key_id].counter == newest


def test_registry_of_a_newer_version_is_left_alone(centre: Centre, server: str) -> None:
    execute(server, "UPDATE schema_version SET version = 99")
    with pytest.raises(RegistryError, match="schema 99"):
        Registry(centre.home)


def test_password_is_not_in_the_message(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    url = "postgresql+psycopg://mos:secret@127.0.0.1:9/x?password=secret"
    with pytest.raises(RegistryError) as refusal:
        Database(url, lock=tmp_path / ".lock")
    assert "secret" not in str(refusal.value)


def test_database_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"write postgresql\+psycopg"):
        Database("mysql://host/x", lock=tmp_path / ".lock")


def test_text_that_no_database_takes_is_recorded_all_the_same(centre: Centre) -> None:
    centre.registry.refusals.add(b"x", "malformed", "a\0b\ud800", NOW)
    (refusal,) = centre.registry.refusals.all()
    assert refusal.text == "a\N{REPLACEMENT CHARACTER}b?"


def test_database_named_at_init_is_every_commands(server: str, tmp_path: Path) -> None:
    home = tmp_path / "centre"
    with pytest.raises(RegistryError):
        init(database="postgresql+psycopg://mos@/none?host=/nowhere", home=home)
    assert not CentreHome.open(home).database_url_path.exists()
    init(database=server, home=home, json=True)
    centre = CentreHome.open(home)
    assert centre.database_url == server
    assert centre.database_url_path.stat().st_mode & 0o777 == 0o600
    assert Registry(centre).membership.sites() == ()
    assert not centre.database_path.exists()


def test_same_bundles_give_the_same_release_as_in_sqlite(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_base(str(save_tiny_sd(tmp_path / "base")))
    settings = FusionSettings(steps=1, scenes=("",), prior_subjects=("dog",))
    one = Centre.at(tmp_path / "sqlite", base.inventory)
    other_home = CentreHome(tmp_path / "postgresql")
    private_folder(other_home.folder, ours=False)
    save_key(other_home.signing_key_path, one.home.signing_key())
    with monkeypatch.context() as patch:
        patch.setenv(DATABASE_VARIABLE, server)
        other = Centre.at(other_home.folder, base.inventory)
    for name, concept in (("north", "rex"), ("south", "bolt")):
        site = SiteHome.open(tmp_path / name, create=True)
        bundle = signed(site, base.inventory, concept, site=name).to_bytes()
        for centre in (one, other):
            centre.enrol(site, name)
            assert centre.desk.receive(bundle, now=NOW).accepted
    releases = [
        publish(centre.home, centre.registry, base, now=NOW, settings=settings)
        for centre in (one, other)
    ]
    assert releases[0] is not None
    assert releases[0] == releases[1]
    assert not other_home.database_path.exists()
