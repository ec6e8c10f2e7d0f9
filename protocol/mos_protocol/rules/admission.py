"""The rules by which the centre admits a bundle. No IO, no clock, no model.

The order is part of the rules; the first one broken gives the reason:

    size -> envelope -> signer known, not revoked -> signature -> kind -> lifetime
    -> counter -> base -> manifest against the base's inventory -> digests
    -> header against manifest -> values

A bundle's signature holds before its manifest is parsed, and its payload is seen to be
exactly what was signed before any tensor of it is read. `Admission.admit` returns or
raises; it changes nothing. Whoever records the outcome is elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mos_model.bases.inventory import Inventory
from mos_protocol.encoding.header import Header
from mos_protocol.encoding.tensors import values
from mos_protocol.errors import AdmissionError, MalformedError, Reason, SignatureError
from mos_protocol.rules.agreement import (
    Refused,
    check_base,
    check_lifetime,
    check_payload,
    check_tensors,
    concept_shapes,
)
from mos_protocol.rules.bounds import check_embeddings, check_finite, check_updates
from mos_protocol.signed import blob
from mos_protocol.signed.bundle import (
    MAX_BUNDLE_BYTES,
    Bundle,
    BundleFacts,
    bundle_facts,
    concept_header,
)
from mos_protocol.signed.envelope import BUNDLE_TYPE, Sealed
from mos_protocol.signed.keys import VerifyKey

_DAY: Final = 24 * 3600


@dataclass(frozen=True)
class AdmissionLimits:
    """What no honest bundle exceeds."""

    max_bundle_bytes: int = MAX_BUNDLE_BYTES
    """Size of a bundle's blob, bytes."""

    max_rank: int = 128
    """r of a concept; a release has the sum over its concepts."""

    max_lifetime_seconds: int = 366 * _DAY
    """From a bundle's creation to its expiry, seconds."""

    max_clock_skew_seconds: int = 600
    """How far a site's clock may be ahead of the centre's, seconds."""

    max_counter_step: int = 1000
    """How far a counter may be ahead of the site's last admitted one."""

    max_update_gain: float = 4.0
    """||B A||_F of one layer over sqrt(d_out), the norm of a layer of unit gain. Fusion
    applies the same bound, so that what is admitted can be fused."""

    max_update_spectral: float = 16.0
    """sigma_max(B A) of one layer over 1 + sqrt(d_out / d_in)."""

    max_embedding_rms: float = 10.0
    """Root mean square of V_rand or V_class. CLIP's own rows have some 0.015, a
    freshly initialised embedding has 1."""


@dataclass(frozen=True)
class KnownSite:
    """What the centre knows of a site that it has enrolled."""

    name: str
    key: VerifyKey
    revoked: bool
    counter: int
    """Highest counter admitted, over all concepts of this site; 0 for none."""


@dataclass(frozen=True)
class AdmittedBundle:
    """A bundle that kept every rule."""

    bundle: Bundle
    facts: BundleFacts
    site: KnownSite
    """As it was known before this bundle."""


class Admission:
    """The rules for one base."""

    def __init__(
        self, inventory: Inventory, limits: AdmissionLimits | None = None
    ) -> None:
        """Rules for concepts of the base that `inventory` describes."""
        self._inventory = inventory
        self._limits = limits or AdmissionLimits()

    def admit(
        self, content: bytes, *, sites: Mapping[str, KnownSite], now: int
    ) -> AdmittedBundle:
        """The bundle in `content`, where it keeps every rule.

        Args:
            content: `Bundle.to_bytes()`, as received.
            sites: Every enrolled site by its key's id, revoked ones included.
            now: Unix time, seconds.

        Raises:
            AdmissionError: a rule is broken; `reason` says which kind, the text what.
        """
        try:
            bundle, sealed = self._opened(content)
            site = signer_of(sealed, sites)
            facts = _verified_facts(sealed, site)
            self._check_manifest(facts, site, now)
            self._check_payload(bundle, facts)
        except Refused as refused:
            raise AdmissionError(refused.reason, str(refused)) from refused
        return AdmittedBundle(bundle, facts, site)

    def _opened(self, content: bytes) -> tuple[Bundle, Sealed]:
        limit = self._limits.max_bundle_bytes
        if len(content) > limit:
            raise Refused(
                Reason.TOO_LARGE, f"{len(content)} bytes; a bundle has at most {limit}"
            )
        if content.startswith(blob.RELEASE_MAGIC):
            raise Refused(Reason.WRONG_KIND, "this is a release, not a bundle")
        try:
            bundle = Bundle.from_bytes(content, max_bytes=limit)
            return bundle, bundle.sealed()
        except MalformedError as error:
            raise Refused(Reason.MALFORMED, str(error)) from error

    def _check_manifest(self, facts: BundleFacts, site: KnownSite, now: int) -> None:
        limits = self._limits
        skew = limits.max_clock_skew_seconds
        check_lifetime(facts.created, facts.expires, now=now, max_skew=skew)
        if facts.expires - facts.created > limits.max_lifetime_seconds:
            raise Refused(
                Reason.OUT_OF_BOUNDS,
                f"valid for {facts.expires - facts.created} s; at most "
                f"{limits.max_lifetime_seconds} s are admitted",
            )
        check_counter(facts.counter, site, limits.max_counter_step)
        check_base(facts.base, self._inventory.base, self._inventory.label)
        if facts.rank > limits.max_rank:
            raise Refused(
                Reason.OUT_OF_BOUNDS,
                f"rank {facts.rank}; at most {limits.max_rank} is admitted",
            )
        expected = concept_shapes(self._inventory, facts.rank)
        check_tensors(facts.tensors, expected, f"a concept of rank {facts.rank}")

    def _check_payload(self, bundle: Bundle, facts: BundleFacts) -> None:
        header = check_payload(
            bundle.payload,
            payload_sha256=facts.payload_sha256,
            payload_bytes=facts.payload_bytes,
            tensors=facts.tensors,
        )
        _check_header(header, facts)
        found = {span.name: values(bundle.payload, span) for span in header.spans}
        check_finite(found)
        check_updates(
            found,
            max_gain=self._limits.max_update_gain,
            max_spectral=self._limits.max_update_spectral,
        )
        check_embeddings(found, max_rms=self._limits.max_embedding_rms)


def signer_of(sealed: Sealed, sites: Mapping[str, KnownSite]) -> KnownSite:
    """The enrolled site whose key is named; refuse an unknown or revoked one."""
    site = sites.get(sealed.key_id)
    if site is None:
        raise Refused(
            Reason.UNKNOWN_SIGNER,
            f"signed by key {sealed.key_id[:12]}, which no enrolled site holds; "
            "enrol first",
        )
    if site.revoked:
        raise Refused(
            Reason.REVOKED_SIGNER, f"the key of site {site.name!r} was revoked"
        )
    return site


def _verified_facts(sealed: Sealed, site: KnownSite) -> BundleFacts:
    try:
        manifest = sealed.verify(site.key, sealed.payload_type)
    except SignatureError as error:
        raise Refused(Reason.BAD_SIGNATURE, str(error)) from error
    if sealed.payload_type != BUNDLE_TYPE:
        raise Refused(
            Reason.WRONG_KIND, f"signed as {sealed.payload_type!r}, not as a bundle"
        )
    try:
        facts = bundle_facts(manifest)
    except MalformedError as error:
        raise Refused(Reason.MALFORMED, str(error)) from error
    if facts.site != site.name:
        raise Refused(
            Reason.UNKNOWN_SIGNER,
            f"signed for site {facts.site!r} by the key of site {site.name!r}",
        )
    return facts


def check_counter(
    counter: int, site: KnownSite, max_step: int, *, what: str = "bundle"
) -> None:
    """Refuse a number that this site has used, passed, or is nowhere near.

    Args:
        counter: Of what is looked at.
        site: Whose it is, with the last number admitted.
        max_step: How far it may be ahead.
        what: What it is, for the message.
    """
    if counter == site.counter:
        raise Refused(
            Reason.REPLAYED, f"{what} {counter} of this site was admitted already"
        )
    if counter < site.counter:
        raise Refused(
            Reason.ROLLED_BACK,
            f"{what} {counter} is older than {what} {site.counter}, which was "
            "admitted already",
        )
    if counter > site.counter + max_step:
        raise Refused(
            Reason.FAST_FORWARD,
            f"{what} {counter} follows {what} {site.counter}; a step of at most "
            f"{max_step} is admitted",
        )


def _check_header(header: Header, facts: BundleFacts) -> None:
    """What the file says of itself must be what was signed of it."""
    try:
        said = concept_header(header)
    except MalformedError as error:
        raise Refused(Reason.MALFORMED, str(error)) from error
    for key, value in said.items():
        signed = getattr(facts, key)
        if value != signed:
            raise Refused(
                Reason.MIX_AND_MATCH,
                f"the file says {key} {value!r:.80}, its manifest {signed!r:.80}",
            )
