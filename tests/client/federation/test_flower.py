"""The site's ClientApp: what it answers, and what never leaves the site."""

import json
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message

from mos_client.federation.events import SITE_EVENTS
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_client.store.releases import ReleaseStore
from mos_model.bases.inventory import Inventory, layer_names
from mos_protocol.encoding.canonical import parse
from mos_protocol.encoding.tensors import read_table
from mos_protocol.flower_records import blob_of
from mos_protocol.manifest_pb2 import Answer
from mos_protocol.messages import (
    ACTIONS,
    BLOB_KEY,
    ENVELOPE_KEY,
    CollectAsk,
    DeliverAnswer,
    PlainDict,
    SyncAnswer,
    SyncAsk,
    TuneAnswer,
    TuneAsk,
    Verdict,
)
from mos_protocol.signed.bundle import Bundle
from mos_protocol.signed.envelope import open_envelope
from mos_runtime.journal import JournalReader
from tests.support.concepts import random_concept
from tests.support.pictures import save_pictures
from tests.support.sites import Centre
from tests.support.wire import ask, said

SYNC = SyncAsk(0.0, (), 0)
SITE_SAYS = {
    *("site", "release-version", "release-digest"),
    *("offer-concepts", "offer-digests", "offer-counters", "offer-bytes"),
    *("accepted", "reason", "version", "error", "later"),
}
ANSWER_SAYS = {"schema", "call_sha256", "values", "blob_sha256"}
CONCEPT_SAYS = {
    *("alpha", "base", "class_word", "format", "licence", "name", "rank", "trigger"),
}


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre.at(tmp_path / "centre")


@pytest.fixture
def home(tmp_path: Path, centre: Centre) -> SiteHome:
    made = SiteHome.open(tmp_path / "private-folder", create=True)
    centre.enrol(made, "north")
    return made


def put(home: SiteHome, centre: Centre, name: str = "rex") -> Bundle:
    content = random_concept(centre.inventory, name).to_bytes()
    return Bundle.read(Outbox(home).put(content, "north").path)


def everything_in(message: Message) -> list[tuple[str, str, Any]]:
    """(record, key, value) of all that a message's content holds."""
    return [
        (record_name, key, value)
        for record_name, record in message.content.items()
        for key, value in record.items()
    ]


def test_only_manifest_signature_and_listed_tensors_leave_a_site(
    home: SiteHome, centre: Centre
) -> None:
    pictures = save_pictures(home.folder / "pictures")
    (pictures / "0.txt").write_text("a secret caption")
    bundle = put(home, centre)
    asks: list[tuple[str, PlainDict, bytes | None]] = [
        ("query.sync", SYNC.to_dict(), None),
        ("query.collect", CollectAsk(bundle.digest).to_dict(), None),
        ("query.collect", CollectAsk("00" * 32).to_dict(), None),
        ("query.deliver", {}, b"not a release"),
        ("train.tune", TuneAsk(2, 0).to_dict(), None),
    ]
    assert {action for action, _, _ in asks} == set(ACTIONS)
    centre_key = centre.home.signing_key()
    answers = [ask(home, centre_key, *one) for one in asks]
    blobs = []
    for answer in answers:
        if answer.has_error():
            assert answer.error.reason in {"StoreError", "ReleaseError"}
            continue
        for record_name, key, value in everything_in(answer):
            if record_name == BLOB_KEY:
                assert isinstance(answer.content[BLOB_KEY], ArrayRecord)
                assert key == BLOB_KEY
                assert isinstance(value, Array)
                blobs.append(value.data)
                continue
            assert record_name == key == ENVELOPE_KEY
            assert isinstance(answer.content[ENVELOPE_KEY], ConfigRecord)
            assert set(said(answer)) <= SITE_SAYS
            assert {field.name for field, _ in answer_of(value)} <= ANSWER_SAYS
            assert b"private-folder" not in value
            assert str(pictures.parent.parent).encode() not in value
    assert blobs == [bundle.to_bytes()]
    left = Bundle.from_bytes(blobs[0], max_bytes=2**20)
    facts = left.verified(home.signing_key().public)
    assert [t.name for t in read_table(left.payload)] == [t.name for t in facts.tensors]
    assert {t.name for t in facts.tensors} == allowed_tensors(centre.inventory)
    assert concept_says(left.payload) == CONCEPT_SAYS
    assert b"secret" not in blobs[0]


def answer_of(envelope: bytes) -> list[tuple[Any, Any]]:
    """Every field of a site's answer."""
    sealed = open_envelope(envelope)
    return list(parse(Answer, sealed.payload, "an answer").ListFields())


def allowed_tensors(inventory: Inventory) -> set[str]:
    """Every name a concept's tensors may have, from the base alone."""
    lora = {
        f"{module}.lora_{side}.weight"
        for module in inventory.projections
        for side in "AB"
    }
    words = {
        f"embeddings.{encoder}.{layer}"
        for encoder in inventory.embedding_widths
        for layer in layer_names(inventory.layers)
    }
    return lora | words


def concept_says(payload: bytes) -> set[str]:
    """Every key of a concept file's metadata; there is nothing beside `mos`."""
    length = int.from_bytes(payload[:8], "little")
    metadata = json.loads(payload[8 : 8 + length])["__metadata__"]
    assert set(metadata) == {"mos"}
    return set(json.loads(metadata["mos"]))


def test_text_of_an_exception_stays_at_the_site(home: SiteHome, centre: Centre) -> None:
    asked = CollectAsk("00" * 32).to_dict()
    answer = ask(home, centre.home.signing_key(), "query.collect", asked)
    assert answer.has_error()
    assert answer.error.reason == "StoreError"
    events = JournalReader(home.flower / "journal.jsonl", SITE_EVENTS).new()
    assert [event.kind for event in events] == ["failed"]
    assert "not in the outbox" in events[0].facts["error"]


def test_bundle_can_be_collected_again_after_it_was_accepted(
    home: SiteHome, centre: Centre
) -> None:
    bundle = put(home, centre)
    verdict = Verdict(bundle.digest, True, "")
    told = SyncAsk(0.0, (verdict,), 0).to_dict()
    key = centre.home.signing_key()
    answer = SyncAnswer.from_dict(said(ask(home, key, "query.sync", told)))
    assert answer.offers == ()
    asked = CollectAsk(bundle.digest).to_dict()
    again = ask(home, key, "query.collect", asked)
    assert blob_of(again.content) == bundle.to_bytes()


def test_release_that_is_none_is_refused_and_the_reason_told(
    home: SiteHome, centre: Centre
) -> None:
    key = centre.home.signing_key()
    answer = ask(home, key, "query.deliver", blob=b"x" * 1000)
    told = DeliverAnswer.from_dict(said(answer))
    assert (told.accepted, told.reason, told.version) == (False, "malformed", 0)
    assert ReleaseStore(home).versions() == ()


def test_real_site_does_not_tune_because_a_centre_asks(
    home: SiteHome, centre: Centre, tmp_path: Path
) -> None:
    key, asked = centre.home.signing_key(), TuneAsk(1, 0).to_dict()
    # A centre may write what it likes into a run's configuration.
    answer = ask(
        home, key, "train.tune", asked, config={"simulation-dir": str(tmp_path)}
    )
    told = TuneAnswer.from_dict(said(answer))
    assert told.error == "this site does not tune on request"
    assert Outbox(home).entries() == ()


def test_malformed_question_is_answered_by_an_error_alone(
    home: SiteHome, centre: Centre
) -> None:
    key = centre.home.signing_key()
    answer = ask(home, key, "query.sync", {"wait-seconds": "for ever"})
    assert answer.has_error()
    assert answer.error.reason == "MalformedError"
