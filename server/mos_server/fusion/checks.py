"""What concepts must be before anything of them is fused."""

from collections.abc import Sequence
from typing import Final

from mos_model.bases.base import Base
from mos_model.concepts.applying import check_base
from mos_model.concepts.concept import Concept, LoraFactors
from mos_protocol.rules.admission import AdmissionLimits
from mos_protocol.rules.bounds import update_fault
from mos_server.errors import FusionError
from mos_server.fusion.moments import Moments

LIMITS: Final = AdmissionLimits()
"""The admission limits, for concepts that come from a file as well."""


def full_name(site: str, concept: str) -> str:
    """`site/concept`, or the concept alone where it came from a file."""
    return f"{site}/{concept}" if site else concept


def check_concepts(base: Base, concepts: Sequence[tuple[str, Concept]]) -> None:
    """Refuse concepts that cannot be fused, naming concept and layer.

    Raises:
        BaseMismatchError: a concept was made for another base.
        FusionError: there is none, two have one full name, or one does not pass
            `check_concept`.
    """
    if not concepts:
        raise FusionError("nothing to fuse: give at least one concept")
    seen: set[str] = set()
    for site, concept in concepts:
        name = full_name(site, concept.facts.name)
        if name in seen:
            raise FusionError(f"two concepts are named {name}; rename one of them")
        seen.add(name)
        check_concept(base, name, concept)


def check_concept(base: Base, name: str, concept: Concept) -> None:
    """Refuse a concept that does not fit the base, or is out of all bounds.

    Ranks may differ between concepts: each brings its own rows of the fused factors.

    Raises:
        BaseMismatchError: it was made for another base.
        FusionError: a layer is missing, of another shape or rank, not finite, or its
            update exceeds `LIMITS`.
    """
    check_base(base, concept.facts.base, f"concept {name}")
    expected = base.inventory.projections
    if set(concept.lora) != set(expected):
        odd = sorted(set(concept.lora) ^ set(expected))[0]
        raise FusionError(
            f"{name}: layer {odd} is either missing or not of the base {base.name!r}"
        )
    for module, factors in concept.lora.items():
        _check_layer(name, module, factors, expected[module], concept.facts.rank)
        _check_size(name, module, factors)
    for encoder, vectors in concept.embeddings.items():
        if not vectors.isfinite().all():
            raise FusionError(f"{name}: its words for {encoder} hold NaN or infinity")


def check_moments(name: str, moments: Moments) -> None:
    """Refuse moments that a concept has driven to NaN or infinity.

    Raises:
        FusionError: naming the concept and an input.
    """
    for read, gram in moments.items():
        if not gram.isfinite().all():
            raise FusionError(
                f"{name}: the inputs {read} are not finite: the concept's "
                "updates or words are too large for the base; tune it again"
            )


def _check_layer(
    name: str, module: str, factors: LoraFactors, expected: tuple[int, int], rank: int
) -> None:
    shape = (factors.up.shape[0], factors.down.shape[1])
    if shape != expected:
        raise FusionError(
            f"{name}: layer {module} updates {shape}, the base has {expected}"
        )
    ranks = (factors.down.shape[0], factors.up.shape[1])
    if ranks != (rank, rank):
        raise FusionError(
            f"{name}: layer {module} has factors of rank {ranks[0]} and {ranks[1]}, "
            f"the concept says {rank}"
        )
    if not (factors.up.isfinite().all() and factors.down.isfinite().all()):
        raise FusionError(f"{name}: layer {module} holds NaN or infinity")


def _check_size(name: str, module: str, factors: LoraFactors) -> None:
    fault = update_fault(
        factors.down.detach().double().cpu().numpy(),
        factors.up.detach().double().cpu().numpy(),
        max_gain=LIMITS.max_update_gain,
        max_spectral=LIMITS.max_update_spectral,
    )
    if fault:
        raise FusionError(f"{name}: layer {module}: {fault}")
