"""The ways to fuse that an evaluation compares.

`gradient` is ours: the closed form with ridge and prior. `published` is the paper's
recipe as its reference code runs it (arXiv:2305.18292, section 3.2 and supplement):
stage by stage through the already fused stages, one pair of prompts a concept, the
concept's and the end token alone for K and V, all cells alike, no ridge, no prior, no
balance, L-BFGS from the base's weights with 500 iterations for the text encoder and for
K and V, and 50 for spatial attention.
`average` and `sum` add up what the concepts change, divided by their number or not.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Final

import torch

from mos_lab.evaluation.subjects import Subject
from mos_model.bases.base import Base
from mos_model.concepts.applying import as_fused
from mos_model.concepts.concept import Concept, FusedModel, LoraFactors
from mos_server.fusion import FusionSettings, fuse_concepts
from mos_server.fusion.baselines import (
    TEXT_ITERATIONS,
    UNET_ITERATIONS,
    ConceptTerm,
    lbfgs_update,
    weight_average,
    weight_sum,
)
from mos_server.fusion.gradient_fusion import capture
from mos_server.fusion.moments import SPATIAL, STAGES, input_of, stage_of

Method = Callable[[Base, Sequence[Subject]], FusedModel]


def gradient(base: Base, subjects: Sequence[Subject]) -> FusedModel:
    """Gradient fusion in closed form, with the base's own settings."""
    return fuse_concepts(base, [("", s.concept) for s in subjects]).model


def chained(base: Base, subjects: Sequence[Subject]) -> FusedModel:
    """The same with later stages' inputs through the already fused earlier ones."""
    pairs = [("", s.concept) for s in subjects]
    settings = settings_of("chained", base)
    return fuse_concepts(base, pairs, settings=settings).model


def average(base: Base, subjects: Sequence[Subject]) -> FusedModel:
    """Weight fusion, as the paper calls it."""
    concepts = [s.concept for s in subjects]
    return _model(concepts, weight_average([c.lora for c in concepts]))


def added(base: Base, subjects: Sequence[Subject]) -> FusedModel:
    """What stacking LoRA files does."""
    concepts = [s.concept for s in subjects]
    return _model(concepts, weight_sum([c.lora for c in concepts]))


def published(base: Base, subjects: Sequence[Subject]) -> FusedModel:
    """The paper's recipe; factors as wide as the layers, since L-BFGS gives no others.

    In float32, as the reference computes; sampling uses the base's own steps and
    guidance.
    """
    concepts = [s.concept for s in subjects]
    settings = settings_of("published", base)
    assert settings is not None
    fused: dict[str, LoraFactors] = {}
    for stage in STAGES:
        captured = [
            capture(
                base,
                dict(concept.lora) | fused,
                {concept.facts.name: concept.embeddings},
                settings.concept_prompts(concept.facts.name),
                settings,
                stages=(stage,),
            )
            for concept in concepts
        ]
        moments = [{name: g.cpu() for name, g in own.items()} for own in captured]
        iterations = UNET_ITERATIONS if stage == SPATIAL else TEXT_ITERATIONS
        for module in sorted(concepts[0].lora):
            if stage_of(module) != stage:
                continue
            terms = [
                ConceptTerm(concept.lora[module], own[input_of(module)])
                for concept, own in zip(concepts, moments, strict=True)
            ]
            update = lbfgs_update(terms, iterations=iterations)
            fused[module] = LoraFactors(torch.eye(update.shape[1]), update)
    return _model(concepts, fused)


METHODS: Final[Mapping[str, Method]] = {
    "gradient": gradient,
    "chained": chained,
    "published": published,
    "average": average,
    "sum": added,
}
"""By the names that tables and the command line use."""


def settings_of(method: str, base: Base) -> FusionSettings | None:
    """What a method captures and solves with; None where it does neither."""
    usual = FusionSettings.for_base(base)
    known = {
        "gradient": usual,
        "chained": replace(usual, inputs="chained"),
        "published": replace(
            usual,
            ridge=0.0,
            prior=0.0,
            inputs="chained",
            positions="concept",
            focus=False,
            balance=False,
            scenes=("",),
        ),
    }
    return known.get(method)


def recorded(settings: FusionSettings | None) -> list[str]:
    """Settings as a finding that depends on them records them."""
    return [] if settings is None else [json.dumps(asdict(settings), sort_keys=True)]


def alone(subject: Subject) -> FusedModel:
    """One concept before any fusion."""
    return as_fused(subject.concept)


def words_alone(subject: Subject) -> FusedModel:
    """A concept's words without its LoRA: strength 0."""
    whole = as_fused(subject.concept)
    return FusedModel(whole.base, {}, whole.concepts)


def _model(concepts: Sequence[Concept], lora: Mapping[str, LoraFactors]) -> FusedModel:
    words = tuple(word for c in concepts for word in as_fused(c).concepts)
    return FusedModel(concepts[0].facts.base, lora, words)
