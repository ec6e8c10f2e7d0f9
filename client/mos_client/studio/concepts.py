"""The concepts that a site can draw: of the releases it holds, and its own."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_client.store.releases import ReleaseStore
from mos_client.studio.order import BARE, OWN
from mos_protocol.encoding.header import read_header
from mos_protocol.errors import ProtocolError
from mos_protocol.signed.bundle import MAX_BUNDLE_BYTES, concept_header
from mos_protocol.signed.release import ReleaseFacts, release_facts
from mos_runtime.errors import MosError
from mos_runtime.files import read_whole


@dataclass(frozen=True)
class ConceptCard:
    """What is known of a concept."""

    key: str
    """As prompts name it without doubt: `site/name`, or `name` of one's own."""

    name: str
    site: str
    class_word: str
    signer: str
    """Id of the key that signed it; "" where it is not signed."""

    licence: str
    """Terms of use; "" where they are not known here: a release does not name them."""

    digest: str
    """SHA-256 of what was signed, or of the file."""

    state: str
    """"released", or of one's own "tuned here", "waiting" or "accepted"."""

    @property
    def thumbnail(self) -> str:
        """The id of its thumbnail."""
        return hashlib.sha256(f"{self.digest} {self.key}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class VerifiedRelease:
    """A release held, and whether it is as the centre signed it."""

    version: int
    facts: ReleaseFacts | None
    """None where it is not."""

    error: str = ""
    """Why it is not."""


def verified_releases(home: SiteHome) -> list[VerifiedRelease]:
    """Every release held, the newest first, verified anew.

    Raises:
        MosError: an envelope is broken, so that nobody can say of which release.
    """
    store, found = ReleaseStore(home), []
    for version in reversed(store.versions()):
        try:
            facts = release_facts(store.read(version).sealed().payload)
        except MosError as error:
            found.append(VerifiedRelease(version, None, str(error)))
        else:
            found.append(VerifiedRelease(version, facts))
    return found


def concepts_of(
    model: str, home: SiteHome, tuned: Path, base: str
) -> list[ConceptCard]:
    """The concepts of a model.

    Args:
        model: As `Order.model`.
        home: The site's.
        tuned: Where concepts tuned in the studio are.
        base: Fingerprint of the base; one's own concepts of other bases are left out.

    Raises:
        MosError: the release is not held, or not as it was signed.
    """
    own = dict(own_concepts(home, tuned, base))
    if model == OWN:
        return list(own.values())
    if model == BARE:
        return []
    licences = {card.digest: card.licence for card in own.values()}
    facts = release_facts(ReleaseStore(home).read(model).sealed().payload)
    return [
        ConceptCard(
            each.key,
            each.concept,
            each.site,
            each.class_word,
            each.signer,
            licences.get(each.bundle_sha256, ""),
            each.bundle_sha256,
            "released",
        )
        for each in facts.concepts
    ]


def own_concepts(
    home: SiteHome, tuned: Path, base: str
) -> Iterator[tuple[Path, ConceptCard]]:
    """The site's own concepts for a base, the latest of each name, by their files."""
    outbox = Outbox(home)
    signed = [(entry, "waiting") for entry in outbox.entries()]
    signed += [(entry, "accepted") for entry in outbox.sent()]
    seen: set[str] = set()
    for entry, state in sorted(signed, key=lambda pair: -pair[0].counter):
        facts = _header(entry.path)
        if facts is None or facts["base"] != base or entry.concept in seen:
            continue
        seen.add(entry.concept)
        card = _card(facts, entry.digest, state)
        yield entry.path, ConceptCard(**{**card, "signer": entry.signer})
    for path in sorted(tuned.glob("*.safetensors")):
        facts = _header(path)
        if facts is None or facts["base"] != base or facts["concept"] in seen:
            continue
        seen.add(facts["concept"])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        yield path, ConceptCard(**_card(facts, digest, "tuned here"))


def _card(facts: dict[str, str], digest: str, state: str) -> dict[str, str]:
    return {
        "key": facts["concept"],
        "name": facts["concept"],
        "site": "",
        "class_word": facts["class_word"],
        "signer": "",
        "licence": facts["licence"],
        "digest": digest,
        "state": state,
    }


def _header(path: Path) -> dict[str, str] | None:
    """What a concept's file says of itself; None where it is none."""
    try:
        content = read_whole(path, what="a concept", max_bytes=MAX_BUNDLE_BYTES)
        return concept_header(read_header(content))
    except (MosError, ProtocolError):
        return None
