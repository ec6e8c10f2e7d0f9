"""The signed envelope: one payload, what it is, and an Ed25519 signature over both.

The signature covers DSSE's pre-authentication encoding (secure-systems-lab/dsse, v1)

    PAE(type, payload) = "DSSEv1" SP len(type) SP type SP len(payload) SP payload

so that a release can never pass as a bundle, whatever its bytes. The envelope is
verified before anything in its payload is read. The key id is only a hint which key to
try: whoever changes it makes the signature fail.

What the centre signs, releases and calls, may carry endorsements, by which its earlier
keys name the one that signed (`mos_protocol.signed.succession`). They are envelopes of
their own; a release's manifest holds their digest. No other envelope has any.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mos_protocol.encoding.canonical import (
    checked_digits,
    checked_text,
    parse,
    serialise,
)
from mos_protocol.errors import MalformedError, SignatureError
from mos_protocol.manifest_pb2 import Envelope
from mos_protocol.signed.keys import SigningKey, VerifyKey

BUNDLE_TYPE: Final = "application/vnd.mix-of-show.bundle+protobuf"
RELEASE_TYPE: Final = "application/vnd.mix-of-show.release+protobuf"
REQUEST_TYPE: Final = "application/vnd.mix-of-show.enrolment-request+protobuf"
WITHDRAWAL_TYPE: Final = "application/vnd.mix-of-show.withdrawal+protobuf"
ROTATION_TYPE: Final = "application/vnd.mix-of-show.key-rotation+protobuf"
CALL_TYPE: Final = "application/vnd.mix-of-show.call+protobuf"
ANSWER_TYPE: Final = "application/vnd.mix-of-show.answer+protobuf"
ENDORSEMENT_TYPE: Final = "application/vnd.mix-of-show.key-endorsement+protobuf"

MAX_ENVELOPE_BYTES: Final = 4 * 2**20
"""An SDXL release of 14 concepts lists some 3,400 tensors in 0.5 MB."""

MAX_ENDORSEMENTS: Final = 64
"""Keys that one centre may have had before its present one."""

_SIGNATURE_BYTES: Final = 64
_MAX_TYPE_CHARACTERS: Final = 128


@dataclass(frozen=True)
class Sealed:
    """An envelope taken apart, and NOT verified: nothing in it is to be believed."""

    payload_type: str
    payload: bytes
    key_id: str
    """Which key claims to have signed, 64 hexadecimal digits."""

    signature: bytes
    endorsements: tuple[bytes, ...] = ()
    """Envelopes by which earlier keys of the signer name the next, oldest first."""

    def verify(self, key: VerifyKey, payload_type: str) -> bytes:
        """The payload, once `key` is seen to have signed it as `payload_type`.

        Raises:
            SignatureError: another key is named, it was signed as another type, or
                the signature does not hold.
        """
        if self.key_id != key.key_id:
            raise SignatureError(
                f"signed by key {self.key_id[:12]}, not by key {key.short}"
            )
        if self.payload_type != payload_type:
            raise SignatureError(
                f"signed as {self.payload_type!r}, not as {payload_type!r}"
            )
        key.verify(_encoding(payload_type, self.payload), self.signature)
        return self.payload


def seal(
    payload: bytes,
    payload_type: str,
    key: SigningKey,
    *,
    endorsements: Sequence[bytes] = (),
) -> bytes:
    """The envelope of `payload`; equal arguments give equal bytes."""
    return serialise(
        Envelope(
            payload_type=payload_type,
            payload=payload,
            key_id=key.public.key_id,
            signature=key.sign(_encoding(payload_type, payload)),
            endorsements=endorsements,
        )
    )


def open_envelope(content: bytes, *, endorsed: bool = False) -> Sealed:
    """The parts of an envelope, none of them verified.

    Args:
        content: The envelope.
        endorsed: Whether it may carry endorsements, as a release's and a call's do.

    Raises:
        MalformedError: not an envelope, or not one of that kind.
    """
    if len(content) > MAX_ENVELOPE_BYTES:
        raise MalformedError(
            f"not an envelope: {len(content)} bytes; an envelope has at most "
            f"{MAX_ENVELOPE_BYTES}"
        )
    envelope = parse(Envelope, content, "an envelope")
    if len(envelope.signature) != _SIGNATURE_BYTES:
        raise MalformedError("not an envelope: a signature has 64 bytes")
    most = MAX_ENDORSEMENTS if endorsed else 0
    if len(envelope.endorsements) > most:
        raise MalformedError(
            f"not an envelope: it has {len(envelope.endorsements)} endorsements; at "
            f"most {most} are read here"
        )
    return Sealed(
        payload_type=checked_text(
            envelope.payload_type, "payload type", max_characters=_MAX_TYPE_CHARACTERS
        ),
        payload=envelope.payload,
        key_id=checked_digits(envelope.key_id, "key id"),
        signature=envelope.signature,
        endorsements=tuple(envelope.endorsements),
    )


def _encoding(payload_type: str, payload: bytes) -> bytes:
    """DSSE's PAE."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
