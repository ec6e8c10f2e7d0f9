"""Concepts in, one fused model and its report out.

Every concept is checked against the base before anything runs. With solo inputs a
ledger does the rest, in a folder that is gone afterwards: one concept's moments are in
memory at a time. Chained inputs, kept for comparison, hold all of them. The base is
left as it was.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from mos_model.base import Base
from mos_model.concept import Concept, FusedConcept, FusedModel, LoraFactors
from mos_server.fusion.capture import capture, sampling_steps
from mos_server.fusion.checks import check_concepts, check_moments, full_name
from mos_server.fusion.ledger.ledger import Ledger, can_join
from mos_server.fusion.moments import STAGES, scaled, stage_of
from mos_server.fusion.report.judging import Standing, alone_residuals, judged
from mos_server.fusion.report.outcome import Fusion, OnProgress, part_of, silent
from mos_server.fusion.settings import FusionSettings
from mos_server.fusion.solve import solve_all

Grams = Mapping[str, Float[Tensor, "d d"]]


def fuse_concepts(
    base: Base,
    concepts: Sequence[tuple[str, Concept]],
    *,
    settings: FusionSettings | None = None,
    on_progress: OnProgress | None = None,
) -> Fusion:
    """Fuse concepts by gradient fusion in closed form.

    Args:
        base: The base they were tuned on; unchanged afterwards.
        concepts: (site, concept) pairs; site "" for a concept from a file. The fused
            model has them in ascending order.
        settings: The base's own settings by default.
        on_progress: Told what happens.

    Raises:
        BaseMismatchError: a concept was made for another base.
        FusionError: two concepts have one full name, a concept does not fit the base,
            is not finite or too large, or a layer is singular.
    """
    settings = settings or FusionSettings.for_base(base)
    tell = on_progress or silent
    check_concepts(base, concepts)
    ordered = sorted(concepts, key=lambda pair: (pair[0], pair[1].facts.name))
    joining = can_join(settings)
    fused = (_joined if joining else _at_once)(base, ordered, settings, tell)
    tell("fused", 1.0)
    return fused


def _joined(
    base: Base,
    concepts: Sequence[tuple[str, Concept]],
    settings: FusionSettings,
    tell: OnProgress,
) -> Fusion:
    with tempfile.TemporaryDirectory(prefix="mos-fusion-") as folder:
        ledger = Ledger(Path(folder), base, settings)
        for place, (site, concept) in enumerate(concepts):
            share = (place / len(concepts), (place + 1) / len(concepts))
            ledger.join(site, concept, on_progress=part_of(tell, *share))
        return ledger.fuse()


class _Progress:
    """Counts sampling steps over all captures of one fusion."""

    def __init__(
        self,
        tell: OnProgress,
        concepts: Sequence[tuple[str, Concept]],
        settings: FusionSettings,
    ) -> None:
        each = [settings.concept_prompts(c.facts.name) for _, c in concepts]
        if settings.prior > 0:
            each.append(settings.prior_prompts())
        self._tell = tell
        self._total = sum(sampling_steps(prompts, settings) for prompts in each) + 1
        self._done = 0
        self._what = ""

    def say(self, what: str) -> None:
        self._what = what
        self._tell(what, self._done / self._total)

    def step(self) -> None:
        self._done += 1
        self.say(self._what)


def _at_once(
    base: Base,
    concepts: Sequence[tuple[str, Concept]],
    settings: FusionSettings,
    tell: OnProgress,
) -> Fusion:
    """Stage by stage; chained inputs of later stages come through the earlier ones."""
    progress = _Progress(tell, concepts, settings)
    wide = [_double(concept.lora) for _, concept in concepts]
    prior = _prior_moments(base, settings, progress)
    fused: dict[str, LoraFactors] = {}
    moments: list[dict[str, Float[Tensor, "d d"]]] = [{} for _ in concepts]
    for stage in STAGES:
        earlier = fused if settings.inputs == "chained" else {}
        modules = [module for module in sorted(wide[0]) if stage_of(module) == stage]
        for own, (site, concept) in zip(moments, concepts, strict=True):
            name = concept.facts.name
            progress.say(f"capturing {name} ({stage})")
            captured = capture(
                base,
                dict(concept.lora) | earlier,
                {name: concept.embeddings},
                settings.concept_prompts(name),
                settings,
                stages=(stage,),
                on_step=progress.step,
            )
            check_moments(full_name(site, name), captured, modules)
            own |= scaled(captured, balance=settings.balance)
        fused |= solve_all(wide, moments, prior, settings, modules)
    progress.say("solving")
    standings = [
        _standing(full_name(site, concept.facts.name), lora, own, prior, settings)
        for (site, concept), lora, own in zip(concepts, wide, moments, strict=True)
    ]
    names = [full_name(site, concept.facts.name) for site, concept in concepts]
    ranks = {n: c.facts.rank for n, (_, c) in zip(names, concepts, strict=True)}
    report = judged(base, fused, standings, ranks, prior.get, settings)
    model = FusedModel(
        base=base.inventory.base,
        lora={m: LoraFactors(f.down.float(), f.up.float()) for m, f in fused.items()},
        concepts=tuple(
            FusedConcept(c.facts.name, site, c.facts.class_word, c.embeddings)
            for site, c in concepts
        ),
    )
    return Fusion(model, report)


def _prior_moments(base: Base, settings: FusionSettings, progress: _Progress) -> Grams:
    """G_0: the inputs of generic prompts, from the base alone."""
    if settings.prior <= 0:
        return {}
    progress.say("capturing the prior")
    prompts = settings.prior_prompts()
    moments = capture(base, {}, {}, prompts, settings, on_step=progress.step)
    return scaled(moments, balance=settings.balance)


def _standing(
    name: str,
    lora: Mapping[str, LoraFactors],
    moments: Grams,
    prior: Grams,
    settings: FusionSettings,
) -> Standing:
    gram_of: Callable[[str], Float[Tensor, "d d"]] = moments.__getitem__
    alone = alone_residuals(lora, gram_of, prior.get, settings)
    return Standing(name, lora, alone, gram_of)


def _double(lora: Mapping[str, LoraFactors]) -> dict[str, LoraFactors]:
    return {m: LoraFactors(f.down.double(), f.up.double()) for m, f in lora.items()}
