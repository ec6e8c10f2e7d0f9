"""What a site signs besides bundles: a withdrawal, and a change of its key.

They take a number from the same row of counters as its bundles do, so each counts once
and in order, and they travel as bundles do: offered, collected, answered by a verdict.
`SignedStatement.from_bytes(s.to_bytes()) == s`. One in hand says nothing yet:
`verified` gives what was signed once the signature holds.
"""

from dataclasses import dataclass
from typing import Final

from mos_protocol.encoding.canonical import (
    SCHEMA,
    checked_word,
    parse,
    serialise,
    sha256,
)
from mos_protocol.errors import MalformedError, SignatureError
from mos_protocol.manifest_pb2 import Rotation as RotationMessage
from mos_protocol.manifest_pb2 import Withdrawal as WithdrawalMessage
from mos_protocol.signed import blob
from mos_protocol.signed.envelope import (
    ROTATION_TYPE,
    WITHDRAWAL_TYPE,
    Sealed,
    open_envelope,
    seal,
)
from mos_protocol.signed.keys import SigningKey, VerifyKey

STATEMENT_LIFETIME_SECONDS: Final = 90 * 24 * 3600
"""How long a statement may wait for the centre."""

MAX_STATEMENT_BYTES: Final = 4096


@dataclass(frozen=True)
class Withdrawal:
    """A site takes a concept of its own back."""

    site: str
    concept: str
    counter: int
    created: int
    """Unix time, seconds."""

    expires: int
    """Unix time, seconds."""


@dataclass(frozen=True)
class Rotation:
    """A site signs with another key from now on."""

    site: str
    new_key: VerifyKey
    counter: int
    created: int
    """Unix time, seconds."""

    expires: int
    """Unix time, seconds."""


Statement = Withdrawal | Rotation


@dataclass(frozen=True)
class SignedStatement:
    """An envelope around a statement."""

    envelope: bytes

    @staticmethod
    def sign_withdrawal(
        *, site: str, concept: str, counter: int, key: SigningKey, created: int
    ) -> "SignedStatement":
        """A withdrawal by the site that holds `key`.

        Raises:
            MalformedError: a name is none.
        """
        message = WithdrawalMessage(
            schema=SCHEMA,
            site=site,
            concept=concept,
            counter=counter,
            created=created,
            expires=created + STATEMENT_LIFETIME_SECONDS,
        )
        _withdrawal(serialise(message))
        return SignedStatement(seal(serialise(message), WITHDRAWAL_TYPE, key))

    @staticmethod
    def sign_rotation(
        *,
        site: str,
        new_key: SigningKey,
        counter: int,
        key: SigningKey,
        created: int,
    ) -> "SignedStatement":
        """A change from `key` to `new_key`, signed by both.

        Raises:
            MalformedError: the name is none.
        """
        message = RotationMessage(
            schema=SCHEMA,
            site=site,
            new_key=new_key.public.raw,
            counter=counter,
            created=created,
            expires=created + STATEMENT_LIFETIME_SECONDS,
        )
        message.new_signature = new_key.sign(serialise(message))
        _rotation(serialise(message))
        return SignedStatement(seal(serialise(message), ROTATION_TYPE, key))

    def sealed(self) -> Sealed:
        """The envelope taken apart, not verified.

        Raises:
            MalformedError: it is not an envelope.
        """
        return open_envelope(self.envelope)

    @property
    def digest(self) -> str:
        """SHA-256 of the statement, 64 hexadecimal digits: its identity.

        Raises:
            MalformedError: the envelope is not one.
        """
        return sha256(self.sealed().payload)

    def verified(self, key: VerifyKey) -> Statement:
        """What the site signed.

        Raises:
            SignatureError: `key` did not sign this, or the new key of a rotation not
                its own part.
            MalformedError: it did, but what it signed is no statement.
        """
        sealed = self.sealed()
        content = sealed.verify(key, sealed.payload_type)
        if sealed.payload_type == WITHDRAWAL_TYPE:
            return _withdrawal(content)
        if sealed.payload_type == ROTATION_TYPE:
            return _rotation(content)
        raise MalformedError(f"signed as {sealed.payload_type!r}, not as a statement")

    def to_bytes(self) -> bytes:
        """One blob, as it crosses the wire."""
        return blob.join(blob.STATEMENT_MAGIC, self.envelope, b"")

    @staticmethod
    def from_bytes(content: bytes) -> "SignedStatement":
        """The statement of a blob, not verified.

        Raises:
            MalformedError: too large, or not a statement's blob.
        """
        envelope, rest = blob.split(
            content,
            blob.STATEMENT_MAGIC,
            what="a statement",
            max_bytes=MAX_STATEMENT_BYTES,
        )
        if rest:
            raise MalformedError("not a statement: something follows its envelope")
        return SignedStatement(envelope)


def _withdrawal(content: bytes) -> Withdrawal:
    found = parse(WithdrawalMessage, content, "a withdrawal")
    return Withdrawal(
        site=checked_word(found.site, "site"),
        concept=checked_word(found.concept, "concept"),
        counter=found.counter,
        created=found.created,
        expires=found.expires,
    )


def _rotation(content: bytes) -> Rotation:
    found = parse(RotationMessage, content, "a change of key")
    new_key, signature = VerifyKey.from_raw(found.new_key), found.new_signature
    found.ClearField("new_signature")
    try:
        new_key.verify(serialise(found), signature)
    except SignatureError as error:
        raise SignatureError(f"the new key did not sign: {error}") from error
    return Rotation(
        site=checked_word(found.site, "site"),
        new_key=new_key,
        counter=found.counter,
        created=found.created,
        expires=found.expires,
    )
