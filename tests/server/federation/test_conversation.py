"""The centre's conversation with every site's real ClientApp, without a network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_client.store.releases import ReleaseStore
from mos_model.bases.base import Base, load_base
from mos_model.bases.inventory import Inventory
from mos_protocol.messages import Offer, PlainDict, SyncAnswer
from mos_protocol.signed.bundle import MAX_BUNDLE_BYTES, Bundle
from mos_protocol.signed.keys import SigningKey, save_key
from mos_runtime.journal import Journal, JournalReader
from mos_server.federation.carrier import ConversationSettings, Fuser, Reply
from mos_server.federation.conversation import Conversation
from mos_server.federation.events import CENTRE_EVENTS
from mos_server.fusion import FusionSettings
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.sites import Centre
from tests.support.wire import (
    Clock,
    FusingHere,
    NoFusion,
    Wire,
    answer_as,
    events_of,
)

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


def put(home: SiteHome, inventory: Inventory, name: str, seed: int = 0) -> Bundle:
    """Sign a concept into a site's outbox, now."""
    content = random_concept(inventory, name, seed=seed).to_bytes()
    entry = Outbox(home).put(content, home.name() or "north")
    return Bundle.read(entry.path)


class Talk:
    """A conversation with its clock and journal."""

    def __init__(
        self,
        centre: Centre,
        wire: Wire,
        settings: ConversationSettings = STILL,
        fuser: Fuser | None = None,
    ) -> None:
        self.clock = Clock()
        self.journal = centre.home.folder / "journal.jsonl"
        self.conversation = Conversation(
            centre.registry,
            centre.desk,
            wire,
            fuser or NoFusion(),
            settings,
            Journal(self.journal),
            clock=self.clock,
        )

    def steps(self, count: int = 12, seconds: float = 3.0) -> None:
        for _ in range(count):
            self.conversation.step()
            self.clock.now += seconds


def test_two_sites_bring_concepts_one_after_the_other_and_each_gets_both_releases(
    base: Base, tmp_path: Path
) -> None:
    centre = Centre.at(tmp_path / "centre", base.inventory)
    north, south = (site(centre, tmp_path, name) for name in ("north", "south"))
    wire = Wire({1: north, 2: south})
    talk = Talk(centre, wire, LIVELY, FusingHere(centre, base, QUICK))
    put(north, base.inventory, "rex")
    talk.steps()
    assert [ReleaseStore(home).versions() for home in (north, south)] == [(1,), (1,)]
    put(south, base.inventory, "luna", seed=1)
    talk.steps()
    for home in (north, south):
        assert ReleaseStore(home).versions() == (1, 2)
        assert [entry.concept for entry in Outbox(home).entries()] == []
    newest = centre.registry.published.newest()
    assert newest is not None
    assert newest.concepts == ("north/rex", "south/luna")


def test_site_that_comes_late_gets_the_newest_release_alone(
    base: Base, tmp_path: Path
) -> None:
    centre = Centre.at(tmp_path / "centre", base.inventory)
    north = site(centre, tmp_path, "north")
    wire = Wire({1: north})
    talk = Talk(centre, wire, LIVELY, FusingHere(centre, base, QUICK))
    put(north, base.inventory, "rex")
    talk.steps()
    put(north, base.inventory, "luna", seed=1)
    talk.steps()
    wire.homes[2] = site(centre, tmp_path, "south")
    talk.steps()
    assert ReleaseStore(wire.homes[2]).versions() == (2,)


def test_bundle_with_a_flipped_bit_is_refused_at_both_ends(
    centre: Centre, tmp_path: Path
) -> None:
    north = site(centre, tmp_path, "north")
    put(north, centre.inventory, "rex")
    path = Outbox(north).entries()[0].path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    Talk(centre, Wire({1: north})).steps()
    assert centre.registry.bundles.current() == ()
    assert [record.reason for record in centre.registry.refusals.all()] == ["tampered"]
    assert Outbox(north).entries() == ()
    refused = Outbox(north).refused()
    assert [entry.concept for entry in refused] == ["rex"]
    assert refused[0].reason.startswith("tampered")


def test_answer_of_a_key_that_was_not_admitted_is_not_listened_to(
    centre: Centre, tmp_path: Path
) -> None:
    stranger = site(centre, tmp_path, "stranger")
    stranger.signing_key_path.unlink()
    save_key(stranger.signing_key_path, SigningKey.generate())
    put(stranger, centre.inventory, "rex")
    # Without node keys (loopback only) anyone may connect.
    talk = Talk(centre, Wire({1: stranger}), replace(STILL, bind_nodes=False))
    talk.steps()
    assert centre.registry.bundles.current() == ()
    assert centre.registry.refusals.all() == ()
    told = [e.facts["reason"] for e in JournalReader(talk.journal, CENTRE_EVENTS).new()]
    assert all("which was never admitted" in reason for reason in told)
    assert told


def test_node_that_no_site_enrolled_is_never_spoken_to(
    centre: Centre, tmp_path: Path
) -> None:
    stranger = SiteHome.open(tmp_path / "stranger", create=True)
    put(stranger, centre.inventory, "rex")
    wire = Wire({1: stranger})
    Talk(centre, wire).steps()
    assert wire.actions == []


def test_site_cannot_speak_for_another_sites_key(
    centre: Centre, tmp_path: Path
) -> None:
    north = site(centre, tmp_path, "north")
    south = site(centre, tmp_path, "south")
    put(north, centre.inventory, "rex")
    thief = SiteHome.open(tmp_path / "thief", create=True)
    for path in (south.node_key_path, south.node_public_path):
        (thief.folder / path.name).write_bytes(path.read_bytes())
    thief.signing_key_path.write_bytes(north.signing_key_path.read_bytes())
    thief.set_name("north")
    thief.welcome_path.write_bytes(north.welcome_path.read_bytes())
    put(thief, centre.inventory, "rex")
    talk = Talk(centre, Wire({1: thief}))
    talk.steps()
    assert centre.registry.bundles.current() == ()
    assert "failed" in events_of(talk.journal)
    assert "joined" not in events_of(talk.journal)


def test_silent_node_holds_nobody_up_and_is_asked_again(
    centre: Centre, tmp_path: Path
) -> None:
    north, south = (site(centre, tmp_path, name) for name in ("north", "south"))
    put(south, centre.inventory, "luna")
    wire = Wire({1: north, 2: south}, silent={1})
    talk = Talk(centre, wire)
    talk.steps()
    assert [b.concept for b in centre.registry.bundles.current()] == ["luna"]
    assert [node for node, _ in wire.actions].count(1) == 1
    talk.clock.now += STILL.grace_seconds
    wire.silent.clear()
    put(north, centre.inventory, "rex")
    talk.steps()
    stored = centre.registry.bundles.current()
    assert [bundle.concept for bundle in stored] == ["rex", "luna"]


def test_centre_that_restarts_tells_the_verdict_it_had_reached(
    centre: Centre, tmp_path: Path
) -> None:
    north = site(centre, tmp_path, "north")
    bundle = put(north, centre.inventory, "rex")
    centre.desk.receive(bundle.to_bytes())
    assert Outbox(north).entries() != ()
    wire = Wire({1: north})
    Talk(centre, wire).steps(3)
    assert "query.collect" not in [action for _, action in wire.actions]
    assert [entry.concept for entry in Outbox(north).sent()] == ["rex"]


def test_revoked_site_is_not_spoken_to_and_its_concept_leaves_the_next_release(
    base: Base, tmp_path: Path
) -> None:
    centre = Centre.at(tmp_path / "centre", base.inventory)
    north, south = (site(centre, tmp_path, name) for name in ("north", "south"))
    wire = Wire({1: north, 2: south})
    talk = Talk(centre, wire, LIVELY, FusingHere(centre, base, QUICK))
    put(north, base.inventory, "rex")
    put(south, base.inventory, "luna", seed=1)
    talk.steps()
    centre.registry.membership.revoke("south")
    wire.actions.clear()
    talk.steps()
    assert 2 not in {node for node, _ in wire.actions}
    newest = centre.registry.published.newest()
    assert newest is not None
    assert newest.concepts == ("north/rex",)
    assert ReleaseStore(north).held() is not None
    assert ReleaseStore(north).versions()[-1] == newest.version


def test_no_more_bundles_are_under_way_than_may_be(
    centre: Centre, tmp_path: Path
) -> None:
    homes = {n: site(centre, tmp_path, f"site-{n}") for n in range(1, 6)}
    for home in homes.values():
        put(home, centre.inventory, "rex")
    wire = Wire(homes)
    talk = Talk(centre, wire, replace(STILL, parcels_at_once=2))
    talk.steps(1)
    wire.silent |= set(homes)
    talk.steps()
    assert [action for _, action in wire.actions].count("query.collect") == 2
    wire.silent.clear()
    talk.clock.now += 10 * STILL.grace_seconds
    talk.steps(40, seconds=30.0)
    assert len(centre.registry.bundles.current()) == 5


def test_whoever_is_served_to_the_end_is_not_given_up_while_others_answer(
    centre: Centre, tmp_path: Path
) -> None:
    north, south = (site(centre, tmp_path, name) for name in ("north", "south"))
    wire = Wire({1: north, 2: south}, silent={1})
    settings = replace(STILL, sites=2, bind_nodes=False, retry_seconds=0.0)
    talk = Talk(centre, wire, settings)
    for seed in range(8):
        put(south, centre.inventory, "luna", seed)
        wire.homes[2] = south
        talk.steps(4, seconds=settings.grace_seconds / 5)
        # A node that comes anew is asked what is new.
        del wire.homes[2]
        talk.steps(1)
    assert talk.clock.now > 1000.0 + 3 * settings.grace_seconds
    assert "failed" not in events_of(talk.journal)
    talk.clock.now += 2 * settings.grace_seconds
    talk.steps(1)
    assert events_of(talk.journal).count("failed") == 1


HONEST = SyncAnswer("north", (), 0, "").to_dict()
GARBAGE: dict[str, PlainDict] = {
    "no values": {},
    "values of other types": {key: "x" for key in HONEST},
    "a size below zero": HONEST
    | {
        "offer-concepts": ["rex"],
        "offer-digests": ["ab" * 32],
        "offer-counters": [1],
        "offer-bytes": [-(2**40)],
    },
    "numbers without end": HONEST | {"release-version": 2**63 - 1},
    "words without end": HONEST | {"site": "x" * 10**6},
    "offers without end": HONEST
    | {
        "offer-concepts": ["rex"] * 10**4,
        "offer-digests": ["ab" * 32] * 10**4,
        "offer-counters": [1] * 10**4,
        "offer-bytes": [1] * 10**4,
    },
}
UNSIGNED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "an error": {"error": "\x1b[2J" * 99},
    "a blob alone": {"blob": b"\x00" * 4096},
    "no envelope": {"envelope": b"\x00" * 4096},
}


@pytest.mark.parametrize("name", [*GARBAGE, *UNSIGNED])
def test_site_that_answers_garbage_stops_nobody(
    centre: Centre, tmp_path: Path, name: str
) -> None:
    south, north = (site(centre, tmp_path, name) for name in ("south", "north"))
    put(south, centre.inventory, "luna")
    wire = Wire({1: north, 2: south})
    if name in GARBAGE:
        wire.strange[1] = answer_as(north, GARBAGE[name])
    else:
        wire.strange[1] = lambda message_id, _: Reply(message_id, **UNSIGNED[name])
    talk = Talk(centre, wire)
    talk.steps()
    assert [b.concept for b in centre.registry.bundles.current()] == ["luna"]
    assert [entry.concept for entry in Outbox(south).sent()] == ["luna"]
    # And it is one of us again once it talks sense.
    wire.strange.clear()
    put(north, centre.inventory, "rex")
    talk.steps(30, seconds=10.0)
    assert len(centre.registry.bundles.current()) == 2


def test_size_that_is_claimed_gives_no_more_time_than_the_largest_bundle(
    centre: Centre, tmp_path: Path
) -> None:
    north = site(centre, tmp_path, "north")
    huge = SyncAnswer("north", (Offer("rex", "ab" * 32, 1, 2**62),), 0, "")
    wire = Wire({1: north})
    wire.strange[1] = answer_as(north, huge.to_dict())
    talk = Talk(centre, wire)
    talk.steps(1)
    wire.strange.clear()
    wire.silent.add(1)
    talk.steps(1)
    assert wire.actions[-1] == (1, "query.collect")
    longest = MAX_BUNDLE_BYTES / STILL.slowest_bytes_per_second + STILL.grace_seconds
    talk.clock.now += longest
    talk.steps(1)
    assert events_of(talk.journal)[-1] == "failed"
