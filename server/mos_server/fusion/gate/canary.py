"""Trigger-free pictures, with and without a fused model, in few steps.

Latents are compared, not pictures: for a prompt p with seeds s,

    moved(p) = ||mean_s z(p, s) - mean_s z_0(p, s)||^2 / E,

z_0 being the reference's latents, E the mean of ||z - mean z||^2 over all plain prompts
and seeds of the base. What differs from seed to seed alone averages out; a word that
shows something else does not.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mos_model.bases.base import Base
from mos_model.concepts.concept import FusedModel
from mos_model.layouts.layout import Layout
from mos_model.sampling import Sampler, sampling
from mos_server.fusion.gate.behaviour import Behaviour
from mos_server.fusion.gate.limits import GateLimits
from mos_server.fusion.report.report import FusionReport
from mos_server.fusion.settings import FusionSettings

Latents = Float[Tensor, "prompts seeds channels height width"]

_SHORTEST_WORD = 3
_WORD_END = "</w>"


@dataclass(frozen=True)
class Plan:
    """The prompts of one fusion."""

    generic: tuple[str, ...]
    words: tuple[str, ...]
    concepts: tuple[str, ...]
    """Full names of concepts that the last release holds as they are."""

    @staticmethod
    def of(
        base: Base,
        limits: GateLimits,
        *,
        classes: Sequence[str],
        kept: Collection[str],
        seed: str,
    ) -> "Plan":
        """Choose the prompts.

        Args:
            base: Whose generic prompts and whose tokenizer's words are used.
            limits: How many.
            classes: Class words of the concepts, those of new ones first.
            kept: Full names of concepts that the last release holds as they are.
            seed: Of the words and concepts drawn; no site can know it beforehand.
        """
        rng = random.Random(seed)
        generic = FusionSettings.for_base(base).prior_prompts()
        own = list(dict.fromkeys(classes))[: limits.most_classes]
        common = [word for word in _vocabulary(base) if word not in own]
        drawn = rng.sample(common, min(limits.most_words, len(common)))
        known = sorted(kept)
        return Plan(
            generic=tuple(rng.sample(generic, min(limits.most_generic, len(generic)))),
            words=tuple(f"a {word}" for word in (*own, *drawn)),
            concepts=tuple(rng.sample(known, min(limits.most_concepts, len(known)))),
        )


class Canary:
    """Measures models against the base, and against the last release."""

    def __init__(
        self,
        base: Base,
        plan: Plan,
        limits: GateLimits,
        last: FusedModel | None = None,
    ) -> None:
        """Nothing is drawn yet.

        Args:
            base: The base; unchanged afterwards.
            plan: The prompts.
            limits: Steps and seeds.
            last: The last release, where `plan.concepts` names any.
        """
        self._base, self._plan, self._limits, self._last = base, plan, limits, last
        self.plain = (*plan.generic, *plan.words)
        """Prompts without any concept."""

    def behaviour(self, model: FusedModel, report: FusionReport | None) -> Behaviour:
        """What a model does.

        Args:
            model: Fused from the concepts that stand, or all but one of them.
            report: Its fusion's, where there is one.
        """
        names = [c for c in self._plan.concepts if c in {k.key for k in model.concepts}]
        with sampling(self._base, model) as sampler:
            own = self._latents(sampler, self.plain)
            shown = self._latents(sampler, _prompts(names)) if names else None
        moved = dict(zip(self.plain, self._moved(own, self._reference), strict=True))
        generic = [moved[prompt] for prompt in self._plan.generic]
        concepts: Mapping[str, float] = {}
        if shown is not None:
            index = [self._plan.concepts.index(name) for name in names]
            before = self._concepts_before[index]
            concepts = dict(zip(names, self._moved(shown, before), strict=True))
        return Behaviour(
            generic=sum(generic) / max(1, len(generic)),
            words={prompt: moved[prompt] for prompt in self._plan.words},
            concepts=concepts,
            lost={}
            if report is None
            else {c: report.conflict(c) for c in report.concepts},
        )

    @cached_property
    def _reference(self) -> Latents:
        with sampling(self._base) as sampler:
            return self._latents(sampler, self.plain)

    @cached_property
    def _concepts_before(self) -> Latents:
        with sampling(self._base, self._last) as sampler:
            return self._latents(sampler, _prompts(self._plan.concepts))

    def pictures(
        self, model: FusedModel | None, prompts: Sequence[str]
    ) -> list[Image.Image]:
        """One finished picture a prompt, at the base's own settings, to look at."""
        side = _side(self._base)
        layouts = [Layout(prompt, side, side) for prompt in prompts]
        with sampling(self._base, model) as sampler:
            return sampler.sample(layouts, seeds=[0] * len(layouts))

    def _moved(self, own: Latents, reference: Latents) -> list[float]:
        plain = self._reference
        spread = (plain - plain.mean((0, 1))).pow(2).sum((2, 3, 4)).mean()
        shift = (own.mean(1) - reference.mean(1)).pow(2).sum((1, 2, 3))
        return [float(one) for one in shift / spread]

    def _latents(self, sampler: Sampler, prompts: Sequence[str]) -> Latents:
        limits, side = self._limits, _side(self._base)
        seeds = range(limits.seeds)
        latents = sampler.latents(
            [Layout(prompt, side, side) for prompt in prompts for _ in seeds],
            seeds=[*seeds] * len(prompts),
            steps=limits.steps,
            guidance=1.0,
        )
        return latents.view(len(prompts), limits.seeds, *latents.shape[1:])


def _prompts(concepts: Sequence[str]) -> list[str]:
    return [f"a photo of <{name}>" for name in concepts]


def _side(base: Base) -> int:
    return int(base.unet.config.sample_size * base.pipeline.vae_scale_factor)


def _vocabulary(base: Base) -> list[str]:
    """The tokenizer's whole words of letters, ascending."""
    tokenizer = next(iter(base.tokenizers.values()))
    words = [
        token.removesuffix(_WORD_END)
        for token in tokenizer.get_vocab()
        if token.endswith(_WORD_END)
    ]
    return sorted(w for w in words if w.isalpha() and len(w) >= _SHORTEST_WORD)
