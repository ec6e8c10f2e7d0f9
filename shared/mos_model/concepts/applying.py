"""A low-rank update merged into a base for a while, and taken out bit by bit alike."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from mos_model.bases.base import Base
from mos_model.bases.base_outline import BaseOutline
from mos_model.concepts.concept import Concept, FusedConcept, FusedModel, LoraFactors
from mos_model.errors import BaseMismatchError, ConceptError


def as_fused(concept: Concept, *, site: str = "") -> FusedModel:
    """A single concept as a model of one, to sample from it before any fusion."""
    facts = concept.facts
    one = FusedConcept(facts.name, site, facts.class_word, concept.embeddings)
    return FusedModel(facts.base, concept.lora, (one,))


def added_up(concepts: Sequence[Concept]) -> FusedModel:
    """Concepts stacked without fusion: dW = sum_i B_i A_i, as LoRA files add up.

    The factors have rank sum(r_i). Concepts so combined disturb each other, which is
    what fusion is for.

    Raises:
        BaseMismatchError: they were made for different bases.
        ConceptError: two have one name, or they adapt different layers.
    """
    first = concepts[0]
    if len(concepts) == 1:
        return as_fused(first)
    seen: set[str] = set()
    for concept in concepts:
        facts = concept.facts
        if facts.name in seen:
            raise ConceptError(f"two concepts are named {facts.name}; rename one")
        seen.add(facts.name)
        if facts.base != first.facts.base:
            raise BaseMismatchError(
                f"{facts.name} was made for base {facts.base[:12]}, {first.facts.name} "
                f"for {first.facts.base[:12]}; they cannot be combined"
            )
        if set(concept.lora) != set(first.lora):
            raise ConceptError(
                f"{facts.name} and {first.facts.name} adapt different layers"
            )
    lora = {
        module: LoraFactors(
            down=torch.cat([c.lora[module].down.float() for c in concepts]),
            up=torch.cat([c.lora[module].up.float() for c in concepts], dim=1),
        )
        for module in first.lora
    }
    words = tuple(word for c in concepts for word in as_fused(c).concepts)
    return FusedModel(first.facts.base, lora, words)


@contextmanager
def applied(
    base: Base, lora: Mapping[str, LoraFactors], *, strength: float = 1.0
) -> Iterator[None]:
    """Inside, `base` computes with W0 + strength * up @ down; after, with W0 again.

    The original weights are kept and copied back, so nothing drifts however often
    updates come and go. Merged weights cost nothing per step of sampling.

    Raises:
        ConceptError: a module that the base does not have, or a wrong shape.
    """
    kept: dict[str, torch.Tensor] = {}
    try:
        for module, factors in lora.items():
            weight = _weight(base, module, factors)
            kept[module] = weight.clone()
            update = factors.up.float() @ factors.down.float()
            weight += (strength * update).to(weight)
        yield
    finally:
        for module, original in kept.items():
            base.projections[module].weight.data.copy_(original)


def check_base(base: Base | BaseOutline, fingerprint: str, what: str) -> None:
    """Refuse `what` where it was made for another base.

    Raises:
        BaseMismatchError: naming both fingerprints.
    """
    if fingerprint != base.inventory.base:
        raise BaseMismatchError(
            f"{what} was made for base {fingerprint[:12]}, {base.name!r} is "
            f"{base.inventory.base[:12]}; pass the base it was made for with --base"
        )


def _weight(base: Base, module: str, factors: LoraFactors) -> torch.Tensor:
    if module not in base.projections:
        raise ConceptError(f"{module}: the base {base.name!r} has no such projection")
    weight = base.projections[module].weight.data
    found = (factors.up.shape[0], factors.down.shape[1])
    if found != tuple(weight.shape):
        raise ConceptError(
            f"{module}: an update of shape {found}, the base has {tuple(weight.shape)}"
        )
    return weight
