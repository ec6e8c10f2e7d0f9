"""A site that sends on and on: what it may send, keep and hold up at the centre."""

import time
from dataclasses import replace

import pytest

from mos_client.store.outbox import Outbox
from mos_protocol import AdmissionError, Reason
from mos_protocol.rules.admission import Admission
from mos_runtime.journal import Journal, JournalReader
from mos_server.errors import RegistryError
from mos_server.federation.events import CENTRE_EVENTS
from mos_server.federation.fusing import FusionClerk
from mos_server.registry.sites.quotas import Quota
from tests.support.concepts import random_concept
from tests.support.wire import Clock
from tests.threats.stage import STILL, NeverFusing, Stage, reason_of, rows
from tests.threats.test_bundles import signed


def allow(stage: Stage, quota: str) -> None:
    """Admit north again, with a quota."""
    north = next(
        s for s in stage.centre.registry.membership.sites() if s.name == "north"
    )
    stage.centre.registry.membership.admit(
        "north", north.key, north.node_key, quota=Quota.parse(quota)
    )


def test_site_with_all_its_concepts_brings_no_further_one(stage: Stage) -> None:
    allow(stage, "concepts=2")  # rex and bolt
    luna = random_concept(stage.inventory, "luna").to_bytes()
    told = stage.send(signed(stage, luna).to_bytes())
    assert reason_of(told) is Reason.OVER_QUOTA
    assert "2 concepts" in told.at_the_site
    assert not any(stage.centre.home.refused.glob("*.bundle"))


def test_site_that_fills_the_disk_is_refused(stage: Stage) -> None:
    allow(stage, "megabytes=1")
    registry = stage.centre.registry
    bundle = stage.put(stage.north, "luna")
    sites = registry.membership.known()
    now = int(time.time())
    admitted = Admission(stage.inventory).admit(bundle.to_bytes(), sites=sites, now=now)
    large = replace(admitted, bundle=replace(bundle, payload=bytes(10**6)))
    before = stage.standing()
    with pytest.raises(AdmissionError) as refusal:
        registry.bundles.accept(large, now)
    assert refusal.value.reason is Reason.OVER_QUOTA
    assert "at most 1 MB are kept" in str(refusal.value)
    assert stage.standing() == before


def test_more_than_the_hourly_rate_waits_at_the_site(stage: Stage) -> None:
    allow(stage, "per-hour=3")  # two came before
    stage.put(stage.north, "luna")
    waiting = stage.put(stage.north, "miso")
    stage.talk()
    assert [entry.digest for entry in Outbox(stage.north).entries()] == [waiting.digest]
    assert stage.centre.registry.refusals.all() == ()
    before = stage.standing()
    verdict = stage.centre.desk.receive(waiting.to_bytes())
    assert verdict.reason.startswith("over-quota: the centre takes 3 an hour")
    assert stage.standing() == before
    later = int(time.time()) + 3601
    assert stage.centre.desk.receive(waiting.to_bytes(), now=later).accepted


def test_superseded_bundles_leave_the_disk_by_themselves(stage: Stage) -> None:
    for seed in range(3):
        stage.put(stage.north, "luna", seed)
        stage.talk()
    current = stage.centre.registry.bundles.current()
    assert len(list(stage.centre.home.blobs.iterdir())) == len(current) == 3


def test_refusals_of_one_sender_stay_few(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mos_server.registry.refusals.MAX_RECORDS", 3)
    refusals = stage.centre.registry.refusals
    refusals.add(b"kept", Reason.MALFORMED, "of another", 1, sender="other")
    for number in range(9):
        refusals.add(b"%d" % number, Reason.MALFORMED, "no", number, sender="one")
    found = [(one.sender, one.received) for one in refusals.all()]
    assert found == [("other", 1), ("one", 6), ("one", 7), ("one", 8)]


class CountingFuser(NeverFusing):
    def __init__(self) -> None:
        self.started = 0

    def start(self) -> None:
        self.started += 1


def test_site_that_sends_on_and_on_delays_a_release_by_the_longest_wait(
    stage: Stage,
) -> None:
    clock, fuser, home = Clock(), CountingFuser(), stage.centre.home
    settings = replace(STILL, settle_seconds=5.0, longest_settle_seconds=20.0)
    journal = Journal(home.folder / "clerk.jsonl")
    clerk = FusionClerk(stage.centre.registry, fuser, settings, journal, clock)
    for seed in range(5):  # a version every 4 s: the registry never settles
        verdict = stage.centre.desk.receive(
            stage.put(stage.north, "rex", seed).to_bytes()
        )
        assert verdict.accepted
        clerk.step()
        assert fuser.started == 0
        clock.now += 4.0
    clerk.step()
    assert fuser.started == 1


def test_site_is_told_that_an_accepted_bundle_cannot_be_fused(stage: Stage) -> None:
    bundle = stage.put(stage.north, "luna")
    stage.talk()
    assert bundle.digest in {e.digest for e in Outbox(stage.north).sent()}
    bundles = stage.centre.registry.bundles
    bundles.leave_out(bundle.digest, "layer q: not positive definite", 1)
    stage.talk()
    (record,) = bundles.left_out()
    assert (record.concept, record.reason) == ("luna", "unfusable")
    (refused,) = Outbox(stage.north).refused()
    assert refused.digest == bundle.digest
    assert refused.reason == f"{record.reason}: {record.text}"
    events = [e.kind for e in JournalReader(stage.journal, CENTRE_EVENTS).new()]
    assert events.count("left-out") == 1
    assert [b.concept for b in bundles.current()] == ["bolt", "rex"]
    told = rows(stage.centre.home)
    stage.talk()  # and is told once
    assert rows(stage.centre.home) == told


@pytest.mark.parametrize(
    "text", ["concepts", "concepts=0", "pictures=1", "per-hour=-1"]
)
def test_quota_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(RegistryError, match="write it as concepts=32"):
        Quota.parse(text)


@pytest.mark.parametrize("text", ["", "concepts=1", "per-hour=2,megabytes=7"])
def test_quota_reads_back_as_it_is_written(text: str) -> None:
    quota = Quota.parse(text)
    assert Quota.parse(str(quota)) == quota
