"""Calls and answers: all that a site acts on, and all that it says, is signed.

Flower checks who a message is for, not who it is from. So the centre signs every call
with its release key, and a site its answer with its own. A call is bound to

    the receiving node, the run, the action, a nonce, a time of expiry, its values, and
    the SHA-256 of the blob sent with it

and an answer to the SHA-256 of the call, its values and its blob. The order is part of
the rules; the first one broken gives the reason:

    envelope -> signer -> signature and kind -> node, run and action (of a call), the
    call (of an answer) -> lifetime -> blob -> values

The caller remembers nonces: a call is acted on once (`mos_client.store.calls`).
Nothing here reads a clock or a file.
"""

import json
import secrets
from dataclasses import dataclass
from typing import Any, Final

from mos_protocol.encoding.canonical import SCHEMA, digest_of, parse, serialise, sha256
from mos_protocol.errors import CallError, MalformedError, Reason, SignatureError
from mos_protocol.manifest_pb2 import Answer as AnswerMessage
from mos_protocol.manifest_pb2 import Call as CallMessage
from mos_protocol.messages import PlainDict
from mos_protocol.signed.envelope import ANSWER_TYPE, CALL_TYPE, open_envelope, seal
from mos_protocol.signed.keys import SigningKey, VerifyKey
from mos_protocol.signed.succession import successor

MAX_CLOCK_SKEW_SECONDS: Final = 600
"""How far the centre's clock and a site's may differ."""

_NONCE_BYTES: Final = 16


@dataclass(frozen=True)
class Address:
    """Where a call belongs, in Flower's terms."""

    node: int
    run: int
    action: str


@dataclass(frozen=True)
class SignedCall:
    """A call on its way out."""

    envelope: bytes
    digest: str
    """SHA-256 of what was signed, which the answer must name."""


@dataclass(frozen=True)
class Call:
    """A call that was verified."""

    digest: str
    """SHA-256 of what was signed, for the answer."""

    nonce: str
    """Hexadecimal; never acted on twice."""

    created: int
    """When the centre signed it, Unix time in seconds."""

    expires: int
    """Unix time, seconds."""

    values: PlainDict


def sign_call(
    to: Address,
    values: PlainDict | None,
    blob: bytes | None,
    *,
    key: SigningKey,
    endorsements: tuple[bytes, ...] = (),
    created: int,
    expires: int,
) -> SignedCall:
    """What the centre asks of one node.

    Args:
        to: The only node, run and action that it counts for.
        values: An ask's dictionary.
        blob: What travels with it.
        key: The centre's.
        endorsements: How the centre's earlier keys lead to this one.
        created: Now, Unix time in seconds.
        expires: Unix time in seconds.
    """
    content = serialise(
        CallMessage(
            schema=SCHEMA,
            node=to.node,
            run=to.run,
            action=to.action,
            nonce=secrets.token_bytes(_NONCE_BYTES),
            created=created,
            expires=expires,
            values=_to_text(values or {}),
            blob_sha256=_digest(blob),
        )
    )
    envelope = seal(content, CALL_TYPE, key, endorsements=endorsements)
    return SignedCall(envelope, sha256(content))


def open_call(
    envelope: bytes, blob: bytes | None, *, at: Address, trusted: VerifyKey, now: int
) -> Call:
    """What the centre asks, once it is certain that the centre asks it of this node.

    Args:
        envelope: As it came.
        blob: What came with it.
        at: This node, this run, and the action that is to be done.
        trusted: The centre's key, as far as this site knows.
        now: Unix time, seconds.

    Raises:
        CallError: a rule is broken; nothing may be done.
    """
    try:
        sealed = open_envelope(envelope, endorsed=True)
        key = successor(trusted, sealed.key_id, sealed.endorsements)
    except (MalformedError, SignatureError) as error:
        malformed = isinstance(error, MalformedError)
        reason = Reason.MALFORMED if malformed else Reason.UNKNOWN_SIGNER
        raise CallError(reason, str(error)) from error
    try:
        found = parse(CallMessage, sealed.verify(key, CALL_TYPE), "a call")
    except (MalformedError, SignatureError) as error:
        raise _refusal(error) from error
    if len(found.nonce) != _NONCE_BYTES:
        raise CallError(Reason.MALFORMED, f"a nonce has {_NONCE_BYTES} bytes")
    signed_for = Address(found.node, found.run, found.action)
    if signed_for != at:
        raise CallError(
            Reason.MISDIRECTED, f"signed for {signed_for}, but shown to {at}"
        )
    skew = MAX_CLOCK_SKEW_SECONDS
    if not found.created - skew <= now <= found.expires + skew:
        raise CallError(
            Reason.EXPIRED,
            f"signed for the time from {found.created} to {found.expires}, and it is "
            f"{now}; either the call was held back, or a clock is wrong",
        )
    _check_blob(blob, found.blob_sha256)
    digest, nonce = sha256(sealed.payload), found.nonce.hex()
    made = (found.created, found.expires)
    return Call(digest, nonce, *made, _from_text(found.values))


def sign_answer(
    call: Call, values: PlainDict | None, blob: bytes | None, *, key: SigningKey
) -> bytes:
    """The envelope of what a site answers to a call."""
    message = AnswerMessage(
        schema=SCHEMA,
        call_sha256=bytes.fromhex(call.digest),
        values=_to_text(values or {}),
        blob_sha256=_digest(blob),
    )
    return seal(serialise(message), ANSWER_TYPE, key)


def open_answer(
    envelope: bytes, blob: bytes | None, *, call: str, key: VerifyKey
) -> PlainDict:
    """The values of an answer that `key` gave to a call.

    Args:
        envelope: As it came.
        blob: What came with it.
        call: `SignedCall.digest` of the call.
        key: The site's.

    Raises:
        CallError: a rule is broken.
    """
    try:
        content = open_envelope(envelope).verify(key, ANSWER_TYPE)
        found = parse(AnswerMessage, content, "an answer")
        answered = digest_of(found.call_sha256, "call")
    except (MalformedError, SignatureError) as error:
        raise _refusal(error) from error
    if answered != call:
        raise CallError(Reason.MISDIRECTED, "the answer is to another call")
    _check_blob(blob, found.blob_sha256)
    return _from_text(found.values)


def signer_of(envelope: bytes) -> str:
    """Id of the key that claims to have signed an answer; nothing is verified.

    Raises:
        CallError: it is not an envelope.
    """
    try:
        return open_envelope(envelope).key_id
    except MalformedError as error:
        raise _refusal(error) from error


def _refusal(error: MalformedError | SignatureError) -> CallError:
    if isinstance(error, MalformedError):
        return CallError(Reason.MALFORMED, str(error))
    return CallError(Reason.BAD_SIGNATURE, str(error))


def _check_blob(blob: bytes | None, signed: bytes) -> None:
    if _digest(blob) != signed:
        raise CallError(
            Reason.TAMPERED, "the blob is not the one that the envelope was signed for"
        )


def _digest(blob: bytes | None) -> bytes:
    return b"" if blob is None else bytes.fromhex(sha256(blob))


def _to_text(values: PlainDict) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _from_text(text: str) -> PlainDict:
    try:
        values: Any = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        words = f"the values are no JSON: {type(error).__name__}"
        raise CallError(Reason.MALFORMED, words) from error
    if not isinstance(values, dict):
        raise CallError(Reason.MALFORMED, "the values are no JSON object")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
