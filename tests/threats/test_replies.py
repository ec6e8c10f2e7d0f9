"""Replies by which an admitted site wears the centre down, and doors that flip."""

from pathlib import Path
from typing import Any

import pytest

from mos_protocol.messages import DeliverAnswer, Offer, SyncAnswer
from mos_runtime.journal import Entry, JournalReader
from mos_server.federation.carrier import Reply
from mos_server.federation.events import CENTRE_EVENTS, CentreEvent
from mos_server.registry.storage.tables import SiteRow
from mos_server.serving.superlink import SuperLink
from mos_server.serving.supervising import ServeSettings, _Service
from tests.support.sites import Centre
from tests.support.wire import answer_as
from tests.threats.stage import STILL, Stage, rows

SOUTH = 2


def asked_of_south(stage: Stage, action: str) -> int:
    return stage.wire.actions.count((SOUTH, action))


def test_site_that_fails_for_ever_is_asked_once_a_pause(stage: Stage) -> None:
    """The pause doubles; from 1,025 failures on its double was no number any more."""
    stage.wire.strange[SOUTH] = lambda message_id, _: Reply(message_id, error="no")
    before = rows(stage.centre.home)
    stage.clock.now += STILL.retry_seconds
    stage.talk(2)
    stage._talk._nodes[SOUTH].failures = 1020
    for _ in range(10):
        stage.clock.now += STILL.retry_seconds
        stage.talk(2)
    assert stage._talk._nodes[SOUTH].failures == 1030
    assert asked_of_south(stage, "query.sync") >= 11
    assert rows(stage.centre.home) == before
    stage.wire.strange.clear()
    stage.publish("bolt")
    stage.clock.now += STILL.retry_seconds
    stage.talk()
    assert (stage.held("north"), stage.held("south")) == (2, 2)


@pytest.mark.parametrize("version", [0, 1])
def test_site_that_accepts_a_release_and_says_it_holds_another(
    stage: Stage, version: int
) -> None:
    said = SyncAnswer("south", (), version, "").to_dict()
    lie = DeliverAnswer(True, "", version).to_dict()
    stage.wire.strange[SOUTH] = answer_as(stage.south, said | lie)
    stage.publish("bolt")
    before, begun = rows(stage.centre.home), stage.clock.now
    stage.talk(200)
    minutes = (stage.clock.now - begun) / STILL.retry_seconds
    assert 1 < asked_of_south(stage, "query.deliver") <= minutes + 1
    assert rows(stage.centre.home) == before
    assert stage.held("north") == 2


def test_site_that_offers_what_was_judged_again_and_again(stage: Stage) -> None:
    first = stage.first
    old = Offer("rex", first.digest, 1, len(first.to_bytes()))
    said = SyncAnswer("south", (old,), 1, "").to_dict()
    stage.wire.strange[SOUTH] = answer_as(stage.south, said)
    begun, before = stage.clock.now, asked_of_south(stage, "query.sync")
    for _ in range(200):
        stage._talk.step()
        stage.clock.now += STILL.rest_seconds / 10
    pauses = (stage.clock.now - begun) / STILL.rest_seconds
    assert asked_of_south(stage, "query.sync") - before <= pauses + 1


class Doors(SuperLink):
    """Flower's commands, noted instead of run."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def flwr(self, *arguments: str, seconds: float = 0.0) -> dict[str, Any]:
        self.calls.append(arguments[1])
        return {"node-id": "1"}

    def certificate_stamp(self) -> int:
        return 0


@pytest.mark.parametrize("revoked", ["north", "south"])
def test_door_of_a_node_key_that_a_revoked_site_shares_stays_open(
    stage: Stage, tmp_path: Path, revoked: str
) -> None:
    """Registries of 0.1 may have such a pair; admission refuses it now."""
    north_node = stage.north.node_public_path.read_bytes()
    centre: Centre = stage.centre
    with centre.registry.membership._database.writing() as session:
        for row in session.query(SiteRow).filter_by(name="south"):
            row.node_key = north_node
    centre.registry.membership.revoke(revoked)
    doors, told = Doors(), list[Entry[CentreEvent]]()
    service = _Service(
        centre.home,
        ServeSettings(address="127.0.0.1:1", base="mini"),
        doors,
        JournalReader(stage.journal, CENTRE_EVENTS),
        told.append,
    )
    for _ in range(6):
        service._looked_at = float("-inf")
        service._keep_nodes()
    assert doors.calls == ["register"]
    assert [entry.kind for entry in told] == ["door-open"]
