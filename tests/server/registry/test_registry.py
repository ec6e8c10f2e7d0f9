"""The centre's memory, alone and with two processes at once."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mos_client.store.home import SiteHome
from mos_protocol.errors import AdmissionError, Reason
from mos_protocol.rules.admission import Admission, AdmittedBundle
from mos_protocol.signed.bundle import Bundle
from mos_protocol.signed.keys import SigningKey
from mos_runtime.errors import StorageError
from mos_server.errors import CentreError, RegistryError
from mos_server.registry.home import CentreHome
from mos_server.registry.registry import Registry
from tests.support.disk import no_file_larger_than, snapshot
from tests.support.sites import NOW, Centre, signed, small_inventory


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre.at(tmp_path / "centre")


@pytest.fixture
def north(tmp_path: Path, centre: Centre) -> SiteHome:
    home = SiteHome.open(tmp_path / "north", create=True)
    centre.enrol(home, "north")
    return home


def admitted(centre: Centre, bundle: Bundle) -> AdmittedBundle:
    sites = centre.registry.membership.known()
    return Admission(centre.inventory).admit(bundle.to_bytes(), sites=sites, now=NOW)


def test_centre_key_is_its_owners_alone(centre: Centre) -> None:
    assert centre.home.signing_key_path.stat().st_mode & 0o777 == 0o600


def test_home_that_is_not_there_is_not_made_unasked(tmp_path: Path) -> None:
    with pytest.raises(CentreError, match="no centre has its home there"):
        CentreHome.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_home_opened_again_keeps_its_key(centre: Centre) -> None:
    again = CentreHome.open(centre.home.folder)
    assert again.signing_key().public == centre.home.signing_key().public


def test_accepted_bundle_is_there_after_a_restart(
    centre: Centre, north: SiteHome
) -> None:
    bundle = signed(north, centre.inventory)
    centre.registry.bundles.accept(admitted(centre, bundle), NOW)
    again = Registry(centre.home)
    (stored,) = again.bundles.current()
    assert (stored.site, stored.concept, stored.counter) == ("north", "rex", 1)
    assert stored.digest == bundle.digest
    assert again.bundles.has(bundle.digest)
    assert again.bundles.content(bundle.digest) == bundle.to_bytes()
    assert again.membership.known()[stored.signer].counter == 1


def test_newer_bundle_takes_the_older_ones_place(
    centre: Centre, north: SiteHome
) -> None:
    for seed in (1, 2):
        bundle = signed(north, centre.inventory, seed=seed)
        centre.registry.bundles.accept(admitted(centre, bundle), NOW)
    (stored,) = centre.registry.bundles.current()
    assert stored.counter == 2
    verdicts = centre.registry.bundles.verdicts_for(stored.signer)
    assert [verdict.accepted for verdict in verdicts] == [True, True]


def test_bundles_stand_in_the_order_of_site_and_concept(
    centre: Centre, north: SiteHome, tmp_path: Path
) -> None:
    east = SiteHome.open(tmp_path / "east", create=True)
    centre.enrol(east, "east")
    for home, concept in ((north, "b"), (north, "a"), (east, "z")):
        bundle = signed(home, centre.inventory, concept, site=home.folder.name)
        centre.registry.bundles.accept(admitted(centre, bundle), NOW)
    found = [(b.site, b.concept) for b in centre.registry.bundles.current()]
    assert found == [("east", "z"), ("north", "a"), ("north", "b")]


def test_bundle_admitted_twice_at_once_is_accepted_once(
    centre: Centre, north: SiteHome
) -> None:
    both = admitted(centre, signed(north, centre.inventory))
    centre.registry.bundles.accept(both, NOW)
    before = centre.registry.bundles.current()
    with pytest.raises(AdmissionError) as refusal:
        centre.registry.bundles.accept(both, NOW)
    assert refusal.value.reason is Reason.REPLAYED
    assert centre.registry.bundles.current() == before


def test_site_revoked_between_check_and_store_is_refused(
    centre: Centre, north: SiteHome
) -> None:
    bundle = admitted(centre, signed(north, centre.inventory))
    centre.registry.membership.revoke("north")
    with pytest.raises(AdmissionError) as refusal:
        centre.registry.bundles.accept(bundle, NOW)
    assert refusal.value.reason is Reason.REVOKED_SIGNER
    assert not centre.registry.bundles.has(bundle.bundle.digest)
    assert not centre.home.blobs.exists()


def test_full_disk_leaves_the_registry_as_it_was(tmp_path: Path) -> None:
    centre = Centre.at(tmp_path / "centre", small_inventory(width=2**13))
    north = SiteHome.open(tmp_path / "north", create=True)
    centre.enrol(north, "north")
    bundle = admitted(centre, signed(north, centre.inventory))
    with no_file_larger_than(2**19), pytest.raises(StorageError, match="cannot be"):
        centre.registry.bundles.accept(bundle, NOW)
    assert centre.registry.bundles.current() == ()
    assert centre.registry.membership.known()[bundle.site.key.key_id].counter == 0
    assert not any(centre.home.blobs.iterdir())
    centre.registry.bundles.accept(bundle, NOW)


def test_revoked_site_is_fused_no_more_and_stays_known(
    centre: Centre, north: SiteHome
) -> None:
    centre.registry.bundles.accept(
        admitted(centre, signed(north, centre.inventory)), NOW
    )
    centre.registry.membership.revoke("north")
    assert centre.registry.bundles.current() == ()
    (site,) = centre.registry.membership.sites()
    assert site.revoked
    with pytest.raises(RegistryError, match="no active site of that name"):
        centre.registry.membership.revoke("north")


def test_withdrawn_concept_is_fused_no_more(centre: Centre, north: SiteHome) -> None:
    centre.registry.bundles.accept(
        admitted(centre, signed(north, centre.inventory)), NOW
    )
    centre.registry.bundles.withdraw("north", "rex")
    assert centre.registry.bundles.current() == ()
    with pytest.raises(RegistryError, match="no such concept"):
        centre.registry.bundles.withdraw("north", "rex")


def test_revoked_key_is_not_admitted_again(centre: Centre, north: SiteHome) -> None:
    centre.registry.membership.revoke("north")
    with pytest.raises(RegistryError, match="was revoked and stays so"):
        centre.enrol(north, "north")


def test_name_of_an_admitted_site_is_not_given_away(
    centre: Centre, north: SiteHome, tmp_path: Path
) -> None:
    other = SiteHome.open(tmp_path / "other", create=True)
    with pytest.raises(RegistryError, match="the name is taken"):
        centre.enrol(other, "north")
    centre.registry.membership.revoke("north")
    centre.enrol(other, "north")
    standing = {s.key: s.revoked for s in centre.registry.membership.sites()}
    keys = (north.signing_key().public, other.signing_key().public)
    assert standing == {keys[0]: True, keys[1]: False}


def test_node_key_of_another_site_is_refused(centre: Centre, north: SiteHome) -> None:
    node_key = north.node_public_path.read_bytes()
    with pytest.raises(RegistryError, match="node key is already"):
        centre.registry.membership.admit(
            "south", SigningKey.generate().public, node_key
        )


def test_site_admitted_again_keeps_its_counter(centre: Centre, north: SiteHome) -> None:
    centre.registry.bundles.accept(
        admitted(centre, signed(north, centre.inventory)), NOW
    )
    centre.enrol(north, "north")
    (site,) = centre.registry.membership.sites()
    assert site.counter == 1


def test_blob_changed_on_the_disk_is_not_given_out(
    centre: Centre, north: SiteHome
) -> None:
    bundle = signed(north, centre.inventory)
    centre.registry.bundles.accept(admitted(centre, bundle), NOW)
    blob = centre.home.blobs / hashlib.sha256(bundle.to_bytes()).hexdigest()
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    with pytest.raises(RegistryError, match="not what was accepted"):
        centre.registry.bundles.content(bundle.digest)


def test_refused_bundles_make_way_for_newer_ones(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mos_server.registry.refusals.MAX_KEPT", 3)
    for number in range(5):
        centre.registry.refusals.add(
            b"%d" % number, Reason.MALFORMED, "not a bundle", NOW
        )
    kept = [record.path for record in centre.registry.refusals.all()]
    assert sum(path is not None for path in kept) == 3
    assert len(snapshot(centre.home.refused)) == 6  # each with its reason


def test_registry_of_a_newer_version_is_left_alone(centre: Centre) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(centre.home.database_path)) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(RegistryError, match="schema 99"):
        Registry(centre.home)


def test_file_that_is_no_registry_ends_in_one_line(tmp_path: Path) -> None:
    home = CentreHome.open(tmp_path / "centre", create=True)
    home.database_path.write_bytes(b"not a database" * 100)
    with pytest.raises(RegistryError, match="cannot be used: file is not a database"):
        Registry(home)


_ADMITTING = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from mos_protocol.signed.keys import SigningKey
from mos_server.registry.home import CentreHome
from mos_server.registry.registry import Registry

registry = Registry(CentreHome.open(Path(sys.argv[1]), create=True))
for number in range(20):
    key = SigningKey.generate().public
    node = ec.generate_private_key(ec.SECP384R1()).public_key()
    node_key = node.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    registry.membership.admit(f"{sys.argv[2]}-{number}", key, node_key, now=1)
print(registry.home.signing_key().public.key_id)
"""


def test_two_processes_change_one_registry(tmp_path: Path) -> None:
    folder = tmp_path / "centre"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _ADMITTING, str(folder), name],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("first", "second")
    ]
    told = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert told[0] == told[1]  # one signing key, whoever came first
    assert len(Registry(CentreHome(folder)).membership.sites()) == 40


def test_counter_of_a_stale_site_does_not_pass(centre: Centre, north: SiteHome) -> None:
    first = admitted(centre, signed(north, centre.inventory, seed=1))
    second = admitted(centre, signed(north, centre.inventory, seed=2))
    centre.registry.bundles.accept(second, NOW)
    with pytest.raises(AdmissionError) as refusal:
        centre.registry.bundles.accept(replace(first), NOW)
    assert refusal.value.reason is Reason.ROLLED_BACK
    (stored,) = centre.registry.bundles.current()
    assert stored.digest == second.bundle.digest
