"""The rules by which a site takes up a release. No IO, no clock, no model.

The order is part of the rules; the first one broken gives the reason:

    size -> envelope -> signer is the centre, or a key that its own names as the next
    (`succession`) -> signature -> kind -> endorsements -> lifetime
    -> version and chain -> base -> manifest against the base's inventory, or, where the
    base is not here, against itself -> digests -> header against manifest
    -> values: finite, within bounds

A site that was away may skip versions: it follows the chain only where the release
comes right after the one it holds. The release it holds already is taken up again,
as it is. `ReleaseTrust.check` returns or raises; it changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mos_model.bases.inventory import Inventory
from mos_protocol.encoding.canonical import sha256
from mos_protocol.encoding.header import Header
from mos_protocol.encoding.tensors import TensorFacts, values
from mos_protocol.errors import MalformedError, Reason, ReleaseError, SignatureError
from mos_protocol.rules.agreement import (
    Refused,
    check_base,
    check_lifetime,
    check_payload,
    check_tensors,
    release_shapes,
)
from mos_protocol.rules.bounds import (
    DOWN,
    UP,
    check_embeddings,
    check_finite,
    check_updates,
)
from mos_protocol.signed import blob
from mos_protocol.signed.envelope import RELEASE_TYPE, Sealed
from mos_protocol.signed.keys import VerifyKey
from mos_protocol.signed.release import (
    MAX_RELEASE_BYTES,
    Release,
    ReleaseFacts,
    check_endorsements,
    fused_header,
    release_facts,
    words_of,
)
from mos_protocol.signed.succession import successor


@dataclass(frozen=True)
class ReleaseLimits:
    """What no honest release exceeds."""

    max_release_bytes: int = MAX_RELEASE_BYTES
    """Size of a release's blob, bytes."""

    max_clock_skew_seconds: int = 600
    """How far the centre's clock may be ahead of the site's, seconds."""

    max_version_step: int = 100_000
    """How far a version may be ahead of the one that the site holds."""

    max_update_gain: float = 4.0
    """As in `AdmissionLimits`, for each concept of the release."""

    max_update_spectral: float = 16.0
    """As in `AdmissionLimits`, for each concept of the release."""

    max_embedding_rms: float = 10.0
    """As in `AdmissionLimits`."""


@dataclass(frozen=True)
class HeldRelease:
    """The release that a site holds."""

    version: int
    digest: str
    """Of its manifest, 64 hexadecimal digits."""


class ReleaseTrust:
    """The rules of one site."""

    def __init__(self, limits: ReleaseLimits | None = None) -> None:
        """Rules with these limits."""
        self._limits = limits or ReleaseLimits()

    def check(
        self,
        content: bytes,
        *,
        centre_key: VerifyKey,
        base: str,
        inventory: Inventory | None,
        held: HeldRelease | None,
        now: int,
    ) -> ReleaseFacts:
        """The facts of the release in `content`, where it keeps every rule.

        Args:
            content: `Release.to_bytes()`, as received.
            centre_key: The centre's, from the welcome.
            base: Fingerprint of the base in use, 64 hexadecimal digits.
            inventory: Of the same base; None where the base is not here, which
                leaves it to the names and shapes to agree with each other.
            held: The newest release that the site has taken up; None for none.
            now: Unix time, seconds.

        Raises:
            ReleaseError: a rule is broken; `reason` says which kind, the text what.
        """
        try:
            release, sealed = self._opened(content)
            facts = _verified_facts(sealed, _signer(sealed, centre_key))
            skew = self._limits.max_clock_skew_seconds
            check_lifetime(facts.created, facts.expires, now=now, max_skew=skew)
            digest = sha256(sealed.payload)
            _check_chain(facts, digest, held, self._limits.max_version_step)
            check_base(facts.base, base, inventory.label if inventory else "")
            if inventory is None:
                _check_by_itself(facts)
            else:
                _check_inventory(facts, inventory)
            self._check_values(release, facts, _check_payload(release, facts))
        except Refused as refused:
            raise ReleaseError(refused.reason, str(refused)) from refused
        return facts

    @staticmethod
    def signer(content: bytes, centre_key: VerifyKey) -> VerifyKey:
        """The key that signed a release which `check` has let through.

        It is the centre's from then on, and no earlier one is.
        """
        release = Release.from_bytes(content, max_bytes=len(content))
        return _signer(release.sealed(), centre_key)

    def _opened(self, content: bytes) -> tuple[Release, Sealed]:
        limit = self._limits.max_release_bytes
        if len(content) > limit:
            raise Refused(
                Reason.TOO_LARGE, f"{len(content)} bytes; a release has at most {limit}"
            )
        if content.startswith(blob.BUNDLE_MAGIC):
            raise Refused(Reason.WRONG_KIND, "this is a bundle, not a release")
        try:
            release = Release.from_bytes(content, max_bytes=limit)
            return release, release.sealed()
        except MalformedError as error:
            raise Refused(Reason.MALFORMED, str(error)) from error

    def _check_values(
        self, release: Release, facts: ReleaseFacts, header: Header
    ) -> None:
        """Refuse what is not finite, or larger than so many concepts can make it."""
        count, limits = max(1, len(facts.concepts)), self._limits
        spans = {span.name: span for span in header.spans}
        for name in spans:
            if name.endswith(UP):
                continue  # with the other factor of its layer
            names = [name]
            if name.endswith(DOWN):
                names.append(f"{name.removesuffix(DOWN)}{UP}")
            found = {one: values(release.payload, spans[one]) for one in names}
            check_finite(found)
            check_updates(
                found,
                max_gain=count * limits.max_update_gain,
                max_spectral=count * limits.max_update_spectral,
            )
            check_embeddings(found, max_rms=limits.max_embedding_rms)


def _verified_facts(sealed: Sealed, centre_key: VerifyKey) -> ReleaseFacts:
    try:
        manifest = sealed.verify(centre_key, sealed.payload_type)
    except SignatureError as error:
        raise Refused(Reason.BAD_SIGNATURE, str(error)) from error
    if sealed.payload_type != RELEASE_TYPE:
        raise Refused(
            Reason.WRONG_KIND, f"signed as {sealed.payload_type!r}, not as a release"
        )
    try:
        facts = release_facts(manifest)
        check_endorsements(sealed, facts)
    except MalformedError as error:
        raise Refused(Reason.MALFORMED, str(error)) from error
    return facts


def _signer(sealed: Sealed, centre_key: VerifyKey) -> VerifyKey:
    try:
        return successor(centre_key, sealed.key_id, sealed.endorsements)
    except SignatureError as error:
        raise Refused(Reason.UNKNOWN_SIGNER, str(error)) from error
    except MalformedError as error:
        raise Refused(Reason.MALFORMED, str(error)) from error


def _check_chain(
    facts: ReleaseFacts, digest: str, held: HeldRelease | None, max_step: int
) -> None:
    version, held_version = facts.version, held.version if held else 0
    if version < held_version:
        raise Refused(
            Reason.ROLLED_BACK,
            f"release {version} is older than release {held_version}, which this site "
            "holds",
        )
    if version > held_version + max_step:
        raise Refused(
            Reason.FAST_FORWARD,
            f"release {version} follows release {held_version}; a step of at most "
            f"{max_step} is taken up",
        )
    if held is None:
        return
    if version == held.version and digest != held.digest:
        raise Refused(
            Reason.MIX_AND_MATCH,
            f"another release {version} than the one that this site holds: the centre "
            "has signed two",
        )
    if version == held.version + 1 and facts.previous_sha256 != held.digest:
        raise Refused(
            Reason.MIX_AND_MATCH,
            f"release {version} does not follow the release {held.version} that this "
            "site holds",
        )


def _check_inventory(facts: ReleaseFacts, inventory: Inventory) -> None:
    rank = _rank_sum(facts.tensors)
    keys = [concept.key for concept in facts.concepts]
    expected = release_shapes(inventory, rank, keys)
    check_tensors(facts.tensors, expected, f"a release of rank {rank}")


def _rank_sum(tensors: Sequence[TensorFacts]) -> int:
    """The rank that the first down factor, [r, d_in], claims; 0 where there is none."""
    for tensor in tensors:
        if tensor.name.endswith(DOWN) and tensor.shape:
            return tensor.shape[0]
    return 0


def _check_by_itself(facts: ReleaseFacts) -> None:
    """Refuse tensors that no base has: names and shapes must agree with each other."""
    rank, shapes = _rank_sum(facts.tensors), {t.name: t.shape for t in facts.tensors}
    modules = [n.removesuffix(DOWN) for n in shapes if n.endswith(DOWN)]
    if facts.concepts and not modules:
        raise Refused(Reason.WRONG_INVENTORY, "a release of concepts without any LoRA")
    expected: dict[str, tuple[int, ...]] = {}
    for module in modules:
        down, up = shapes[f"{module}{DOWN}"], shapes.get(f"{module}{UP}", ())
        expected[f"{module}{DOWN}"] = (rank, *down[1:2])
        expected[f"{module}{UP}"] = (*up[:1], rank)
    words = [f"concepts.{concept.key}." for concept in facts.concepts]
    for name, shape in shapes.items():
        if name.startswith(tuple(words)):
            expected[name] = (2, *shape[1:2])
    for prefix in words:
        if not any(name.startswith(prefix) for name in shapes):
            raise Refused(Reason.WRONG_INVENTORY, f"the release lacks {prefix}*")
    check_tensors(facts.tensors, expected, f"a release of rank {rank}")


def _check_payload(release: Release, facts: ReleaseFacts) -> Header:
    header = check_payload(
        release.payload,
        payload_sha256=facts.payload_sha256,
        payload_bytes=facts.payload_bytes,
        tensors=facts.tensors,
    )
    try:
        base, words = fused_header(header)
    except MalformedError as error:
        raise Refused(Reason.MALFORMED, str(error)) from error
    if base != facts.base or words != words_of(facts):
        raise Refused(
            Reason.MIX_AND_MATCH,
            "the file names another base or other concepts than its manifest",
        )
    return header
