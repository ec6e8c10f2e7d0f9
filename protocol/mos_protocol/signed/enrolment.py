"""Enrolment: two small text files that two people hand each other, no extra service.

    site      EnrolmentRequest   both of its public keys and its name; signed by its own
                                 key, which shows that it holds it
    centre    Welcome            where to join, and which keys to trust from then on

Neither is secret. Whoever can change one of them on its way can put himself in the
other's place: hand them over by a way that you trust, or compare `fingerprint` by
telephone.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from mos_protocol.encoding import armour
from mos_protocol.encoding.canonical import (
    SCHEMA,
    checked_digits,
    checked_word,
    parse,
    serialise,
    sha256,
)
from mos_protocol.errors import MalformedError, SignatureError
from mos_protocol.manifest_pb2 import Request as RequestMessage
from mos_protocol.manifest_pb2 import Welcome as WelcomeMessage
from mos_protocol.signed.envelope import REQUEST_TYPE, open_envelope, seal
from mos_protocol.signed.keys import SigningKey, VerifyKey

MAX_NODE_KEY_BYTES: Final = 16 * 2**10

_REQUEST_LABEL: Final = "MOS ENROLMENT REQUEST"
_WELCOME_LABEL: Final = "MOS WELCOME"
_ADDRESS: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
    r":([0-9]{1,5})"
)
_LAST_PORT: Final = 65535


@dataclass(frozen=True)
class EnrolmentRequest:
    """A site asks to be admitted."""

    site: str
    """The name it would like to have."""

    site_key: VerifyKey
    """What its bundles will be signed with."""

    node_key: bytes
    """What Flower authenticates its node with, as Flower wants it; not looked into."""

    created: int
    """Unix time, seconds."""

    envelope: bytes = field(repr=False)
    """The request as the site signed it."""

    @staticmethod
    def sign(
        *, site: str, key: SigningKey, node_key: bytes, created: int
    ) -> "EnrolmentRequest":
        """A request of the site that holds `key`.

        Raises:
            MalformedError: the name is none, or the node key is empty or huge.
        """
        message = serialise(
            RequestMessage(
                schema=SCHEMA,
                site=site,
                site_key=key.public.raw,
                node_key=node_key,
                created=created,
            )
        )
        return _from_envelope(seal(message, REQUEST_TYPE, key))

    def to_bytes(self) -> bytes:
        """The request as a text file."""
        return armour.wrap(_REQUEST_LABEL, self.envelope)

    @staticmethod
    def verified(content: bytes) -> "EnrolmentRequest":
        """The request of a text file, signed by the key that it names.

        Raises:
            MalformedError: not a request, or not a whole one.
            SignatureError: it was changed, or its sender does not hold the key.
        """
        return _from_envelope(
            armour.unwrap(_REQUEST_LABEL, content, "an enrolment request")
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the signed request, 64 hexadecimal digits, to compare by voice."""
        return sha256(self.envelope)


@dataclass(frozen=True)
class Welcome:
    """The centre admits a site, and gives it all that it needs to join."""

    address: str
    """host:port of the centre's Fleet API; an IPv6 host stands in brackets."""

    ca_certificate: bytes
    """PEM of the authority that signed the centre's TLS certificate; empty where the
    centre listens on loopback without TLS."""

    centre_key: VerifyKey
    """What releases are signed with."""

    site: str
    """The name under which the site was admitted."""

    base: str
    """Fingerprint of the base that all concepts are tuned on, 64 hexadecimal digits."""

    def to_bytes(self) -> bytes:
        """The welcome as a text file; `from_bytes(w.to_bytes()) == w`.

        Raises:
            MalformedError: a value is none.
        """
        message = serialise(
            WelcomeMessage(
                schema=SCHEMA,
                address=self.address,
                ca_certificate=self.ca_certificate,
                centre_key=self.centre_key.raw,
                site=self.site,
                base=self.base,
            )
        )
        _welcome_of(message)
        return armour.wrap(_WELCOME_LABEL, message)

    @staticmethod
    def from_bytes(content: bytes) -> "Welcome":
        """The welcome of a text file.

        Raises:
            MalformedError: not a welcome, or not a whole one.
        """
        return _welcome_of(armour.unwrap(_WELCOME_LABEL, content, "a welcome"))

    @property
    def host(self) -> str:
        """The host of `address`, an IPv6 one without its brackets."""
        return self.address.rpartition(":")[0].strip("[]")


def _from_envelope(envelope: bytes) -> EnrolmentRequest:
    sealed = open_envelope(envelope)
    # Self-signed: the key stands inside. Nothing else of it is believed before the
    # signature holds.
    claimed = parse(RequestMessage, sealed.payload, "an enrolment request")
    key = VerifyKey.from_raw(claimed.site_key)
    try:
        sealed.verify(key, REQUEST_TYPE)
    except SignatureError as error:
        raise SignatureError(f"the enrolment request: {error}") from error
    if not 0 < len(claimed.node_key) <= MAX_NODE_KEY_BYTES:
        raise MalformedError(
            f"the enrolment request's node key has {len(claimed.node_key)} bytes; 1 to "
            f"{MAX_NODE_KEY_BYTES} are needed"
        )
    return EnrolmentRequest(
        site=checked_word(claimed.site, "site"),
        site_key=key,
        node_key=claimed.node_key,
        created=claimed.created,
        envelope=envelope,
    )


def _welcome_of(message: bytes) -> Welcome:
    found = parse(WelcomeMessage, message, "a welcome")
    match = _ADDRESS.fullmatch(found.address)
    if match is None or not 0 < int(match[1]) <= _LAST_PORT:
        raise MalformedError(
            f"address {found.address[:80]!r}: host:port is needed, an IPv6 host in "
            "brackets"
        )
    return Welcome(
        address=found.address,
        ca_certificate=found.ca_certificate,
        centre_key=VerifyKey.from_raw(found.centre_key),
        site=checked_word(found.site, "site"),
        base=checked_digits(found.base, "base"),
    )
