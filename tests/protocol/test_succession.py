"""A centre's new key: followed from any earlier one, and never back."""

import pytest

from mos_protocol import Reason, Release, ReleaseError
from mos_protocol.signed.keys import SigningKey
from mos_protocol.signed.succession import endorse
from tests.protocol.simulator import (
    CENTRE_KEY,
    NEW_KEY,
    NOW,
    STRANGER_KEY,
    Site,
    key_number,
    release,
)

THIRD_KEY = key_number(5)
FIRST = release()
TO_NEW = endorse(NEW_KEY.public, key=CENTRE_KEY, created=NOW)
TO_THIRD = endorse(THIRD_KEY.public, key=NEW_KEY, created=NOW)


def following(before: Release, key: SigningKey, *chain: bytes) -> Release:
    version = 2 if before is FIRST else 3
    return release(version=version, previous=before.digest, key=key, endorsements=chain)


SECOND = following(FIRST, NEW_KEY, TO_NEW)


def refused(site: Site, content: bytes) -> Reason:
    """Why a release is refused; nothing moved."""
    before = site.held, site.centre_key
    with pytest.raises(ReleaseError) as caught:
        site.take(content)
    assert (site.held, site.centre_key) == before
    return caught.value.reason


def test_site_follows_the_old_key_to_the_new_one_and_trusts_that_alone() -> None:
    site = Site()
    site.take(FIRST.to_bytes())
    site.take(SECOND.to_bytes())
    assert site.centre_key == NEW_KEY.public
    assert refused(site, following(SECOND, CENTRE_KEY).to_bytes()) == (
        Reason.UNKNOWN_SIGNER
    )
    site.take(following(SECOND, NEW_KEY, TO_NEW).to_bytes())


def test_site_that_missed_two_changes_follows_both() -> None:
    site = Site()
    site.take(FIRST.to_bytes())
    site.take(following(SECOND, THIRD_KEY, TO_NEW, TO_THIRD).to_bytes())
    assert site.centre_key == THIRD_KEY.public


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        ((), Reason.UNKNOWN_SIGNER),
        ((TO_THIRD,), Reason.UNKNOWN_SIGNER),
        ((TO_NEW, b"no envelope", TO_THIRD), Reason.MALFORMED),
        (
            (endorse(THIRD_KEY.public, key=STRANGER_KEY, created=NOW),),
            Reason.UNKNOWN_SIGNER,
        ),
    ],
)
def test_key_that_no_trusted_key_leads_to_is_refused(
    chain: tuple[bytes, ...], reason: Reason
) -> None:
    site = Site()
    site.take(FIRST.to_bytes())
    assert refused(site, following(FIRST, THIRD_KEY, *chain).to_bytes()) == reason


def test_endorsement_that_was_changed_is_refused_even_where_nobody_needs_it() -> None:
    site = Site(centre_key=NEW_KEY.public)
    flipped = bytes([*TO_NEW[:-1], TO_NEW[-1] ^ 1])
    content = SECOND.to_bytes()
    assert content.count(TO_NEW) == 1
    changed = content.replace(TO_NEW, flipped)
    assert refused(site, changed) == Reason.MALFORMED
    site.take(content)
