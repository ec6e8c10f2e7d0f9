"""A release: all concepts fused, as the centre publishes it with its signature.

Releases form a chain: versions rise from 1, and each names the digest of the one
before it. `Release.from_bytes(release.to_bytes(), max_bytes=n) == release`. A release
in hand says nothing yet: `verified` gives its facts once the signature holds, and only
`ReleaseTrust` compares them with the payload and with what the site holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from mos_protocol.encoding.canonical import (
    SCHEMA,
    checked_class_word,
    checked_digits,
    checked_word,
    digest_of,
    parse,
    serialise,
    sha256,
)
from mos_protocol.encoding.header import Header, read_header
from mos_protocol.encoding.tensors import TensorFacts, from_entries, table, to_entries
from mos_protocol.errors import MalformedError
from mos_protocol.manifest_pb2 import ReleasedConcept as ReleasedConceptMessage
from mos_protocol.manifest_pb2 import ReleaseManifest
from mos_protocol.signed import blob
from mos_protocol.signed.envelope import RELEASE_TYPE, Sealed, seal
from mos_protocol.signed.keys import SigningKey, VerifyKey
from mos_protocol.signed.signed_file import SignedFile
from mos_protocol.signed.succession import chain_digest

FUSED_FORMAT: Final = "mos-fused/1"
"""What the header of a fused model's file names itself."""

MAX_RELEASE_BYTES: Final = 512 * 2**20
"""14 rank-4 concepts of SDXL in float32 have some 400 MB."""

RELEASE_LIFETIME_SECONDS: Final = 90 * 24 * 3600
"""How long sites take a release for current, where the centre says nothing else."""


@dataclass(frozen=True)
class ReleasedConcept:
    """One concept of a release, and where it came from."""

    site: str
    concept: str
    class_word: str
    signer: str
    """Id of the key that signed its bundle, 64 hexadecimal digits."""

    bundle_sha256: str
    """The bundle's digest, 64 hexadecimal digits."""

    @property
    def key(self) -> str:
        """The concept's full name, `site/concept`, unique within a release."""
        return f"{self.site}/{self.concept}"


@dataclass(frozen=True)
class ReleaseFacts:
    """What the centre signed of one release."""

    version: int
    """1, 2, 3 ..."""

    previous_sha256: str
    """Digest of the release before it; "" for the first."""

    base: str
    """Fingerprint of the base, 64 hexadecimal digits."""

    created: int
    """Unix time, seconds."""

    expires: int
    """Unix time, seconds; from then on no site takes the release up."""

    payload_sha256: str
    payload_bytes: int
    concepts: tuple[ReleasedConcept, ...]
    """Ascending by site and concept."""

    tensors: tuple[TensorFacts, ...]
    """Every tensor of the payload, ascending by name."""

    endorsements_sha256: str = ""
    """`succession.chain_digest` of the envelope's endorsements."""


@dataclass(frozen=True)
class Release(SignedFile):
    """A fused model's file and the envelope that the centre signed.

    Its payload is that of `FusedModel.to_bytes`.
    """

    MAGIC: ClassVar[bytes] = blob.RELEASE_MAGIC
    WHAT: ClassVar[str] = "a release"
    MAX_BYTES: ClassVar[int] = MAX_RELEASE_BYTES
    ENDORSED: ClassVar[bool] = True

    @staticmethod
    def sign(
        payload: bytes,
        *,
        version: int,
        previous: str,
        concepts: Sequence[ReleasedConcept],
        key: SigningKey,
        created: int,
        expires: int,
        endorsements: Sequence[bytes] = (),
    ) -> "Release":
        """A release of the fused model in `payload`, whose header names the base.

        Args:
            payload: `FusedModel.to_bytes()`.
            version: One more than the release before it, from 1.
            previous: Digest of the release before it; "" for the first.
            concepts: Those of the payload, in any order.
            key: The centre's.
            created: Now, Unix time in seconds.
            expires: End of the release's validity, Unix time in seconds.
            endorsements: By which the centre's earlier keys lead to `key`.

        Raises:
            MalformedError: the payload is not a fused model's file, it holds other
                concepts than these, or a value is none.
        """
        header = read_header(payload)
        base, held = fused_header(header)
        facts = ReleaseFacts(
            version=version,
            previous_sha256=previous,
            base=base,
            created=created,
            expires=expires,
            payload_sha256=sha256(payload),
            payload_bytes=len(payload),
            concepts=tuple(sorted(concepts, key=lambda one: (one.site, one.concept))),
            tensors=table(payload, header.spans),
            endorsements_sha256=chain_digest(endorsements),
        )
        if held != words_of(facts):
            raise MalformedError("the fused model holds other concepts than are named")
        manifest = _to_manifest(facts)
        release_facts(manifest)
        envelope = seal(manifest, RELEASE_TYPE, key, endorsements=endorsements)
        return Release(envelope, payload)

    def verified(self, key: VerifyKey) -> ReleaseFacts:
        """What the centre signed; the payload is not compared with it here.

        Raises:
            SignatureError: `key` did not sign this as a release.
            MalformedError: it did, but what it signed is no manifest of a release, or
                of one with other endorsements.
        """
        sealed = self.sealed()
        facts = release_facts(sealed.verify(key, RELEASE_TYPE))
        check_endorsements(sealed, facts)
        return facts


Words = tuple[str, str, str]
"""Site, concept and class word."""


def words_of(facts: ReleaseFacts) -> list[Words]:
    """Every concept's words as the manifest has them, in its order."""
    return [(one.site, one.concept, one.class_word) for one in facts.concepts]


def fused_header(header: Header) -> tuple[str, list[Words]]:
    """The base, and every concept's words, as a fused model's header says.

    Raises:
        MalformedError: the header is not a fused model's.
    """
    mos: Mapping[str, Any] = header.mos
    if mos.get("format") != FUSED_FORMAT:
        raise MalformedError(
            f"not a fused model: the header says format {mos.get('format')!r:.40}, "
            f"not {FUSED_FORMAT!r}"
        )
    base, entries = mos.get("base"), mos.get("concepts")
    if set(mos) != {"format", "base", "concepts"}:
        raise MalformedError("the fused model's header has format, base and concepts")
    if not isinstance(base, str) or not isinstance(entries, list):
        raise MalformedError("the fused model's header has no proper base or concepts")
    return base, sorted(_words(entry) for entry in entries)


def release_facts(manifest_bytes: bytes) -> ReleaseFacts:
    """The facts in a release's manifest, whose signature has been seen to hold.

    Raises:
        MalformedError: it is no manifest of a release.
    """
    manifest = parse(ReleaseManifest, manifest_bytes, "a release's manifest")
    first = manifest.version == 1
    if not manifest.version or first is not (not manifest.previous_sha256):
        raise MalformedError(
            "releases begin at version 1, and every later one names the one before it"
        )
    concepts = tuple(_from_message(message) for message in manifest.concepts)
    keys = [(one.site, one.concept) for one in concepts]
    if keys != sorted(set(keys)):
        raise MalformedError("the manifest's concepts do not ascend by name")
    return ReleaseFacts(
        version=manifest.version,
        previous_sha256=(
            "" if first else digest_of(manifest.previous_sha256, "previous release")
        ),
        base=checked_digits(manifest.base, "base"),
        created=manifest.created,
        expires=manifest.expires,
        payload_sha256=digest_of(manifest.payload_sha256, "payload"),
        payload_bytes=manifest.payload_bytes,
        concepts=concepts,
        tensors=from_entries(manifest.tensors),
        endorsements_sha256=(
            digest_of(manifest.endorsements_sha256, "endorsements")
            if manifest.endorsements_sha256
            else ""
        ),
    )


def release_version(manifest_bytes: bytes) -> int:
    """The version in a release's manifest.

    Raises:
        MalformedError: it is no manifest of a release.
    """
    return parse(ReleaseManifest, manifest_bytes, "a release's manifest").version


def check_endorsements(sealed: Sealed, facts: ReleaseFacts) -> None:
    """Compare an envelope's endorsements with what the manifest says of them.

    Raises:
        MalformedError: they are not the ones that were signed for.
    """
    if chain_digest(sealed.endorsements) != facts.endorsements_sha256:
        raise MalformedError("the release has other endorsements than were signed for")


def _words(entry: object) -> Words:
    if not isinstance(entry, dict) or set(entry) != {"name", "site", "class_word"}:
        raise MalformedError("a concept of the header has name, site and class_word")
    if not all(isinstance(value, str) for value in entry.values()):
        raise MalformedError("a concept's words in the header are not text")
    return entry["site"], entry["name"], entry["class_word"]


def _to_manifest(facts: ReleaseFacts) -> bytes:
    try:
        manifest = ReleaseManifest(
            schema=SCHEMA,
            version=facts.version,
            previous_sha256=bytes.fromhex(facts.previous_sha256),
            base=facts.base,
            created=facts.created,
            expires=facts.expires,
            payload_sha256=bytes.fromhex(facts.payload_sha256),
            payload_bytes=facts.payload_bytes,
            concepts=[
                ReleasedConceptMessage(
                    site=one.site,
                    concept=one.concept,
                    class_word=one.class_word,
                    signer=one.signer,
                    bundle_sha256=bytes.fromhex(one.bundle_sha256),
                )
                for one in facts.concepts
            ],
            tensors=to_entries(facts.tensors),
            endorsements_sha256=bytes.fromhex(facts.endorsements_sha256),
        )
    except ValueError as error:
        raise MalformedError(f"no manifest can hold this: {error}") from error
    return serialise(manifest)


def _from_message(message: ReleasedConceptMessage) -> ReleasedConcept:
    return ReleasedConcept(
        site=checked_word(message.site, "site"),
        concept=checked_word(message.concept, "concept"),
        class_word=checked_class_word(message.class_word),
        signer=checked_digits(message.signer, "signer"),
        bundle_sha256=digest_of(message.bundle_sha256, "bundle"),
    )
