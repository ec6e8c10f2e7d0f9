"""Golden bytes of everything that is signed or handed over.

Stored files must stay readable for ever: a change of format gets new names here and
keeps the old files with their own reading test.
"""

import pytest

from mos_model.concepts.concept import (
    Concept,
    ConceptFacts,
    FusedConcept,
    FusedModel,
    LoraFactors,
)
from mos_protocol import Bundle, EnrolmentRequest, Release, Welcome, open_envelope, seal
from mos_protocol.messages import PlainDict
from mos_protocol.signed.call import (
    Address,
    Call,
    open_answer,
    open_call,
    sign_answer,
    sign_call,
)
from mos_protocol.signed.statement import SignedStatement
from mos_protocol.signed.succession import endorse, endorsed_key
from tests.conftest import Golden
from tests.protocol.simulator import (
    BASE,
    CENTRE_KEY,
    NEW_KEY,
    NOW,
    SITE_KEY,
    Centre,
    Site,
    bundle,
    counted,
    release,
    small_inventory,
)


def counted_lora(rank: int) -> dict[str, LoraFactors]:
    return {
        module: LoraFactors(counted((rank, d_in), 0.25), counted((d_out, rank), -0.5))
        for module, (d_out, d_in) in small_inventory().projections.items()
    }


def counted_bundle() -> Bundle:
    facts = ConceptFacts("rex", "cat", BASE, 2, "CC-BY-4.0")
    words = {"text_encoder": counted((2, 1, 4), 0.125)}
    return bundle(Concept(facts, counted_lora(2), words).to_bytes())


def counted_release() -> Release:
    words = {"text_encoder": counted((2, 1, 4), 0.125)}
    concepts = (FusedConcept("rex", "north", "cat", words),)
    return release(FusedModel(BASE, counted_lora(2), concepts).to_bytes())


def test_envelope_keeps_its_bytes(golden: Golden) -> None:
    content = seal(b"hello world", "http://example.com/HelloWorld", SITE_KEY)
    stored = golden("envelope-1.bin", content)
    assert content == stored
    sealed = open_envelope(stored)
    assert sealed.verify(SITE_KEY.public, sealed.payload_type) == b"hello world"


def test_bundle_keeps_its_bytes(golden: Golden) -> None:
    stored = golden("bundle-1.bin", counted_bundle().to_bytes())
    assert counted_bundle().to_bytes() == stored
    assert Centre().receive(stored).facts.concept == "rex"


def test_release_keeps_its_bytes(golden: Golden) -> None:
    stored = golden("release-1.bin", counted_release().to_bytes())
    assert counted_release().to_bytes() == stored
    assert Site().take(stored).version == 1


def test_enrolment_request_keeps_its_bytes(golden: Golden) -> None:
    request = EnrolmentRequest.sign(
        site="north", key=SITE_KEY, node_key=b"node key", created=NOW
    )
    stored = golden("request-1.txt", request.to_bytes())
    assert request.to_bytes() == stored
    assert EnrolmentRequest.verified(stored) == request


def test_welcome_keeps_its_bytes(golden: Golden) -> None:
    welcome = Welcome("[::1]:9092", b"certificate", CENTRE_KEY.public, "north", BASE)
    stored = golden("welcome-1.txt", welcome.to_bytes())
    assert welcome.to_bytes() == stored
    assert Welcome.from_bytes(stored) == welcome


def test_withdrawal_keeps_its_bytes(golden: Golden) -> None:
    signed = SignedStatement.sign_withdrawal(
        site="north", concept="rex", counter=7, key=SITE_KEY, created=NOW
    )
    stored = golden("withdrawal-1.bin", signed.to_bytes())
    assert signed.to_bytes() == stored
    assert SignedStatement.from_bytes(stored) == signed


def test_change_of_key_keeps_its_bytes(golden: Golden) -> None:
    signed = SignedStatement.sign_rotation(
        site="north", new_key=NEW_KEY, counter=7, key=SITE_KEY, created=NOW
    )
    stored = golden("rotation-1.bin", signed.to_bytes())
    assert signed.to_bytes() == stored
    assert SignedStatement.from_bytes(stored) == signed


def test_endorsement_keeps_its_bytes(golden: Golden) -> None:
    content = endorse(NEW_KEY.public, key=CENTRE_KEY, created=NOW)
    stored = golden("endorsement-1.bin", content)
    assert content == stored
    assert endorsed_key(stored, CENTRE_KEY.public) == NEW_KEY.public


def test_call_and_answer_keep_their_bytes(
    golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_bytes", lambda length: bytes(range(length)))
    at = Address(2**63, 7, "query.collect")
    values: PlainDict = {"digest": "ab" * 32}
    signed = sign_call(at, values, None, key=CENTRE_KEY, created=NOW, expires=NOW + 140)
    stored = golden("call-1.bin", signed.envelope)
    assert signed.envelope == stored
    call = open_call(stored, None, at=at, trusted=CENTRE_KEY.public, now=NOW)
    nonce = bytes(range(16)).hex()
    assert call == Call(signed.digest, nonce, NOW, NOW + 140, values)
    answer = sign_answer(call, None, b"a bundle", key=SITE_KEY)
    kept = golden("answer-1.bin", answer)
    assert answer == kept
    key = SITE_KEY.public
    assert open_answer(kept, b"a bundle", call=call.digest, key=key) == {}
