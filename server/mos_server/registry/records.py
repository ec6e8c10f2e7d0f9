"""What the registry returns: plain values, detached from the database."""

from dataclasses import dataclass
from pathlib import Path

from mos_protocol.signed.keys import VerifyKey
from mos_server.registry.sites.quotas import Quota
from mos_server.registry.storage.tables import LeftOutRow


@dataclass(frozen=True)
class SiteRecord:
    """A site that was admitted."""

    name: str
    key: VerifyKey
    """Verifies its bundles."""

    node_key: bytes
    """What Flower knows its SuperNode by: an ECDSA P-384 public key, as enrolled."""

    revoked: bool
    """Whether nothing signed by this key is accepted any more."""

    kept: bool
    """Whether what a revoked key brought is fused all the same."""

    successor: str
    """Key id of the same site's next key, which is the one that counts; "" while this
    is its newest."""

    counter: int
    """The highest counter accepted from it, 0 if none."""

    admitted: int
    """Unix time, seconds."""

    quota: Quota


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

    exempt: bool = False
    """Released from quarantine by the operator: the gate does not hold it again."""

    state: str = "current"
    """Current, superseded, withdrawn, left-out or quarantined."""


@dataclass(frozen=True)
class LeftOutRecord:
    """An accepted bundle that no release holds; its site learns why."""

    site: str
    concept: str
    digest: str
    reason: str
    text: str
    decided: int
    """Unix time, seconds."""

    @staticmethod
    def of(row: LeftOutRow) -> "LeftOutRecord":
        """A row of the database, as a plain value."""
        return LeftOutRecord(
            site=row.bundle.site.name,
            concept=row.bundle.concept,
            digest=row.digest,
            reason=row.reason,
            text=row.text,
            decided=row.decided,
        )


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

    signer: str
    """Key id of the centre's key that signed it; "" where that was not noted."""

    whole: bool
    """Whether its payload is still here; of a pruned one only the envelope is."""

    @property
    def report_path(self) -> Path:
        """Its fusion report, where it was fused and not renewed, and is kept."""
        return self.path.with_suffix(".report.json")


@dataclass(frozen=True)
class TuneOrder:
    """A site is asked to tune a concept."""

    number: int
    site: str
    concept: str
    steps: int
    """0 for the site's own setting."""

    rank: int
    """0 for the site's own setting."""

    seed: int
    ordered: int
    """Unix time, seconds."""

    answered: int
    """Unix time, seconds; 0 while it has not answered."""

    error: str
    """Why nothing was tuned, as the site told it; "" where something was, or where it
    was not asked yet. Before the answer: why it will not tune at this hour."""

    @property
    def state(self) -> str:
        """Where it stands, in words."""
        if not self.answered:
            return f"asked for; not now: {self.error}" if self.error else "asked for"
        return f"refused: {self.error}" if self.error else "tuned"
