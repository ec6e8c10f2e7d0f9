"""Withdrawals and changes of key: attacks on them are refused, each for its reason."""

from dataclasses import replace

import pytest

from mos_protocol import AdmissionError, KnownSite, Reason, SigningKey
from mos_protocol.encoding.canonical import serialise
from mos_protocol.manifest_pb2 import Rotation as RotationMessage
from mos_protocol.rules.statement_admission import AdmittedStatement, admit_statement
from mos_protocol.signed.blob import STATEMENT_MAGIC, join
from mos_protocol.signed.envelope import ROTATION_TYPE, seal
from mos_protocol.signed.statement import (
    STATEMENT_LIFETIME_SECONDS,
    Rotation,
    SignedStatement,
    Withdrawal,
)
from tests.protocol.simulator import NEW_KEY, NOW, SITE_KEY, STRANGER_KEY, bundle

SITE = KnownSite("north", SITE_KEY.public, revoked=False, counter=4)


def withdrawal(key: SigningKey = SITE_KEY, **changes: object) -> bytes:
    arguments: dict[str, object] = {
        "site": "north",
        "concept": "rex",
        "counter": 5,
        "created": NOW,
    }
    return SignedStatement.sign_withdrawal(
        key=key,
        **(arguments | changes),  # type: ignore[arg-type]
    ).to_bytes()


def rotation(**changes: object) -> bytes:
    arguments: dict[str, object] = {
        "site": "north",
        "new_key": NEW_KEY,
        "counter": 5,
        "created": NOW,
    }
    return SignedStatement.sign_rotation(
        key=SITE_KEY,
        **(arguments | changes),  # type: ignore[arg-type]
    ).to_bytes()


def admitted(
    content: bytes, site: KnownSite = SITE, now: int = NOW
) -> AdmittedStatement:
    return admit_statement(content, sites={site.key.key_id: site}, now=now)


def refused(content: bytes, site: KnownSite = SITE, now: int = NOW) -> Reason:
    with pytest.raises(AdmissionError) as caught:
        admitted(content, site, now)
    return caught.value.reason


def test_statements_of_an_enrolled_site_are_admitted() -> None:
    until = NOW + STATEMENT_LIFETIME_SECONDS
    assert admitted(withdrawal()).statement == Withdrawal("north", "rex", 5, NOW, until)
    assert admitted(rotation()).statement == Rotation(
        "north", NEW_KEY.public, 5, NOW, until
    )


def test_withdrawal_by_a_stranger_is_refused() -> None:
    assert refused(withdrawal(STRANGER_KEY)) == Reason.UNKNOWN_SIGNER


def test_withdrawal_in_the_name_of_another_site_is_refused() -> None:
    assert refused(withdrawal(site="south")) == Reason.UNKNOWN_SIGNER


def test_withdrawal_by_a_revoked_site_is_refused() -> None:
    assert refused(withdrawal(), replace(SITE, revoked=True)) == Reason.REVOKED_SIGNER


@pytest.mark.parametrize(
    ("counter", "reason"),
    [(4, Reason.REPLAYED), (3, Reason.ROLLED_BACK), (2000, Reason.FAST_FORWARD)],
)
def test_number_that_is_not_the_next_is_refused(counter: int, reason: Reason) -> None:
    assert refused(withdrawal(counter=counter)) == reason
    assert refused(rotation(counter=counter)) == reason


def test_statement_out_of_its_time_is_refused() -> None:
    assert refused(withdrawal(), now=NOW + STATEMENT_LIFETIME_SECONDS) == Reason.EXPIRED
    assert refused(withdrawal(created=NOW + 3600)) == Reason.EXPIRED


def test_flipped_bit_anywhere_in_a_statement_is_refused() -> None:
    for content in (withdrawal(), rotation()):
        for place in range(len(content)):
            changed = bytearray(content)
            changed[place] ^= 1
            refused(bytes(changed))


def test_statement_with_something_behind_it_is_refused() -> None:
    assert refused(withdrawal() + b"x") == Reason.MALFORMED
    assert refused(withdrawal() + bytes(8192)) == Reason.TOO_LARGE


def test_bundle_shown_as_a_statement_is_refused() -> None:
    shown = join(STATEMENT_MAGIC, bundle().envelope, b"")
    assert refused(shown) == Reason.MALFORMED


def test_new_key_that_its_holder_did_not_sign_is_refused() -> None:
    message = RotationMessage(
        schema=1,
        site="north",
        new_key=NEW_KEY.public.raw,
        counter=5,
        created=NOW,
        expires=NOW + 60,
    )
    message.new_signature = SITE_KEY.sign(serialise(message))
    envelope = seal(serialise(message), ROTATION_TYPE, SITE_KEY)
    assert refused(join(STATEMENT_MAGIC, envelope, b"")) == Reason.BAD_SIGNATURE
