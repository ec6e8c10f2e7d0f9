"""What a site asks of the centre beside bundles, over the real ClientApp."""

from pathlib import Path

import pytest

from mos_client.errors import IdentityError, StoreError
from mos_client.store.centre_keys import centre_keys
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_client.store.releases import ReleaseStore
from mos_client.store.requests import Requests
from mos_model.bases.base import Base, load_base
from mos_model.concepts.applying import applied
from mos_model.concepts.concept import FusedModel
from mos_protocol.errors import Reason, ReleaseError
from mos_protocol.messages import Verdict
from mos_protocol.signed.bundle import Bundle
from mos_runtime.errors import StorageError
from mos_runtime.journal import Journal
from mos_server.errors import RegistryError
from mos_server.federation.carrier import ConversationSettings, Fuser
from mos_server.federation.conversation import Conversation
from mos_server.federation.publishing import publish
from mos_server.fusion import FusionSettings
from mos_server.registry.keychain import change_key
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.disk import no_file_larger_than
from tests.support.sites import Centre
from tests.support.wire import Clock, FusingHere, NoFusion, Wire, events_of

QUICK = FusionSettings(steps=1, scenes=("",), prior_subjects=("dog",))
STILL = ConversationSettings(wait_seconds=0.0, settle_seconds=float("inf"))
LIVELY = ConversationSettings(wait_seconds=0.0, settle_seconds=0.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre.at(tmp_path / "centre")


def site(centre: Centre, folder: Path, name: str) -> SiteHome:
    home = SiteHome.open(folder / name, create=True)
    centre.enrol(home, name)
    return home


def put(home: SiteHome, centre: Centre, concept: str, seed: int = 0) -> Bundle:
    content = random_concept(centre.inventory, concept, seed=seed).to_bytes()
    return Bundle.read(Outbox(home).put(content, home.name() or "").path)


class Talk:
    """A conversation between a centre and its sites, step by step."""

    def __init__(
        self,
        centre: Centre,
        *homes: SiteHome,
        settings: ConversationSettings = STILL,
        fuser: Fuser | None = None,
    ) -> None:
        self.wire, self.clock = Wire(dict(enumerate(homes, 1))), Clock()
        self.conversation = Conversation(
            centre.registry,
            centre.desk,
            self.wire,
            fuser or NoFusion(),
            settings,
            Journal(centre.home.folder / "journal.jsonl"),
            clock=self.clock,
        )

    def steps(self, count: int = 12) -> None:
        for _ in range(count):
            self.conversation.step()
            self.clock.now += 3.0


def current(centre: Centre) -> list[str]:
    return [f"{b.site}/{b.concept}" for b in centre.registry.bundles.current()]


def test_withdrawn_concept_leaves_the_release_and_the_site_is_told(
    base: Base, tmp_path: Path
) -> None:
    centre = Centre.at(tmp_path / "centre", base.inventory)
    north, south = (site(centre, tmp_path, name) for name in ("north", "south"))
    put(north, centre, "rex")
    put(south, centre, "rex", seed=1)
    fuser = FusingHere(centre, base, QUICK)
    talk = Talk(centre, north, south, settings=LIVELY, fuser=fuser)
    talk.steps()
    Requests(north).withdraw("rex")
    talk.steps()
    assert current(centre) == ["south/rex"]
    for home in (north, south):
        newest = FusedModel.from_bytes(ReleaseStore(home).read("newest").payload)
        assert [concept.key for concept in newest.concepts] == ["south/rex"]
    assert [entry.concept for entry in Outbox(north).withdrawn()] == ["rex"]
    assert Outbox(north).sent() == ()
    assert Requests(north).entries() == ()
    assert "withdrawn" in events_of(north.flower / "journal.jsonl")
    # The last one goes too: what replaces it holds no concept, and still works.
    Requests(south).withdraw("rex")
    talk.steps()
    for home in (north, south):
        newest = FusedModel.from_bytes(ReleaseStore(home).read("newest").payload)
        assert newest.concepts == ()
        with applied(base, newest.lora):
            pass
    assert centre.registry.published.check_chain() == 3
    put(north, centre, "rex", seed=2)
    talk.steps()
    newest = FusedModel.from_bytes(ReleaseStore(south).read("newest").payload)
    assert [concept.key for concept in newest.concepts] == ["north/rex"]


def test_bundles_that_wait_are_not_barred_by_a_later_withdrawal(
    centre: Centre, tmp_path: Path
) -> None:
    north = site(centre, tmp_path, "north")
    for name in ("rex", "luna"):
        put(north, centre, name)
    Requests(north).withdraw("rex")
    put(north, centre, "bolt")
    Talk(centre, north).steps()
    assert current(centre) == ["north/bolt", "north/luna"]
    assert centre.registry.refusals.all() == ()


def test_concept_that_was_never_signed_cannot_be_withdrawn(
    centre: Centre, tmp_path: Path
) -> None:
    north = site(centre, tmp_path, "north")
    put(north, centre, "rex")
    with pytest.raises(StoreError, match="there are rex"):
        Requests(north).withdraw("luna")
    assert Requests(north).entries() == ()


def test_full_disk_leaves_the_concept_where_it_waits(
    centre: Centre, tmp_path: Path
) -> None:
    north = site(centre, tmp_path, "north")
    put(north, centre, "rex")
    with no_file_larger_than(16), pytest.raises(StorageError):
        Requests(north).withdraw("rex")
    assert Requests(north).entries() == ()
    assert [entry.concept for entry in Outbox(north).entries()] == ["rex"]


def test_site_changes_its_key_and_what_waits_is_signed_anew(
    centre: Centre, tmp_path: Path
) -> None:
    north = site(centre, tmp_path, "north")
    put(north, centre, "rex")
    talk = Talk(centre, north)
    talk.steps()
    old = north.signing_key().public
    put(north, centre, "bolt")
    request = Requests(north).change_key()
    with pytest.raises(IdentityError, match="waits for the centre already"):
        Requests(north).change_key()
    put(north, centre, "luna")
    assert north.signing_key().public == old
    talk.steps(24)
    new = north.signing_key().public
    assert new != old
    assert current(centre) == ["north/bolt", "north/luna", "north/rex"]
    signers = {b.concept: b.signer for b in centre.registry.bundles.current()}
    assert signers == {"rex": old.key_id, "bolt": old.key_id, "luna": new.key_id}
    assert centre.registry.refusals.all() == ()
    assert sorted(entry.concept for entry in Outbox(north).sent()) == [
        *("bolt", "luna", "rex")
    ]
    assert not north.next_key_path.exists()
    again = Verdict(request.digest, True, "")
    assert Requests(north).settle(again) is None
    Requests(north).withdraw("rex")
    talk.steps()
    assert current(centre) == ["north/bolt", "north/luna"]


def test_crash_while_the_new_key_is_put_in_place_is_mended(
    centre: Centre, tmp_path: Path
) -> None:
    north = site(centre, tmp_path, "north")
    request = Requests(north).change_key()
    content = request.path.read_bytes()
    verdict = Verdict(request.digest, True, "")
    Requests(north).settle(verdict)
    request.path.write_bytes(content)  # as if it had not come to be removed
    settled = Requests(north).settle(verdict)
    assert settled is not None
    assert Requests(north).entries() == ()
    assert len(north.public_keys()) == 2


def test_sites_follow_the_centres_new_key_and_leave_the_old_one(
    base: Base, tmp_path: Path
) -> None:
    centre = Centre.at(tmp_path / "centre", base.inventory)
    north, south = (site(centre, tmp_path, name) for name in ("north", "south"))
    put(north, centre, "rex")
    fuser = FusingHere(centre, base, QUICK)
    talk = Talk(centre, north, south, settings=LIVELY, fuser=fuser)
    talk.steps()
    old = centre.home.signing_key()
    talk.wire.homes.pop(2)
    for _ in range(2):
        change_key(centre.home, now=1_800_000_000)
        talk.steps()
    talk.wire.homes[3] = south  # it comes back after two changes
    talk.steps()
    for home in (north, south):
        known = centre_keys(home, centre.enrol(home, home.name() or ""))
        assert known[-1] == centre.home.signing_key().public
        store = ReleaseStore(home)
        assert store.versions()[-1] == 3
        assert [store.read(version).payload for version in store.versions()]
    by_old = publish_as(centre, base, old.to_pem())
    with pytest.raises(ReleaseError) as caught:
        ReleaseStore(north).take(by_old, welcome=centre.enrol(north, "north"))
    assert caught.value.reason == Reason.UNKNOWN_SIGNER
    assert ReleaseStore(north).versions()[-1] == 3


def publish_as(centre: Centre, base: Base, pem: bytes) -> bytes:
    """A release that a thief of the centre's first key makes of the whole registry."""
    centre.home.signing_key_path.write_bytes(pem)
    for path in centre.home.endorsements.glob("*"):
        path.unlink()
    release = publish(centre.home, centre.registry, base, settings=QUICK)
    assert release is not None
    return release.to_bytes()


def test_only_the_newest_releases_are_kept(
    base: Base, tmp_path: Path, centre: Centre
) -> None:
    centre = Centre.at(tmp_path / "other", base.inventory)
    north = site(centre, tmp_path, "north")
    ReleaseStore(north).set_keep(2)
    fuser = FusingHere(centre, base, QUICK)
    talk = Talk(centre, north, settings=LIVELY, fuser=fuser)
    for seed in range(3):
        put(north, centre, "rex", seed)
        talk.steps(8)
    assert ReleaseStore(north).versions() == (2, 3)
    ReleaseStore(north).set_keep(1)
    assert ReleaseStore(north).versions() == (3,)
    registry = centre.registry
    assert registry.published.prune(1) == (1, 2)
    assert [release.whole for release in registry.published.all()] == [
        False,
        False,
        True,
    ]
    assert registry.published.check_chain() == 3
    (signature,) = centre.home.releases.glob("0002*.sig")
    signature.write_bytes((centre.home.releases / "0003.safetensors.sig").read_bytes())
    with pytest.raises(RegistryError, match="not the envelope of release 2"):
        registry.published.check_chain()
