"""Attacks on the centre: each is refused for its reason, and nothing moves."""

import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from mos_protocol import (
    AdmissionError,
    AdmissionLimits,
    Bundle,
    KnownSite,
    Reason,
    seal,
)
from mos_protocol.encoding.canonical import sha256
from mos_protocol.signed.blob import BUNDLE_MAGIC
from mos_protocol.signed.envelope import BUNDLE_TYPE
from tests.protocol.simulator import (
    CENTRE_KEY,
    NOW,
    SITE_KEY,
    STRANGER_KEY,
    WEEK,
    Centre,
    bundle,
    concept,
    forged_bundle,
    key_number,
    release,
    rewritten,
    small_inventory,
)
from tests.support.concepts import random_concept

PROJECTION = "text_encoder.encoder.layers.0.self_attn.q_proj"
WORD = "embeddings.text_encoder.00"
Refuses = Callable[..., str]


@pytest.fixture
def centre() -> Centre:
    """A centre that has admitted bundle 5 of the site."""
    found = Centre()
    found.receive(bundle(counter=5).to_bytes())
    return found


@pytest.fixture
def refuses(centre: Centre) -> Refuses:
    """Asserts that a blob is refused for a reason and that nothing moved."""

    def check(reason: Reason, content: bytes, now: int = NOW) -> str:
        before = centre.state()
        with pytest.raises(AdmissionError) as refusal:
            centre.receive(content, now=now)
        assert refusal.value.reason is reason, refusal.value
        assert centre.state() == before
        text = str(refusal.value)
        assert text
        assert "\n" not in text
        return text

    return check


def test_honest_bundle_is_admitted(centre: Centre) -> None:
    sent = bundle(counter=6)
    admitted = centre.receive(sent.to_bytes())
    assert admitted.bundle == sent
    assert admitted.facts == sent.verified(SITE_KEY.public)
    assert admitted.site.counter == 5
    assert centre.admitted[-1] == sent.digest


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_admitted(centre: Centre, dtype: str) -> None:
    half = random_concept(small_inventory(), rank=2, dtype=getattr(torch, dtype))
    centre.receive(bundle(half.to_bytes(), counter=6).to_bytes())


def test_arbitrary_bundle_is_refused(refuses: Refuses) -> None:
    stranger = bundle(counter=6, key=STRANGER_KEY)
    assert STRANGER_KEY.public.short in refuses(
        Reason.UNKNOWN_SIGNER, stranger.to_bytes()
    )


def test_strangers_signature_under_a_known_key_id_is_refused(refuses: Refuses) -> None:
    signed = bundle(counter=6, key=STRANGER_KEY)
    renamed = signed.envelope.replace(
        STRANGER_KEY.public.key_id.encode(), SITE_KEY.public.key_id.encode()
    )
    refuses(Reason.BAD_SIGNATURE, Bundle(renamed, signed.payload).to_bytes())


def test_wrong_base_is_refused_with_both_names(refuses: Refuses) -> None:
    other = concept(base="ef" * 32).to_bytes()
    text = refuses(Reason.WRONG_BASE, bundle(other, counter=6).to_bytes())
    assert "efefefefefef" in text
    assert "abababababab (small)" in text


def test_unknown_signer_is_refused_though_another_site_is_known(
    centre: Centre, refuses: Refuses
) -> None:
    other = key_number(4)
    centre.sites[other.public.key_id] = KnownSite("south", other.public, False, 0)
    refuses(Reason.UNKNOWN_SIGNER, bundle(counter=6, key=CENTRE_KEY).to_bytes())


def test_bundle_in_another_sites_name_is_refused(
    centre: Centre, refuses: Refuses
) -> None:
    other = key_number(4)
    centre.sites[other.public.key_id] = KnownSite("south", other.public, False, 0)
    refuses(Reason.UNKNOWN_SIGNER, bundle(counter=6, key=other).to_bytes())


def test_revoked_signer_is_refused(centre: Centre, refuses: Refuses) -> None:
    known = centre.sites[SITE_KEY.public.key_id]
    centre.sites[SITE_KEY.public.key_id] = replace(known, revoked=True)
    assert "north" in refuses(Reason.REVOKED_SIGNER, bundle(counter=6).to_bytes())


def test_replayed_bundle_is_refused(refuses: Refuses) -> None:
    refuses(Reason.REPLAYED, bundle(counter=5).to_bytes())


def test_counter_used_twice_is_refused(refuses: Refuses) -> None:
    refuses(Reason.REPLAYED, bundle(concept("bolt").to_bytes(), counter=5).to_bytes())


def test_rolled_back_bundle_is_refused(refuses: Refuses) -> None:
    refuses(Reason.ROLLED_BACK, bundle(counter=4).to_bytes())


def test_fast_forward_is_refused(refuses: Refuses) -> None:
    step = AdmissionLimits().max_counter_step
    refuses(Reason.FAST_FORWARD, bundle(counter=5 + step + 1).to_bytes())
    refuses(Reason.FAST_FORWARD, bundle(counter=2**64 - 1).to_bytes())


def test_frozen_bundle_is_refused_once_it_expired(refuses: Refuses) -> None:
    sent = bundle(counter=6).to_bytes()
    refuses(Reason.EXPIRED, sent, now=NOW + WEEK)


def test_bundle_from_the_future_is_refused(refuses: Refuses) -> None:
    refuses(Reason.EXPIRED, bundle(counter=6, created=NOW + 3600).to_bytes())


def test_endless_lifetime_is_refused(refuses: Refuses) -> None:
    refuses(Reason.OUT_OF_BOUNDS, bundle(counter=6, expires=2**62).to_bytes())


def test_payload_of_another_bundle_is_refused(refuses: Refuses) -> None:
    one, other = bundle(counter=6), bundle(concept("bolt").to_bytes(), counter=7)
    refuses(Reason.TAMPERED, Bundle(one.envelope, other.payload).to_bytes())


def test_file_that_says_otherwise_than_its_manifest_is_refused(
    refuses: Refuses,
) -> None:
    text = refuses(
        Reason.MIX_AND_MATCH,
        forged_bundle(
            bundle(counter=6), concept().to_bytes(), class_word="dog"
        ).to_bytes(),
    )
    assert "class_word" in text


def test_endless_data_is_refused_before_it_is_looked_at(refuses: Refuses) -> None:
    limit = AdmissionLimits().max_bundle_bytes
    refuses(Reason.TOO_LARGE, BUNDLE_MAGIC + bytes(limit))


def test_envelope_that_claims_endless_data_is_refused(refuses: Refuses) -> None:
    refuses(Reason.MALFORMED, BUNDLE_MAGIC + struct.pack("<I", 2**32 - 1) + bytes(99))


def test_data_behind_the_payload_is_refused(refuses: Refuses) -> None:
    refuses(Reason.TAMPERED, bundle(counter=6).to_bytes() + b"more")


def test_tampered_tensor_is_refused(refuses: Refuses) -> None:
    sent = bundle(counter=6)
    changed = rewritten(sent.payload, {WORD: np.full((2, 4), 0.5, "<f4")})
    assert len(changed) == len(sent.payload)
    refuses(Reason.TAMPERED, Bundle(sent.envelope, changed).to_bytes())


def test_payload_of_another_size_than_signed_is_refused(refuses: Refuses) -> None:
    sent = bundle(counter=6)
    forged = forged_bundle(sent, sent.payload, payload_bytes=len(sent.payload) + 1)
    refuses(Reason.TAMPERED, forged.to_bytes())


def test_tensor_with_another_digest_than_signed_is_refused(refuses: Refuses) -> None:
    sent = bundle(counter=6)
    changed = rewritten(sent.payload, {WORD: np.full((2, 4), 0.5, "<f4")})
    digest = bytes.fromhex(sha256(changed))
    forged = forged_bundle(sent, changed, payload_sha256=digest)
    assert WORD in refuses(Reason.TAMPERED, forged.to_bytes())


def test_flipped_bit_anywhere_is_refused(centre: Centre) -> None:
    sent = bundle(counter=6).to_bytes()
    before = centre.state()
    for position in range(0, len(sent), 3):
        flipped = bytearray(sent)
        flipped[position] ^= 1 << (position % 8)
        with pytest.raises(AdmissionError):
            centre.receive(bytes(flipped))
    assert centre.state() == before
    centre.receive(sent)


def test_cut_bundle_is_refused_at_every_length(centre: Centre) -> None:
    sent = bundle(counter=6).to_bytes()
    before = centre.state()
    for length in range(0, len(sent), 17):
        with pytest.raises(AdmissionError):
            centre.receive(sent[:length])
    assert centre.state() == before


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [WORD, f"{PROJECTION}.lora_B.weight"])
def test_value_that_is_no_number_is_refused(
    refuses: Refuses, name: str, value: float
) -> None:
    shape = (2, 4) if name == WORD else (4, 2)
    array = np.zeros(shape, "<f4")
    array[1, 1] = value
    sent = bundle(rewritten(concept().to_bytes(), {name: array}), counter=6)
    assert name in refuses(Reason.NOT_FINITE, sent.to_bytes())


@pytest.mark.parametrize("bits", [0x7E00, 0x7C01, 0xFC00])
def test_half_that_is_no_number_is_refused(refuses: Refuses, bits: int) -> None:
    array = np.full((2, 4), bits, "<u2").view("<f2")
    sent = bundle(rewritten(concept().to_bytes(), {WORD: array}), counter=6)
    refuses(Reason.NOT_FINITE, sent.to_bytes())


@pytest.mark.parametrize("size", [1e3, 3e38])
def test_oversized_update_is_refused(refuses: Refuses, size: float) -> None:
    arrays = {
        f"{PROJECTION}.lora_A.weight": np.full((2, 4), size, "<f4"),
        f"{PROJECTION}.lora_B.weight": np.full((4, 2), size, "<f4"),
    }
    sent = bundle(rewritten(concept().to_bytes(), arrays), counter=6)
    assert PROJECTION in refuses(Reason.OUT_OF_BOUNDS, sent.to_bytes())


def test_update_that_stretches_one_direction_is_refused(refuses: Refuses) -> None:
    down, up = np.zeros((2, 4), "<f4"), np.zeros((4, 2), "<f4")
    down[0, 0], up[0, 0] = 6.0, 6.0
    arrays = {f"{PROJECTION}.lora_A.weight": down, f"{PROJECTION}.lora_B.weight": up}
    sent = bundle(rewritten(concept().to_bytes(), arrays), counter=6)
    loose = Centre(AdmissionLimits(max_update_gain=1e6))
    with pytest.raises(AdmissionError, match="stretches 18 times"):
        loose.receive(sent.to_bytes())
    refuses(Reason.OUT_OF_BOUNDS, sent.to_bytes())


def test_update_that_is_large_in_many_directions_is_refused(refuses: Refuses) -> None:
    arrays = {
        f"{PROJECTION}.lora_A.weight": 5 * np.eye(2, 4, dtype="<f4"),
        f"{PROJECTION}.lora_B.weight": 5 * np.eye(4, 2, dtype="<f4"),
    }
    sent = bundle(rewritten(concept().to_bytes(), arrays), counter=6)
    text = refuses(Reason.OUT_OF_BOUNDS, sent.to_bytes())
    assert "17.7 times the norm" in text


def test_oversized_embedding_is_refused(refuses: Refuses) -> None:
    rows = np.zeros((2, 4), "<f4")
    rows[1] = 11.0
    sent = bundle(rewritten(concept().to_bytes(), {WORD: rows}), counter=6)
    assert WORD in refuses(Reason.OUT_OF_BOUNDS, sent.to_bytes())


def test_excessive_rank_is_refused(centre: Centre, refuses: Refuses) -> None:
    centre.limits = AdmissionLimits(max_rank=1)
    refuses(Reason.OUT_OF_BOUNDS, bundle(counter=6).to_bytes())


def test_missing_tensor_is_refused(refuses: Refuses) -> None:
    payload = rewritten(concept().to_bytes(), {}, without=WORD)
    assert WORD in refuses(
        Reason.WRONG_INVENTORY, bundle(payload, counter=6).to_bytes()
    )


def test_surplus_tensor_is_refused(refuses: Refuses) -> None:
    payload = rewritten(concept().to_bytes(), {"pictures": np.zeros((8, 8), "<f4")})
    assert "pictures" in refuses(
        Reason.WRONG_INVENTORY, bundle(payload, counter=6).to_bytes()
    )


def test_wrong_shape_is_refused(refuses: Refuses) -> None:
    payload = rewritten(concept().to_bytes(), {WORD: np.zeros((2, 5), "<f4")})
    refuses(Reason.WRONG_INVENTORY, bundle(payload, counter=6).to_bytes())


def test_another_rank_than_signed_is_refused(refuses: Refuses) -> None:
    sent = bundle(counter=6)
    refuses(
        Reason.WRONG_INVENTORY, forged_bundle(sent, sent.payload, rank=3).to_bytes()
    )


def test_header_that_lies_about_offsets_is_refused(refuses: Refuses) -> None:
    sent = bundle(counter=6)
    length = int.from_bytes(sent.payload[:8], "little")
    text = sent.payload[8 : 8 + length]
    lying = text.replace(b'"data_offsets":[0,', b'"data_offsets":[4,', 1)
    assert lying != text
    payload = sent.payload[:8] + lying + sent.payload[8 + length :]
    forged = forged_bundle(sent, payload, payload_sha256=bytes.fromhex(sha256(payload)))
    refuses(Reason.MALFORMED, forged.to_bytes())


def test_release_shown_as_a_bundle_is_refused(centre: Centre, refuses: Refuses) -> None:
    shown = release(key=SITE_KEY)
    refuses(Reason.WRONG_KIND, shown.to_bytes())
    refuses(Reason.WRONG_KIND, Bundle(shown.envelope, shown.payload).to_bytes())


def test_release_relabelled_as_a_bundle_is_refused(refuses: Refuses) -> None:
    shown = release(key=SITE_KEY)
    relabelled = shown.envelope.replace(b"show.release+", b"show.bundle+")
    # One byte shorter: the length of the first field, the type, with it.
    relabelled = relabelled[:1] + bytes([relabelled[1] - 1]) + relabelled[2:]
    refuses(Reason.BAD_SIGNATURE, Bundle(relabelled, shown.payload).to_bytes())


def test_signed_nonsense_is_refused(refuses: Refuses) -> None:
    nonsense = Bundle(seal(b"\xff" * 20, BUNDLE_TYPE, SITE_KEY), b"")
    refuses(Reason.MALFORMED, nonsense.to_bytes())


def test_manifest_of_a_later_schema_is_refused(refuses: Refuses) -> None:
    sent = bundle(counter=6)
    forged = forged_bundle(sent, sent.payload, schema=2)
    assert "schema 2" in refuses(Reason.MALFORMED, forged.to_bytes())


@pytest.mark.parametrize("licence", ["\x1b[2Jgone", "x" * 257])
def test_text_that_would_garble_a_terminal_is_refused(
    refuses: Refuses, licence: str
) -> None:
    sent = bundle(counter=6)
    refuses(
        Reason.MALFORMED,
        forged_bundle(sent, sent.payload, licence=licence).to_bytes(),
    )


def test_first_rule_broken_gives_the_reason(centre: Centre, refuses: Refuses) -> None:
    """Everything is wrong with it; only what was checked so far is told."""
    wrong = bundle(concept(base="ef" * 32).to_bytes(), counter=4, expires=NOW - 1)
    refuses(Reason.EXPIRED, wrong.to_bytes())
    refuses(Reason.ROLLED_BACK, wrong.to_bytes(), now=NOW - 2)
    known = centre.sites[SITE_KEY.public.key_id]
    centre.sites[SITE_KEY.public.key_id] = replace(known, revoked=True)
    refuses(Reason.REVOKED_SIGNER, wrong.to_bytes())
