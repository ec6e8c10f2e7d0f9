"""What the registry tells: plain values, detached from the database."""

from dataclasses import dataclass
from pathlib import Path

from mos_protocol.keys import VerifyKey


@dataclass(frozen=True)
class SiteRecord:
    """A site that was admitted."""

    name: str
    key: VerifyKey
    """Verifies its bundles."""

    node_key: bytes
    """What Flower knows its SuperNode by: an ECDSA P-384 public key, as enrolled."""

    revoked: bool
    counter: int
    """The highest counter accepted from it, 0 if none."""

    admitted: int
    """Unix time, seconds."""


@dataclass(frozen=True)
class StoredBundle:
    """A bundle that was accepted."""

    site: str
    concept: str
    digest: str
    """SHA-256 of its manifest, 64 hexadecimal digits."""

    signer: str
    """Key id of the site's key."""

    class_word: str
    base: str
    """Fingerprint of the base it was tuned on."""

    rank: int
    counter: int
    size: int
    """Bytes of `Bundle.to_bytes()`."""

    received: int
    """Unix time, seconds."""


@dataclass(frozen=True)
class RefusalRecord:
    """A bundle that was refused."""

    sender: str
    """Key id of whoever brought it, "" where unknown."""

    digest: str
    """What it was offered or parsed as, "" where unknown."""

    reason: str
    text: str
    path: Path | None
    """The content kept aside; None where it was too large or has made way."""

    received: int
    """Unix time, seconds."""


@dataclass(frozen=True)
class ReleaseRecord:
    """A release that was published."""

    version: int
    digest: str
    """SHA-256 of its manifest, 64 hexadecimal digits."""

    path: Path
    """Its payload; the envelope lies beside it."""

    base: str
    created: int
    """Unix time, seconds."""

    expires: int
    """Unix time, seconds."""

    size: int
    """Bytes of the payload."""

    concepts: tuple[str, ...]
    """`site/concept` of all it holds, ascending."""

    bundles: frozenset[str]
    """Digests of the bundles it was fused from."""
