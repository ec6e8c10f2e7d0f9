"""Keys that are nobody's, and one key in two spellings."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mos_client.store.home import SiteHome
from mos_protocol import EnrolmentRequest, MalformedError, Reason, VerifyKey, Welcome
from mos_protocol.encoding import armour
from mos_protocol.encoding.canonical import serialise, sha256
from mos_protocol.manifest_pb2 import Envelope, Request, Rotation
from mos_protocol.signed.envelope import REQUEST_TYPE, ROTATION_TYPE, seal
from mos_protocol.signed.keys import SigningKey
from mos_protocol.signed.statement import SignedStatement
from mos_server.errors import RegistryError
from tests.threats.stage import Stage, reason_of, rows

IDENTITY = (1).to_bytes(32, "little")
FORGED = IDENTITY + bytes(32)
"""R = the identity, S = 0: holds for any message, made without any key."""

P = 2**255 - 19
SIGN = bytes(31) + b"\x80"
EIGHTH = bytes.fromhex(
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
)
LOW_ORDER = {
    "order 1": IDENTITY,
    "order 2": (P - 1).to_bytes(32, "little"),
    "order 4": bytes(32),
    "order 4, other sign": SIGN,
    "order 8": EIGHTH,
    "order 8, other sign": EIGHTH[:31] + bytes([EIGHTH[31] | 0x80]),
    "order 8, other y": (P - int.from_bytes(EIGHTH, "little")).to_bytes(32, "little"),
}
SPELLINGS = {
    "order 1, sign of 0": IDENTITY[:31] + b"\x80",
    "y = p + 1": (P + 1).to_bytes(32, "little"),
    "y = p": P.to_bytes(32, "little"),
    "not on the curve": (2).to_bytes(32, "little"),
}


def test_anyone_signs_for_the_identity_point() -> None:
    """What the refusals below are for."""
    for message in (b"", b"send it", bytes(1000)):
        Ed25519PublicKey.from_public_bytes(IDENTITY).verify(FORGED, message)


@pytest.mark.parametrize("raw", LOW_ORDER.values(), ids=LOW_ORDER)
def test_point_of_low_order_is_no_key(raw: bytes) -> None:
    with pytest.raises(MalformedError, match="low order"):
        VerifyKey.from_raw(raw)


@pytest.mark.parametrize("raw", SPELLINGS.values(), ids=SPELLINGS)
def test_other_spelling_of_a_point_is_no_key(raw: bytes) -> None:
    with pytest.raises(MalformedError, match=r"low order|one encoding|of the Ed25519"):
        VerifyKey.from_raw(raw)


def test_keys_that_people_make_are_keys() -> None:
    for _ in range(50):
        key = SigningKey.generate().public
        assert VerifyKey.from_raw(key.raw) == key


def forged(payload: bytes, payload_type: str) -> bytes:
    """An envelope signed by nobody, in the identity point's name."""
    return serialise(
        Envelope(
            payload_type=payload_type,
            payload=payload,
            key_id=sha256(IDENTITY),
            signature=FORGED,
        )
    )


def test_enrolment_by_nobodys_key_is_refused() -> None:
    message = Request(
        schema=1, site="east", site_key=IDENTITY, node_key=b"k", created=1
    )
    content = forged(serialise(message), REQUEST_TYPE)
    with pytest.raises(MalformedError, match="low order"):
        EnrolmentRequest.verified(armour.wrap("MOS ENROLMENT REQUEST", content))


def test_change_to_nobodys_key_is_refused(stage: Stage) -> None:
    message = Rotation(
        schema=1,
        site="north",
        new_key=IDENTITY,
        counter=9,
        created=1,
        expires=2**33,
        new_signature=FORGED,
    )
    content = seal(serialise(message), ROTATION_TYPE, stage.north_key)
    told = stage.send(SignedStatement(content).to_bytes())
    assert reason_of(told) is Reason.MALFORMED
    assert "low order" in told.at_the_site


def test_welcome_that_trusts_nobodys_key_is_refused(stage: Stage) -> None:
    content = stage.south.welcome_path.read_bytes()
    message = armour.unwrap("MOS WELCOME", content, "a welcome")
    key = stage.centre.home.signing_key().public.raw
    changed = armour.wrap("MOS WELCOME", message.replace(key, IDENTITY))
    with pytest.raises(MalformedError, match="low order"):
        Welcome.from_bytes(changed)


def spelled(node_key: bytes) -> dict[str, bytes]:
    """The same node key as others would write it."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_ssh_public_key,
    )

    pem = load_ssh_public_key(node_key).public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    plain = node_key.strip()
    return {
        "no final newline": plain,
        "another comment": plain + b" me@elsewhere\n",
        "spaces": plain.replace(b" ", b"   "),
        "PEM": pem,
    }


@pytest.mark.parametrize(
    "spelling", ["no final newline", "another comment", "spaces", "PEM"]
)
def test_another_sites_node_key_in_another_spelling_is_refused(
    stage: Stage, tmp_path: Path, spelling: str
) -> None:
    node_key = spelled(stage.north.node_public_path.read_bytes())[spelling]
    home = SiteHome.open(tmp_path / "east", create=True)
    request = EnrolmentRequest.sign(
        site="east", key=home.signing_key(), node_key=node_key, created=1
    )
    before = rows(stage.centre.home)
    with pytest.raises(RegistryError, match="node key is already site 'north'"):
        stage.centre.registry.membership.admit(
            request.site, request.site_key, request.node_key
        )
    assert rows(stage.centre.home) == before


def test_node_key_that_nobody_can_show_is_refused(stage: Stage) -> None:
    before = rows(stage.centre.home)
    with pytest.raises(RegistryError, match="not readable"):
        stage.centre.registry.membership.admit(
            "east", SigningKey.generate().public, b"ecdsa-sha2-nistp384 AAAA"
        )
    assert rows(stage.centre.home) == before
