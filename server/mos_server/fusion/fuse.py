"""Concepts in, one fused model and its report out.

Every concept is checked against the base before anything runs. With solo inputs a
ledger does the rest, in a folder that is gone afterwards: one concept's moments are in
memory at a time. Chained inputs, kept for comparison, hold all of them. The base is
left as it was.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from mos_model.bases.base import Base
from mos_model.concepts.concept import Concept, FusedConcept, FusedModel, LoraFactors
from mos_server.fusion.capture import sampling_steps
from mos_server.fusion.checks import check_concepts, full_name
from mos_server.fusion.gradient_fusion import Moments, fuse
from mos_server.fusion.ledger.ledger import Ledger, can_join
from mos_server.fusion.moments import in_float64
from mos_server.fusion.progress import OnProgress, SamplingProgress, part_of, silent
from mos_server.fusion.report.judging import Standing, alone_residuals, judged
from mos_server.fusion.report.outcome import Fusion
from mos_server.fusion.settings import FusionSettings

_CAPTURED_SHARE = 0.95


def fuse_concepts(
    base: Base,
    concepts: Sequence[tuple[str, Concept]],
    *,
    settings: FusionSettings | None = None,
    on_progress: OnProgress = silent,
) -> Fusion:
    """Fuse concepts by gradient fusion in closed form.

    Args:
        base: The base they were tuned on; unchanged afterwards.
        concepts: (site, concept) pairs; site "" for a concept from a file. The fused
            model has them in ascending order.
        settings: The base's own settings by default.
        on_progress: Called with what happens, and the share that is done.

    Raises:
        BaseMismatchError: a concept was made for another base.
        FusionError: two concepts have one full name, a concept does not fit the base,
            is not finite or too large, or a layer is singular.
    """
    settings = settings or FusionSettings.for_base(base)
    check_concepts(base, concepts)
    ordered = sorted(concepts, key=lambda pair: (pair[0], pair[1].facts.name))
    route = _one_by_one if can_join(settings) else _at_once
    fused = route(base, ordered, settings, on_progress)
    on_progress("fused", 1.0)
    return fused


def _one_by_one(
    base: Base,
    concepts: Sequence[tuple[str, Concept]],
    settings: FusionSettings,
    on_progress: OnProgress,
) -> Fusion:
    with tempfile.TemporaryDirectory(prefix="mos-fusion-") as folder:
        ledger = Ledger(Path(folder), base, settings)
        for place, (site, concept) in enumerate(concepts):
            share = (place / len(concepts), (place + 1) / len(concepts))
            ledger.join(site, concept, on_progress=part_of(on_progress, *share))
        return ledger.fuse()


def _at_once(
    base: Base,
    pairs: Sequence[tuple[str, Concept]],
    settings: FusionSettings,
    on_progress: OnProgress,
) -> Fusion:
    concepts = {full_name(site, c.facts.name): c for site, c in pairs}
    prompts = [settings.concept_prompts(c.facts.name) for c in concepts.values()]
    if settings.prior > 0:
        prompts.append(settings.prior_prompts())
    steps = sum(sampling_steps(one, settings) for one in prompts)
    progress = SamplingProgress(on_progress, steps, share=_CAPTURED_SHARE)
    fused, moments, prior = fuse(base, concepts, settings, progress)
    on_progress("judging", _CAPTURED_SHARE)
    standings = [
        _standing(name, concept, moments[name], prior, settings)
        for name, concept in concepts.items()
    ]
    ranks = {name: concept.facts.rank for name, concept in concepts.items()}
    report = judged(base, fused, standings, ranks, prior.get, settings)
    model = FusedModel(
        base=base.inventory.base,
        lora={m: LoraFactors(f.down.float(), f.up.float()) for m, f in fused.items()},
        concepts=tuple(
            FusedConcept(c.facts.name, site, c.facts.class_word, c.embeddings)
            for site, c in pairs
        ),
    )
    return Fusion(model, report)


def _standing(
    name: str,
    concept: Concept,
    moments: Moments,
    prior: Moments,
    settings: FusionSettings,
) -> Standing:
    lora, gram_of = in_float64(concept.lora), moments.__getitem__
    alone = alone_residuals(lora, gram_of, prior.get, settings)
    return Standing(name, lora, alone, gram_of)
