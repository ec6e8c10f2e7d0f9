"""Messages that are not the centre's, and answers that are not the site's.

Flower checks who a message is for, not who it is from: an admitted site can push a
message to another site's node in the SuperLink's name. These tests show such messages
to the real ClientApp, and such answers to the real conversation.
"""

from collections.abc import Callable
from typing import Any

import pytest
from flwr.app import Message

from mos_client.federation.events import SITE_EVENTS
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_protocol import SigningKey
from mos_protocol.messages import SyncAnswer, SyncAsk, TuneAsk, Verdict
from mos_protocol.signed.call import SignedCall
from mos_protocol.signed.envelope import CALL_TYPE, RELEASE_TYPE, open_envelope, seal
from mos_runtime.journal import JournalReader
from mos_server.federation.carrier import Reply
from mos_server.federation.events import CENTRE_EVENTS
from mos_server.registry.keychain import change_key, endorsements
from tests.support.disk import snapshot
from tests.support.wire import NODE, RUN, answer_as, call, said, show
from tests.threats.stage import Stage, rows

SYNC = SyncAsk(0.0, (), 1).to_dict()
HOUR = 3600


def state(home: SiteHome, but: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Every file of a site, but its journal and names that begin like `but`."""
    return {
        name: content
        for name, content in snapshot(home.folder).items()
        if not name.startswith(("flower/journal", *but))
    }


def refused(
    home: SiteHome,
    action: str,
    envelope: bytes,
    blob: bytes | None = None,
    *,
    but: tuple[str, ...] = (),
) -> str:
    """Show a site a call that it must not act on; the reason that its people read."""
    journal = home.flower / "journal.jsonl"
    before, reader = (
        state(home, but),
        JournalReader(journal, SITE_EVENTS, from_end=True),
    )
    answer: Message = show(home, action, envelope, blob)
    assert answer.has_error()
    assert answer.error.reason == "CallError"
    assert state(home, but) == before
    (event,) = reader.new()
    assert (event.kind, event.facts["action"]) == ("call-refused", action)
    return str(event.facts["reason"])


def rewritten(signed: SignedCall, old: bytes, new: bytes) -> bytes:
    """The envelope with bytes of its payload replaced by as many others."""
    assert len(old) == len(new)
    assert signed.envelope.count(old) == 1
    return signed.envelope.replace(old, new)


@pytest.fixture
def centre_key(stage: Stage) -> SigningKey:
    return stage.centre.home.signing_key()


def test_order_to_tune_by_another_site(stage: Stage) -> None:
    order = call(stage.north_key, "train.tune", TuneAsk(5, 0, 0, "rex").to_dict())
    reason = refused(stage.south, "train.tune", order.envelope)
    assert reason.startswith("unknown-signer: signed by key")
    assert stage.north_key.public.short in reason


def test_invented_verdict_by_another_site(stage: Stage) -> None:
    bundle = stage.put(stage.south, "luna")
    ask = SyncAsk(0.0, (Verdict(bundle.digest, False, "no"),), 0).to_dict()
    forged = call(stage.north_key, "query.sync", ask)
    reason = refused(stage.south, "query.sync", forged.envelope)
    assert reason.startswith("unknown-signer")
    assert [one.concept for one in Outbox(stage.south).entries()] == ["luna"]


def test_call_under_the_centres_key_id(stage: Stage, centre_key: SigningKey) -> None:
    thief = SigningKey.generate()
    forged = call(thief, "query.sync", SYNC).envelope.replace(
        thief.public.key_id.encode(), centre_key.public.key_id.encode()
    )
    assert refused(stage.south, "query.sync", forged).startswith("bad-signature")


def test_call_whose_values_were_changed(stage: Stage, centre_key: SigningKey) -> None:
    order = call(centre_key, "train.tune", TuneAsk(5, 0, 0, "rex").to_dict())
    changed = rewritten(order, b'"steps":5', b'"steps":9')
    assert refused(stage.south, "train.tune", changed).startswith("bad-signature")


@pytest.mark.parametrize(
    ("change", "of"),
    [({"node": NODE + 1}, "node"), ({"run": RUN + 1}, "run")],
    ids=["node", "run"],
)
def test_call_for_another_node_or_run(
    stage: Stage, centre_key: SigningKey, change: dict[str, int], of: str
) -> None:
    other = call(centre_key, "query.sync", SYNC, **change)  # type: ignore[arg-type]
    reason = refused(stage.south, "query.sync", other.envelope)
    assert reason.startswith("misdirected")
    assert f"{of}={change[of]}" in reason


def test_call_shown_as_another_action(stage: Stage, centre_key: SigningKey) -> None:
    asked = call(centre_key, "query.sync", TuneAsk(5, 0, 0, "rex").to_dict())
    reason = refused(stage.south, "train.tune", asked.envelope)
    assert reason.startswith("misdirected")


def test_call_shown_twice(stage: Stage, centre_key: SigningKey) -> None:
    asked = call(centre_key, "query.sync", SYNC)
    assert not show(stage.south, "query.sync", asked.envelope).has_error()
    reason = refused(stage.south, "query.sync", asked.envelope)
    assert reason == "replayed: this call was acted on before"


@pytest.mark.parametrize("created", [1, 2**33], ids=["expired", "of the future"])
def test_call_of_another_time(
    stage: Stage, centre_key: SigningKey, created: int
) -> None:
    asked = call(centre_key, "query.sync", SYNC, created=created)
    assert refused(stage.south, "query.sync", asked.envelope).startswith("expired")


def test_blob_that_the_call_was_not_signed_for(
    stage: Stage, centre_key: SigningKey
) -> None:
    release = stage.release("bolt").to_bytes()
    asked = call(centre_key, "query.deliver", {}, release)
    for other in (release[:-1] + bytes([release[-1] ^ 1]), None):
        reason = refused(stage.south, "query.deliver", asked.envelope, other)
        assert reason.startswith("tampered")


def test_release_shown_as_a_call(stage: Stage, centre_key: SigningKey) -> None:
    payload = open_envelope(call(centre_key, "query.sync", SYNC).envelope).payload
    shown = seal(payload, RELEASE_TYPE, centre_key)
    assert refused(stage.south, "query.sync", shown).startswith("bad-signature")


def test_call_of_any_bytes(stage: Stage, centre_key: SigningKey) -> None:
    assert refused(stage.south, "query.sync", b"\x00" * 99).startswith("malformed")
    nonsense = seal(b"\xff" * 99, CALL_TYPE, centre_key)
    assert refused(stage.south, "query.sync", nonsense).startswith("malformed")


def test_call_of_the_centres_former_key(stage: Stage, centre_key: SigningKey) -> None:
    home = stage.centre.home
    change_key(home, now=1)
    release = stage.release("bolt", endorsements=endorsements(home))
    new_key = home.signing_key().public
    stage.centre.registry.published.add(release, release.verified(new_key))
    stage.talk()
    assert stage.held("south") == 2
    late = call(centre_key, "query.sync", SYNC)
    assert refused(stage.south, "query.sync", late.envelope).startswith(
        "unknown-signer"
    )


def test_centre_that_changed_its_key_is_understood_before_any_release(
    stage: Stage,
) -> None:
    change_key(stage.centre.home, now=1)
    assert len(endorsements(stage.centre.home)) == 1
    bundle = stage.put(stage.south, "luna")
    stage.talk()
    assert [one.digest for one in Outbox(stage.south).sent()] == [bundle.digest]


def answered(stage: Stage, strange: Callable[[str, bytes], Reply]) -> str:
    """Let south answer the centre so; nothing may move. The centre's reason."""
    stage.put(stage.south, "luna")
    before = rows(stage.centre.home)
    events = JournalReader(stage.journal, CENTRE_EVENTS, from_end=True)
    stage.wire.strange[2] = strange
    stage.talk(4)
    del stage.wire.strange[2]
    assert rows(stage.centre.home) == before
    told = [one.facts for one in events.new() if one.kind == "failed"]
    assert {one["site"] for one in told} == {"south"}
    return str(told[-1]["reason"])


OFFERING = SyncAnswer("south", (), 7, "ab" * 32).to_dict()


def test_answer_signed_by_another_site(stage: Stage) -> None:
    reason = answered(stage, answer_as(stage.north, OFFERING))
    assert f"signed by key {stage.north_key.public.short}" in reason
    assert "the node of south enrolled with" in reason


def test_answer_to_another_call(stage: Stage, centre_key: SigningKey) -> None:
    other = call(centre_key, "query.sync", SYNC).envelope

    def late(message_id: str, _: bytes) -> Reply:
        return answer_as(stage.south, OFFERING)(message_id, other)

    assert answered(stage, late) == "the answer is to another call"


def test_answer_whose_blob_was_changed(stage: Stage) -> None:
    def swapped(message_id: str, envelope: bytes) -> Reply:
        signed = answer_as(stage.south, OFFERING, b"one")(message_id, envelope)
        return Reply(message_id, signed.envelope, b"two")

    assert "the blob is not the one" in answered(stage, swapped)


def test_answer_whose_values_were_changed(stage: Stage) -> None:
    def changed(message_id: str, envelope: bytes) -> Reply:
        signed = answer_as(stage.south, OFFERING)(message_id, envelope).envelope
        assert said(signed)["release-version"] == 7
        old, new = b'"release-version":7', b'"release-version":8'
        return Reply(message_id, signed.replace(old, new))

    assert "the signature does not hold" in answered(stage, changed)


@pytest.mark.parametrize(
    "facts", [{}, {"blob": b"x"}, {"envelope": b"{}"}], ids=["empty", "blob", "bytes"]
)
def test_answer_without_a_signature(stage: Stage, facts: dict[str, Any]) -> None:
    reason = answered(stage, lambda message_id, _: Reply(message_id, **facts))
    assert reason.startswith("not an envelope")
