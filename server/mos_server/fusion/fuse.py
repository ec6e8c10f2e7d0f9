"""Concepts in, one fused model and its report out.

In order: every concept is checked against the base before anything runs; its moments
are captured; every layer is solved in closed form; the update stays low-rank. The base
is left as it was.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from mos_server.errors import FusionError
from mos_server.fusion.capture import capture, sampling_steps
from mos_server.fusion.moments import STAGES, input_of, scaled, stage_of
from mos_server.fusion.report import FusionReport, LayerReport
from mos_server.fusion.settings import FusionSettings
from mos_server.fusion.solve import ConceptTerm, drift, residual, solve_all
from mos_shared.applying import check_base
from mos_shared.base import Base
from mos_shared.concept import Concept, FusedConcept, FusedModel, LoraFactors

Grams = Mapping[str, Float[Tensor, "d d"]]
OnProgress = Callable[[str, float], None]
"""Called with what happens now, and how much of the fusion is done, 0 to 1."""


@dataclass(frozen=True)
class Fusion:
    """The outcome of fusing some concepts."""

    model: FusedModel
    """The release's content, float32."""

    report: FusionReport
    """What each concept kept, layer by layer, and what the base lost."""


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
        concepts: (site, concept) pairs, in the order of the release; site "" for a
            concept from a file.
        settings: The base's own settings by default.
        on_progress: Told what happens.

    Raises:
        BaseMismatchError: a concept was made for another base.
        FusionError: two concepts have one full name, a concept lacks a layer or is not
            finite, or a layer is singular.
    """
    settings = settings or FusionSettings.for_base(base)
    tell = on_progress or (lambda _what, _share: None)
    _check(base, concepts)
    progress = _Progress(tell, concepts, settings)
    wide = [_double(concept.lora) for _, concept in concepts]
    prior = _prior_moments(base, settings, progress)
    if settings.inputs == "solo":
        moments: Sequence[Grams] = [
            _solo(base, c, settings, progress) for _, c in concepts
        ]
        fused = solve_all(wide, moments, prior, settings, sorted(wide[0]))
    else:
        fused, moments = _chained(base, concepts, wide, prior, settings, progress)
    progress.say("solving")
    names = [_full_name(site, concept) for site, concept in concepts]
    report = _report(base, names, wide, moments, prior, fused, settings)
    model = FusedModel(
        base=base.inventory.base,
        lora={m: LoraFactors(f.down.float(), f.up.float()) for m, f in fused.items()},
        concepts=tuple(
            FusedConcept(c.facts.name, site, c.facts.class_word, c.embeddings)
            for site, c in concepts
        ),
    )
    tell("fused", 1.0)
    return Fusion(model, report)


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


def _prior_moments(base: Base, settings: FusionSettings, progress: _Progress) -> Grams:
    """G_0: the inputs of generic prompts, from the base alone."""
    if settings.prior <= 0:
        return {}
    progress.say("capturing the prior")
    prompts = settings.prior_prompts()
    moments = capture(base, {}, {}, prompts, settings, on_step=progress.step)
    return scaled(moments, balance=settings.balance)


def _solo(
    base: Base, concept: Concept, settings: FusionSettings, progress: _Progress
) -> Grams:
    """G_i of every input, from the concept's own model throughout."""
    name = concept.facts.name
    progress.say(f"capturing {name}")
    moments = capture(
        base,
        concept.lora,
        {name: concept.embeddings},
        settings.concept_prompts(name),
        settings,
        on_step=progress.step,
    )
    return scaled(moments, balance=settings.balance)


def _chained(
    base: Base,
    concepts: Sequence[tuple[str, Concept]],
    wide: Sequence[Mapping[str, LoraFactors]],
    prior: Grams,
    settings: FusionSettings,
    progress: _Progress,
) -> tuple[dict[str, LoraFactors], list[dict[str, Float[Tensor, "d d"]]]]:
    """Stage by stage, later stages' inputs through the already fused earlier ones."""
    fused: dict[str, LoraFactors] = {}
    moments: list[dict[str, Float[Tensor, "d d"]]] = [{} for _ in concepts]
    for stage in STAGES:
        for own, (_, concept) in zip(moments, concepts, strict=True):
            name = concept.facts.name
            progress.say(f"capturing {name} ({stage})")
            captured = capture(
                base,
                dict(concept.lora) | fused,
                {name: concept.embeddings},
                settings.concept_prompts(name),
                settings,
                stages=(stage,),
                on_step=progress.step,
            )
            own |= scaled(captured, balance=settings.balance)
        modules = [module for module in sorted(wide[0]) if stage_of(module) == stage]
        fused |= solve_all(wide, moments, prior, settings, modules)
    return fused, moments


def _report(
    base: Base,
    names: Sequence[str],
    wide: Sequence[Mapping[str, LoraFactors]],
    moments: Sequence[Grams],
    prior: Grams,
    fused: Mapping[str, LoraFactors],
    settings: FusionSettings,
) -> FusionReport:
    layers = []
    for module, factors in fused.items():
        key = input_of(module)
        errors, sizes = {}, {}
        for name, lora, own in zip(names, wide, moments, strict=True):
            term = ConceptTerm(lora[module], own[key])
            errors[name], sizes[name] = residual(factors, term)
        moved, size = 0.0, 0.0
        if key in prior:
            weight = base.projections[module].weight.double()
            moved, size = drift(factors, weight, prior[key])
        layers.append(LayerReport(module, stage_of(module), errors, sizes, moved, size))
    recorded: dict[str, Any] = asdict(settings)
    return FusionReport(tuple(names), tuple(layers), recorded)


def _check(base: Base, concepts: Sequence[tuple[str, Concept]]) -> None:
    if not concepts:
        raise FusionError("nothing to fuse: give at least one concept")
    seen: set[str] = set()
    for site, concept in concepts:
        name = _full_name(site, concept)
        if name in seen:
            raise FusionError(f"two concepts are named {name}; rename one of them")
        seen.add(name)
        check_base(base, concept.facts.base, f"concept {name}")
        _check_tensors(base, name, concept)


def _check_tensors(base: Base, name: str, concept: Concept) -> None:
    expected = base.inventory.projections
    if set(concept.lora) != set(expected):
        odd = sorted(set(concept.lora) ^ set(expected))[0]
        raise FusionError(
            f"{name}: layer {odd} is either missing or not of the base {base.name!r}"
        )
    for module, factors in concept.lora.items():
        shape = (factors.up.shape[0], factors.down.shape[1])
        if shape != expected[module] or factors.up.shape[1] != factors.down.shape[0]:
            raise FusionError(
                f"{name}: layer {module} updates {shape}, the base has "
                f"{expected[module]}"
            )
        if not (factors.up.isfinite().all() and factors.down.isfinite().all()):
            raise FusionError(f"{name}: layer {module} holds NaN or infinity")


def _full_name(site: str, concept: Concept) -> str:
    return f"{site}/{concept.facts.name}" if site else concept.facts.name


def _double(lora: Mapping[str, LoraFactors]) -> dict[str, LoraFactors]:
    return {m: LoraFactors(f.down.double(), f.up.double()) for m, f in lora.items()}
