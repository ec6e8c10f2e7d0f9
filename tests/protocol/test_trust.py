"""Attacks on a site: each is refused for its reason, and the held release stays."""

from collections.abc import Callable

import numpy as np
import pytest

from mos_protocol import (
    MalformedError,
    Reason,
    Release,
    ReleaseError,
    ReleaseLimits,
    seal,
)
from mos_protocol.encoding.canonical import sha256
from mos_protocol.signed.blob import RELEASE_MAGIC
from mos_protocol.signed.envelope import RELEASE_TYPE
from tests.protocol.simulator import (
    CENTRE_KEY,
    NOW,
    SITE_KEY,
    STRANGER_KEY,
    WEEK,
    Site,
    bundle,
    forged_release,
    fused,
    release,
    released,
    rewritten,
)

WORD = "concepts.north/rex.text_encoder.00"
PROJECTION = "text_encoder.encoder.layers.0.self_attn.q_proj"
Refuses = Callable[..., str]

FIRST = release()
SECOND = release(
    fused("rex", "bolt"),
    version=2,
    previous=FIRST.digest,
    concepts=[released("rex"), released("bolt")],
)


@pytest.fixture
def site() -> Site:
    """A site that holds the second release."""
    found = Site()
    found.take(FIRST.to_bytes())
    found.take(SECOND.to_bytes())
    return found


@pytest.fixture
def refuses(site: Site) -> Refuses:
    """Asserts that a blob is refused for a reason and that nothing moved."""

    def check(reason: Reason, content: bytes, now: int = NOW) -> str:
        before = site.held
        with pytest.raises(ReleaseError) as refusal:
            site.take(content, now=now)
        assert refusal.value.reason is reason, refusal.value
        assert site.held == before
        text = str(refusal.value)
        assert text
        assert "\n" not in text
        return text

    return check


def third(payload: bytes | None = None, **changes: object) -> Release:
    """An honest third release, or one with changes."""
    return release(payload, **({"version": 3, "previous": SECOND.digest} | changes))


def test_releases_are_taken_up_in_turn(site: Site) -> None:
    facts = site.take(third().to_bytes())
    assert facts.version == 3
    assert [concept.key for concept in facts.concepts] == ["north/rex"]
    assert site.held is not None
    assert site.held.digest == third().digest


def test_held_release_is_taken_up_again(site: Site) -> None:
    before = site.held
    site.take(SECOND.to_bytes())
    assert site.held == before


def test_site_that_was_away_may_skip_releases(site: Site) -> None:
    assert site.take(third(version=9, previous="ee" * 32).to_bytes()).version == 9


def test_arbitrary_release_is_refused(refuses: Refuses) -> None:
    refuses(Reason.UNKNOWN_SIGNER, third(key=STRANGER_KEY).to_bytes())
    refuses(Reason.UNKNOWN_SIGNER, third(key=SITE_KEY).to_bytes())


def test_strangers_signature_in_the_centres_name_is_refused(refuses: Refuses) -> None:
    signed = third(key=STRANGER_KEY)
    renamed = signed.envelope.replace(
        STRANGER_KEY.public.key_id.encode(), CENTRE_KEY.public.key_id.encode()
    )
    refuses(Reason.BAD_SIGNATURE, Release(renamed, signed.payload).to_bytes())


def test_release_for_a_wrong_base_is_refused(refuses: Refuses) -> None:
    other = third()
    text = refuses(
        Reason.WRONG_BASE,
        forged_release(other, other.payload, base="ef" * 32).to_bytes(),
    )
    assert "efefefefefef" in text


def test_rollback_to_an_older_release_is_refused(refuses: Refuses) -> None:
    refuses(Reason.ROLLED_BACK, FIRST.to_bytes())


def test_frozen_release_is_refused_once_it_expired(refuses: Refuses) -> None:
    refuses(Reason.EXPIRED, third().to_bytes(), now=NOW + WEEK)


def test_release_from_the_future_is_refused(refuses: Refuses) -> None:
    refuses(Reason.EXPIRED, third(created=NOW + 3600).to_bytes())


def test_fast_forward_is_refused(refuses: Refuses) -> None:
    refuses(Reason.FAST_FORWARD, third(version=2**63).to_bytes())


def test_second_release_of_the_held_version_is_refused(refuses: Refuses) -> None:
    other = release(version=2, previous=FIRST.digest)
    refuses(Reason.MIX_AND_MATCH, other.to_bytes())


def test_release_of_another_chain_is_refused(refuses: Refuses) -> None:
    refuses(Reason.MIX_AND_MATCH, third(previous=FIRST.digest).to_bytes())


def test_payload_of_another_release_is_refused(refuses: Refuses) -> None:
    refuses(Reason.TAMPERED, Release(third().envelope, SECOND.payload).to_bytes())


def test_file_that_holds_other_concepts_than_signed_is_refused(
    refuses: Refuses,
) -> None:
    signed = third()
    other = fused("bolt")
    forged = forged_release(
        signed,
        other,
        payload_sha256=bytes.fromhex(sha256(other)),
        payload_bytes=len(other),
    )
    refuses(Reason.TAMPERED, forged.to_bytes())


def test_file_with_other_words_than_signed_is_refused(refuses: Refuses) -> None:
    payload = third().payload.replace(
        b'\\"class_word\\":\\"cat\\"', b'\\"class_word\\":\\"dog\\"'
    )
    assert payload != third().payload
    forged = forged_release(
        third(), payload, payload_sha256=bytes.fromhex(sha256(payload))
    )
    refuses(Reason.MIX_AND_MATCH, forged.to_bytes())


def test_endless_data_is_refused_before_it_is_looked_at(
    site: Site, refuses: Refuses
) -> None:
    site.limits = ReleaseLimits(max_release_bytes=1000)
    refuses(Reason.TOO_LARGE, RELEASE_MAGIC + bytes(1000))


def test_tampered_tensor_is_refused(refuses: Refuses) -> None:
    sent = third()
    changed = rewritten(sent.payload, {WORD: np.full((2, 4), 0.5, "<f4")})
    assert len(changed) == len(sent.payload)
    refuses(Reason.TAMPERED, Release(sent.envelope, changed).to_bytes())


def test_flipped_bit_anywhere_is_refused(site: Site) -> None:
    sent = third().to_bytes()
    before = site.held
    for position in range(0, len(sent), 3):
        flipped = bytearray(sent)
        flipped[position] ^= 1 << (position % 8)
        with pytest.raises(ReleaseError):
            site.take(bytes(flipped))
    assert site.held == before
    site.take(sent)


def test_value_that_is_no_number_is_refused(refuses: Refuses) -> None:
    rows = np.full((2, 4), np.nan, "<f4")
    sent = third(rewritten(fused("rex"), {WORD: rows}))
    assert WORD in refuses(Reason.NOT_FINITE, sent.to_bytes())


def test_tensor_that_the_base_has_no_place_for_is_refused(refuses: Refuses) -> None:
    payload = rewritten(fused("rex"), {"code": np.zeros((1, 1), "<f4")})
    assert "code" in refuses(Reason.WRONG_INVENTORY, third(payload).to_bytes())


def test_factors_of_different_rank_sums_are_refused(refuses: Refuses) -> None:
    arrays = {f"{PROJECTION}.lora_B.weight": np.zeros((4, 3), "<f4")}
    payload = rewritten(fused("rex"), arrays)
    refuses(Reason.WRONG_INVENTORY, third(payload).to_bytes())


def test_release_without_factors_is_refused(refuses: Refuses) -> None:
    name = f"{PROJECTION}.lora_A.weight"
    payload = rewritten(fused("rex"), {}, without=name)
    assert name in refuses(Reason.WRONG_INVENTORY, third(payload).to_bytes())


def test_bundle_shown_as_a_release_is_refused(refuses: Refuses) -> None:
    shown = bundle(key=CENTRE_KEY)
    refuses(Reason.WRONG_KIND, shown.to_bytes())
    refuses(Reason.WRONG_KIND, Release(shown.envelope, shown.payload).to_bytes())


def test_signed_nonsense_is_refused(refuses: Refuses) -> None:
    nonsense = Release(seal(b"\xff" * 20, RELEASE_TYPE, CENTRE_KEY), b"")
    refuses(Reason.MALFORMED, nonsense.to_bytes())


def test_first_release_that_names_another_before_it_is_refused() -> None:
    with pytest.raises(MalformedError, match="version 1"):
        release(previous=FIRST.digest)
    with pytest.raises(MalformedError, match="version 1"):
        release(version=2)


def test_release_is_signed_only_with_the_concepts_it_holds() -> None:
    with pytest.raises(MalformedError, match="other concepts"):
        release(fused("rex", "bolt"))


def test_release_is_checked_without_a_base_at_hand() -> None:
    site = Site(knows_base=False)
    assert site.take(FIRST.to_bytes()).version == 1
    changed = Release(FIRST.envelope, FIRST.payload[:-1] + b"\x00")
    with pytest.raises(ReleaseError):
        Site(knows_base=False).take(changed.to_bytes())
