"""From accepted bundles to a release that a site takes up."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_client.store.releases import ReleaseStore
from mos_model.bases.base import Base, load_base
from mos_model.concepts.concept import FusedModel
from mos_protocol.rules.admission import AdmissionLimits
from mos_protocol.signed.bundle import Bundle
from mos_protocol.signed.enrolment import Welcome
from mos_protocol.signed.release import RELEASE_LIFETIME_SECONDS, Release
from mos_runtime.errors import StorageError
from mos_server.errors import RegistryError
from mos_server.federation.desk import Desk
from mos_server.federation.publishing import pending, publish
from mos_server.fusion import FusionSettings
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.disk import no_file_larger_than, snapshot
from tests.support.sites import NOW, Centre, signed

Sites = dict[str, tuple[SiteHome, Welcome]]
QUICK = FusionSettings(steps=1, scenes=("",), prior_subjects=("dog",))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


@pytest.fixture
def centre(tmp_path: Path, base: Base) -> Centre:
    return Centre.at(tmp_path / "centre", base.inventory)


@pytest.fixture
def sites(tmp_path: Path, centre: Centre) -> Sites:
    homes = {n: SiteHome.open(tmp_path / n, create=True) for n in ("north", "south")}
    return {name: (home, centre.enrol(home, name)) for name, home in homes.items()}


def bring(centre: Centre, sites: Sites, site: str, concept: str, seed: int = 0) -> str:
    """Have a concept accepted; its bundle's digest."""
    bundle = signed(sites[site][0], centre.inventory, concept, site=site, seed=seed)
    verdict = centre.desk.receive(bundle.to_bytes(), now=NOW)
    assert verdict.accepted, verdict.reason
    return verdict.digest


def published(centre: Centre, base: Base, now: int = NOW) -> Release | None:
    return publish(centre.home, centre.registry, base, now=now, settings=QUICK)


def test_two_sites_concepts_become_releases_that_both_take_up(
    centre: Centre, sites: Sites, base: Base
) -> None:
    first = bring(centre, sites, "south", "bolt", 1)
    one = published(centre, base)
    second = bring(centre, sites, "north", "rex", 2)
    two = published(centre, base)
    assert one is not None
    assert two is not None
    for home, welcome in sites.values():
        store = ReleaseStore(home)
        assert store.held() is None
        for release in (one, two):
            store.take(release.to_bytes(), welcome=welcome, now=NOW)
        assert store.versions() == (1, 2)
        model = FusedModel.from_bytes(store.read("newest").payload)
        assert [c.key for c in model.concepts] == ["north/rex", "south/bolt"]
        assert {factors.down.shape[0] for factors in model.lora.values()} == {2 * 4}
    newest = centre.registry.published.newest()
    assert newest is not None
    assert newest.version == 2
    assert newest.bundles == {first, second}
    assert newest.digest == two.digest
    assert centre.registry.published.read(1) == one
    report = json.loads((newest.path.parent / "0002.report.json").read_text())
    assert set(report["concepts"]) == {"north/rex", "south/bolt"}


def test_nothing_new_publishes_nothing(
    centre: Centre, sites: Sites, base: Base
) -> None:
    assert published(centre, base) is None
    bring(centre, sites, "north", "rex")
    assert pending(centre.registry, now=NOW)
    assert published(centre, base) is not None
    before = snapshot(centre.home.releases)
    assert not pending(centre.registry, now=NOW)
    assert published(centre, base) is None
    assert snapshot(centre.home.releases) == before


def test_withdrawal_publishes_what_is_left(
    centre: Centre, sites: Sites, base: Base
) -> None:
    bring(centre, sites, "north", "rex", 1)
    published(centre, base)
    bring(centre, sites, "south", "bolt", 2)
    published(centre, base)
    centre.registry.membership.revoke("south")
    release = published(centre, base)
    assert release is not None
    first = centre.registry.published.read(1)
    assert release.payload == first.payload  # as a fusion that never saw it


def test_release_near_its_end_is_renewed_with_equal_content(
    centre: Centre, sites: Sites, base: Base
) -> None:
    bring(centre, sites, "north", "rex")
    one = published(centre, base)
    later = NOW + RELEASE_LIFETIME_SECONDS * 3 // 4
    two = published(centre, base, now=later)
    assert one is not None
    assert two is not None
    assert two.payload == one.payload
    home, welcome = sites["north"]
    store = ReleaseStore(home)
    store.take(one.to_bytes(), welcome=welcome, now=NOW)
    facts = store.take(two.to_bytes(), welcome=welcome, now=later)
    assert facts.version == 2
    assert facts.expires == later + RELEASE_LIFETIME_SECONDS


def test_release_that_does_not_follow_on_the_newest_is_refused(
    centre: Centre, sites: Sites, base: Base
) -> None:
    bring(centre, sites, "north", "rex")
    one = published(centre, base)
    assert one is not None
    key = centre.home.signing_key()
    facts = one.verified(key.public)
    before = snapshot(centre.home.releases)
    with pytest.raises(RegistryError, match="another process published"):
        centre.registry.published.add(one, facts)
    with pytest.raises(RegistryError, match="another process published"):
        centre.registry.published.add(one, replace(facts, version=2))
    assert snapshot(centre.home.releases) == before


@contextmanager
def unchanged(centre: Centre) -> Iterator[None]:
    before = snapshot(centre.home.releases), centre.registry.published.newest()
    yield
    assert (
        snapshot(centre.home.releases),
        centre.registry.published.newest(),
    ) == before


def test_full_disk_leaves_the_newest_release_as_it_was(
    centre: Centre, sites: Sites, base: Base
) -> None:
    bring(centre, sites, "north", "rex", 1)
    release = published(centre, base)
    assert release is not None
    bring(centre, sites, "north", "rex", 2)
    limit = len(release.payload) - 1
    with unchanged(centre), no_file_larger_than(limit), pytest.raises(StorageError):
        published(centre, base)
    assert published(centre, base) is not None


def test_one_bundle_that_cannot_be_fused_stops_no_release(
    centre: Centre, sites: Sites, base: Base
) -> None:
    bring(centre, sites, "north", "rex", 1)
    first = published(centre, base)
    lenient = AdmissionLimits(max_update_gain=1e6)
    centre = replace(centre, desk=Desk(centre.registry, base.inventory, lenient))
    home = sites["north"][0]
    strong = random_concept(base.inventory, "rex", seed=2, strength=3.0).to_bytes()
    culprit = Bundle.read(Outbox(home).put(strong, "north", NOW).path)
    assert centre.desk.receive(culprit.to_bytes(), now=NOW).accepted
    bring(centre, sites, "south", "bolt", 3)
    second = published(centre, base)
    assert first is not None
    assert second is not None
    newest = centre.registry.published.newest()
    assert newest is not None
    assert newest.concepts == ("north/rex", "south/bolt")  # rex as it was before
    (record,) = centre.registry.bundles.left_out()
    assert (record.site, record.digest) == ("north", culprit.digest)
    assert "at most 4 is admitted" in record.text
    assert published(centre, base) is None
