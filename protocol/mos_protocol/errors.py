"""The errors of the protocol, and the reasons for which something is refused.

MosError (mos_model.errors)
└── ProtocolError            what crossed the wire, or should, is not right
    ├── MalformedError       cannot be parsed as what it claims to be
    ├── SignatureError       the signature does not hold, or names another key
    ├── AdmissionError       the centre refuses a bundle; carries a `Reason`
    ├── ReleaseError         a site refuses a release; carries a `Reason`
    └── CallError            a call or an answer is refused; carries a `Reason`
"""

from enum import StrEnum

from mos_runtime.errors import MosError


class Reason(StrEnum):
    """Why a bundle or a release is refused; each answers one attack."""

    TOO_LARGE = "too-large"
    """Endless data: more bytes than anything honest has."""

    MALFORMED = "malformed"
    """Bytes that lie about their own form: lengths, offsets, encodings."""

    BAD_SIGNATURE = "bad-signature"
    """A bundle or release that the key's holder did not sign as it stands."""

    UNKNOWN_SIGNER = "unknown-signer"
    """An arbitrary bundle or release, signed by whoever liked to."""

    REVOKED_SIGNER = "revoked-signer"
    """A stolen key, or a site that left, still speaking."""

    WRONG_KIND = "wrong-kind"
    """Something rightly signed as one kind, shown as another."""

    REPLAYED = "replayed"
    """The newest bundle once more, or its counter used twice."""

    ROLLED_BACK = "rolled-back"
    """An older bundle or release in place of a newer one."""

    FAST_FORWARD = "fast-forward"
    """A counter so high that the honest ones after it would all be refused."""

    EXPIRED = "expired"
    """Freeze: an old release, or an old bundle, kept in use for ever."""

    WRONG_BASE = "wrong-base"
    """Made for another base than the one in use."""

    WRONG_INVENTORY = "wrong-inventory"
    """Tensors the base has no place for: names, shapes, dtypes or rank differ."""

    TAMPERED = "tampered"
    """The payload is not the one that the manifest was signed for."""

    NOT_FINITE = "not-finite"
    """NaN or infinity, which spreads to every other concept in a fusion."""

    OUT_OF_BOUNDS = "out-of-bounds"
    """A lifetime, a rank or an update so large that it drowns all others."""

    OVER_QUOTA = "over-quota"
    """A site that sends more often, or keeps more at the centre, than it may."""

    UNFUSABLE = "unfusable"
    """Admitted, but fusing it fails; the release is published without it."""

    QUARANTINED = "quarantined"
    """Admitted, but a release with it changes what it must not (generic pictures,
    other concepts); published without it until the centre's operator decides."""

    REJECTED = "rejected"
    """Quarantined, and the centre's operator does not release it."""

    MIX_AND_MATCH = "mix-and-match"
    """Parts, each rightly signed, that were never published together."""

    MISDIRECTED = "misdirected"
    """A rightly signed call shown to another node, in another run, as another action,
    or an answer to another call."""


class ProtocolError(MosError):
    """What crossed the wire, or should have, is not right."""


class MalformedError(ProtocolError):
    """Bytes cannot be parsed as what they claim to be."""


class SignatureError(ProtocolError):
    """A signature does not hold, or names another key."""


class AdmissionError(ProtocolError):
    """The centre refuses a bundle."""

    def __init__(self, reason: Reason, text: str) -> None:
        """Refuse for `reason`, told to the sender as `text`."""
        super().__init__(text)
        self.reason = reason


class ReleaseError(ProtocolError):
    """A site refuses a release."""

    def __init__(self, reason: Reason, text: str) -> None:
        """Refuse for `reason`, told to the site's user as `text`."""
        super().__init__(text)
        self.reason = reason


class CallError(ProtocolError):
    """A site refuses a call, or the centre an answer."""

    def __init__(self, reason: Reason, text: str) -> None:
        """Refuse for `reason`; `text` says what is wrong."""
        super().__init__(text)
        self.reason = reason
