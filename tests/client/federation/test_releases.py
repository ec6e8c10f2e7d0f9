"""Releases at a site: what is refused leaves the one held."""

from dataclasses import replace
from pathlib import Path

import pytest

from mos_client.errors import IdentityError, StoreError
from mos_client.store.home import SiteHome
from mos_client.store.releases import ReleaseStore
from mos_model.concepts.applying import as_fused
from mos_protocol.errors import MalformedError, Reason, ReleaseError
from mos_protocol.signed.enrolment import Welcome
from mos_protocol.signed.keys import SigningKey
from mos_protocol.signed.release import Release, ReleasedConcept
from mos_runtime.errors import StorageError
from tests.support.concepts import random_concept
from tests.support.disk import no_file_larger_than, snapshot
from tests.support.sites import NOW, Centre, small_inventory

INVENTORY = small_inventory()


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre.at(tmp_path / "centre")


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return SiteHome.open(tmp_path / "north", create=True)


@pytest.fixture
def welcome(centre: Centre, home: SiteHome) -> Welcome:
    return centre.enrol(home, "north")


def release(
    key: SigningKey, version: int = 1, previous: str = "", seed: int = 0
) -> Release:
    concept = random_concept(INVENTORY, "rex", seed=seed)
    return Release.sign(
        as_fused(concept, site="north").to_bytes(),
        version=version,
        previous=previous,
        concepts=[ReleasedConcept("north", "rex", "cat", "1" * 64, "2" * 64)],
        key=key,
        created=NOW,
        expires=NOW + 60,
    )


def test_release_taken_up_is_held_after_a_restart(
    centre: Centre, home: SiteHome, welcome: Welcome
) -> None:
    one = release(centre.home.signing_key())
    facts = ReleaseStore(home).take(
        one.to_bytes(), welcome=welcome, now=NOW, inventory=INVENTORY
    )
    assert facts.version == 1
    store = ReleaseStore(home)
    held = store.held()
    assert held is not None
    assert (held.version, held.digest) == (1, one.digest)
    assert store.path().read_bytes() == one.payload
    assert store.path(1) == store.path("newest")
    assert store.read(1) == one


def test_release_delivered_twice_changes_nothing(
    centre: Centre, home: SiteHome, welcome: Welcome
) -> None:
    store = ReleaseStore(home)
    content = release(centre.home.signing_key()).to_bytes()
    store.take(content, welcome=welcome, now=NOW)
    before = snapshot(home.folder)
    store.take(content, welcome=welcome, now=NOW)
    assert snapshot(home.folder) == before


@pytest.mark.parametrize(
    "attack", ["rollback", "another centre", "another first", "flipped", "expired"]
)
def test_refused_release_leaves_the_one_held(
    centre: Centre, home: SiteHome, welcome: Welcome, attack: str
) -> None:
    key, store = centre.home.signing_key(), ReleaseStore(home)
    one = release(key)
    two = release(key, 2, one.digest, seed=1)
    store.take(one.to_bytes(), welcome=welcome, now=NOW)
    store.take(two.to_bytes(), welcome=welcome, now=NOW)
    third = release(key, 3, two.digest, seed=2)
    flipped = bytearray(third.to_bytes())
    flipped[-5] ^= 1
    content, now, reason = {
        "rollback": (one.to_bytes(), NOW, Reason.ROLLED_BACK),
        "another centre": (
            release(SigningKey.generate(), 3, two.digest).to_bytes(),
            NOW,
            Reason.UNKNOWN_SIGNER,
        ),
        "another first": (
            release(key, 2, one.digest, seed=3).to_bytes(),
            NOW,
            Reason.MIX_AND_MATCH,
        ),
        "flipped": (bytes(flipped), NOW, Reason.TAMPERED),
        "expired": (third.to_bytes(), NOW + 61, Reason.EXPIRED),
    }[attack]
    before = snapshot(home.folder)
    with pytest.raises(ReleaseError) as refusal:
        store.take(content, welcome=welcome, now=now)
    assert refusal.value.reason is reason
    assert snapshot(home.folder) == before
    assert store.read("newest") == two


def test_full_disk_leaves_the_release_held(
    centre: Centre, home: SiteHome, welcome: Welcome
) -> None:
    key, store = centre.home.signing_key(), ReleaseStore(home)
    one = release(key)
    store.take(one.to_bytes(), welcome=welcome, now=NOW)
    before = snapshot(home.folder)
    two = release(key, 2, one.digest, seed=1)
    with no_file_larger_than(1024), pytest.raises(StorageError):
        store.take(two.to_bytes(), welcome=welcome, now=NOW)
    assert snapshot(home.folder) == before
    store.take(two.to_bytes(), welcome=welcome, now=NOW)
    assert store.versions() == (1, 2)


def test_release_changed_on_the_disk_is_not_opened(
    centre: Centre, home: SiteHome, welcome: Welcome
) -> None:
    store = ReleaseStore(home)
    store.take(release(centre.home.signing_key()).to_bytes(), welcome=welcome, now=NOW)
    path = store.path()
    path.write_bytes(replace(store.read(), payload=b"other").payload)
    with pytest.raises(MalformedError, match="tampered"):
        store.read()


def test_release_without_a_welcome_is_not_opened(
    centre: Centre, home: SiteHome, welcome: Welcome
) -> None:
    store = ReleaseStore(home)
    store.take(release(centre.home.signing_key()).to_bytes(), welcome=welcome, now=NOW)
    home.welcome_path.unlink()
    with pytest.raises(IdentityError, match="nothing tells the centre's key"):
        store.read()


@pytest.mark.parametrize("version", ["newest", 1, "1", "one"])
def test_release_that_is_not_held_is_named(home: SiteHome, version: int | str) -> None:
    with pytest.raises(StoreError, match="no release has come yet"):
        ReleaseStore(home).path(version)
