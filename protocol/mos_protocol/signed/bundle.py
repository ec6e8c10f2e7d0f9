"""A bundle: one concept as it leaves a site, with the site's signature.

`Bundle.from_bytes(bundle.to_bytes(), max_bytes=n) == bundle`, and equal concepts signed
alike give equal bundles. A bundle in hand says nothing yet: `verified` gives its facts
once the signature holds, and only `Admission` compares them with the payload.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from mos_protocol.encoding.canonical import (
    SCHEMA,
    checked_class_word,
    checked_digits,
    checked_text,
    checked_word,
    digest_of,
    parse,
    serialise,
    sha256,
)
from mos_protocol.encoding.header import Header, read_header
from mos_protocol.encoding.tensors import TensorFacts, from_entries, table, to_entries
from mos_protocol.errors import MalformedError
from mos_protocol.manifest_pb2 import BundleManifest
from mos_protocol.signed import blob
from mos_protocol.signed.envelope import BUNDLE_TYPE, seal
from mos_protocol.signed.keys import SigningKey, VerifyKey
from mos_protocol.signed.signed_file import SignedFile

CONCEPT_FORMAT: Final = "mos-concept/1"
"""What the header of a concept's file names itself."""

MAX_BUNDLE_BYTES: Final = 64 * 2**20
"""A rank-4 concept of SDXL in float32 has some 30 MB, of SD 1.5 some 5 MB."""

BUNDLE_LIFETIME_SECONDS: Final = 90 * 24 * 3600
"""How long a bundle may wait for the centre, where the site says nothing else."""

_HOUR_SECONDS: Final = 3600

_HEADER_KEYS: Final = frozenset(
    {"alpha", "base", "class_word", "format", "licence", "name", "rank", "trigger"}
)
# Nothing else may stand there: what leaves a site is what a person can list.

MAX_LICENCE_CHARACTERS: Final = 256


@dataclass(frozen=True)
class BundleFacts:
    """What a site signed of one concept."""

    site: str
    concept: str
    """The word between angle brackets in a prompt."""

    class_word: str
    licence: str
    """Terms of use as the site states them; may be empty."""

    base: str
    """Fingerprint of the base, 64 hexadecimal digits."""

    rank: int
    """r of every LoRA pair."""

    counter: int
    """Rises with every bundle that the site signs, from 1."""

    created: int
    """Unix time, seconds; sites give the hour alone, `hour_of`."""

    expires: int
    """Unix time, seconds; from then on the bundle is not admitted."""

    payload_sha256: str
    payload_bytes: int
    tensors: tuple[TensorFacts, ...]
    """Every tensor of the payload, ascending by name."""


@dataclass(frozen=True)
class Bundle(SignedFile):
    """A concept's file and the envelope that its site signed.

    Its payload is that of `Concept.to_bytes`.
    """

    MAGIC: ClassVar[bytes] = blob.BUNDLE_MAGIC
    WHAT: ClassVar[str] = "a bundle"
    MAX_BYTES: ClassVar[int] = MAX_BUNDLE_BYTES

    @staticmethod
    def sign(
        payload: bytes,
        *,
        site: str,
        counter: int,
        key: SigningKey,
        created: int,
        expires: int,
    ) -> "Bundle":
        """A bundle of the concept in `payload`, whose header gives the other facts.

        Args:
            payload: `Concept.to_bytes()`.
            site: The site's name, as it was admitted.
            counter: Higher than of any bundle that the site signed before.
            key: The site's.
            created: Now, Unix time in seconds.
            expires: End of the bundle's validity, Unix time in seconds.

        Raises:
            MalformedError: the payload is not a concept's file, or a value is none.
        """
        header = read_header(payload)
        facts = BundleFacts(
            site=site,
            **concept_header(header),
            counter=counter,
            created=created,
            expires=expires,
            payload_sha256=sha256(payload),
            payload_bytes=len(payload),
            tensors=table(payload, header.spans),
        )
        manifest = _to_manifest(facts)
        bundle_facts(manifest)
        return Bundle(seal(manifest, BUNDLE_TYPE, key), payload)

    def verified(self, key: VerifyKey) -> BundleFacts:
        """What the site signed; the payload is not compared with it here.

        Raises:
            SignatureError: `key` did not sign this as a bundle.
            MalformedError: it did, but what it signed is no manifest of a bundle.
        """
        return bundle_facts(self.sealed().verify(key, BUNDLE_TYPE))


def hour_of(now: int) -> int:
    """The beginning of the hour of a Unix time, seconds.

    It is all of the time that leaves a site with a bundle: a second shows when somebody
    worked, and can carry a message.
    """
    return now - now % _HOUR_SECONDS


def concept_header(header: Header) -> dict[str, Any]:
    """concept, class_word, licence, base and rank, as a concept's header says.

    Raises:
        MalformedError: the header is not a concept's.
    """
    mos: Mapping[str, Any] = header.mos
    if mos.get("format") != CONCEPT_FORMAT:
        raise MalformedError(
            f"not a concept: the header says format {mos.get('format')!r:.40}, "
            f"not {CONCEPT_FORMAT!r}"
        )
    found = {
        "concept": mos.get("name"),
        "class_word": mos.get("class_word"),
        "licence": mos.get("licence"),
        "base": mos.get("base"),
        "rank": mos.get("rank"),
    }
    if set(mos) != _HEADER_KEYS:
        odd = sorted(set(mos) ^ _HEADER_KEYS)
        raise MalformedError(
            f"the concept's header lacks, or has no place for, {odd[0]!r:.40}"
        )
    if mos["alpha"] != mos["rank"] or mos["trigger"] != f"<{mos['name']}>":
        raise MalformedError(
            "the concept's header contradicts itself: alpha is the rank, the trigger "
            "is the name between angle brackets"
        )
    for key, value in (found | {"alpha": mos["alpha"]}).items():
        if type(value) is not (int if key in ("rank", "alpha") else str):
            raise MalformedError(
                f"the concept's header has no proper {key}: {value!r:.80}"
            )
    return found


def _to_manifest(facts: BundleFacts) -> bytes:
    try:
        manifest = BundleManifest(
            schema=SCHEMA,
            site=facts.site,
            concept=facts.concept,
            class_word=facts.class_word,
            licence=facts.licence,
            base=facts.base,
            rank=facts.rank,
            counter=facts.counter,
            created=facts.created,
            expires=facts.expires,
            payload_sha256=bytes.fromhex(facts.payload_sha256),
            payload_bytes=facts.payload_bytes,
            tensors=to_entries(facts.tensors),
        )
    except ValueError as error:
        raise MalformedError(f"no manifest can hold this: {error}") from error
    return serialise(manifest)


def bundle_facts(manifest_bytes: bytes) -> BundleFacts:
    """The facts in a bundle's manifest, whose signature has been seen to hold.

    Raises:
        MalformedError: it is no manifest of a bundle.
    """
    manifest = parse(BundleManifest, manifest_bytes, "a bundle's manifest")
    if not manifest.rank or not manifest.counter:
        raise MalformedError("a bundle's rank and counter begin at 1")
    return BundleFacts(
        site=checked_word(manifest.site, "site"),
        concept=checked_word(manifest.concept, "concept"),
        class_word=checked_class_word(manifest.class_word),
        licence=checked_text(
            manifest.licence, "licence", max_characters=MAX_LICENCE_CHARACTERS
        ),
        base=checked_digits(manifest.base, "base"),
        rank=manifest.rank,
        counter=manifest.counter,
        created=manifest.created,
        expires=manifest.expires,
        payload_sha256=digest_of(manifest.payload_sha256, "payload"),
        payload_bytes=manifest.payload_bytes,
        tensors=from_entries(manifest.tensors),
    )
