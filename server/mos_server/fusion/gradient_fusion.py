r"""Gradient fusion in closed form: the method, from top to bottom.

Mix-of-Show (arXiv:2305.18292, section 3.2) minimises, for every linear layer,
`sum_i ||(W0 + B_i A_i) X_i - W X_i||_F^2` over W by L-BFGS, X_i being the layer's
inputs while concept i is sampled. It is least squares, and needs nothing of X_i but the
second moments `G_i = X_i X_i^T`. With a ridge, and a prior of generic inputs X_0 whose
target is the base's own output (the paper has neither),

    M = sum_i G_i + mu G_0 + lambda I
    W = W0 + [B_1 .. B_n] @ [A_1 G_1 ; .. ; A_n G_n] @ M^-1

so the fused update is a LoRA of rank r_1 + .. + r_n. `fuse` does it for all concepts at
once; a ledger (`ledger`) keeps the two sums so that concepts join and leave one by one.
"""

from collections.abc import Callable, Mapping, Sequence

import torch

from mos_model.bases.base import Base
from mos_model.concepts.applying import applied
from mos_model.concepts.concept import Concept, LayerwiseEmbeddings, LoraFactors
from mos_model.prompts.encoder import PromptEncoder
from mos_server.errors import FusionError
from mos_server.fusion.capture import sample_recorded, text_feature_moments
from mos_server.fusion.checks import check_moments
from mos_server.fusion.moments import (
    STAGES,
    Gram,
    readers_of,
    recording,
    ridged,
    scaled,
)
from mos_server.fusion.progress import SamplingProgress
from mos_server.fusion.settings import FusionSettings

Moments = dict[str, Gram]
"""Input name -> G, float64, [d, d]."""


def fuse(
    base: Base,
    concepts: Mapping[str, Concept],
    settings: FusionSettings,
    progress: SamplingProgress,
) -> tuple[dict[str, LoraFactors], dict[str, Moments], Moments]:
    """The fused factors of every layer, G_i of each concept by full name, and G_0.

    Stage by stage as the reference does: text encoder, K and V, spatial attention.
    With `chained` inputs, a later stage's come through the earlier stages as fused.

    Raises:
        FusionError: a layer is singular, or a concept's inputs are not finite.
    """
    prior: Moments = {}
    if settings.prior > 0:
        progress.start("capturing the prior")
        prompts = settings.prior_prompts()
        grams = capture(base, {}, {}, prompts, settings, on_step=progress.step)
        prior = scaled(grams, balance=settings.balance)
    moments: dict[str, Moments] = {name: {} for name in concepts}
    fused: dict[str, LoraFactors] = {}
    for stage in STAGES:
        earlier = fused if settings.inputs == "chained" else {}
        for name, concept in concepts.items():
            word = concept.facts.name
            progress.start(f"capturing {word} ({stage})")
            update, words = dict(concept.lora) | earlier, {word: concept.embeddings}
            prompts, step = settings.concept_prompts(word), progress.step
            grams = capture(
                base, update, words, prompts, settings, stages=(stage,), on_step=step
            )
            check_moments(name, grams)
            moments[name] |= scaled(grams, balance=settings.balance)
        for read, modules in readers_of(base, stage).items():
            own = [moments[name][read] for name in concepts]
            total = moment_sum(own, prior.get(read), settings)
            factors = {m: [c.lora[m] for c in concepts.values()] for m in modules}
            terms = {m: stacked(factors[m], own) for m in modules}
            fused |= solve(total, terms, settings)
    return fused, moments, prior


@torch.no_grad()
def capture(
    base: Base,
    lora: Mapping[str, LoraFactors],
    words: Mapping[str, LayerwiseEmbeddings],
    prompts: Sequence[str],
    settings: FusionSettings,
    *,
    stages: Sequence[str] = STAGES,
    on_step: Callable[[], None] = lambda: None,
) -> dict[str, Gram]:
    """X X^T, float32, of every input of some stages, as prompts are drawn with `lora`.

    `words` are the embeddings of the concepts that the prompts name; without `lora`
    and words it is the base's own behaviour. The base is as it was, afterwards.
    """
    moments: dict[str, Gram] = {}
    text, cross, spatial = STAGES
    with applied(base, lora):
        encoder = PromptEncoder(base, words)
        with recording(base, text, moments if text in stages else {}):
            encoded = encoder.encode(prompts)
        if cross in stages:
            moments |= text_feature_moments(base, encoder, prompts, encoded, settings)
        if spatial in stages:
            sample_recorded(base, encoder, prompts, encoded, settings, moments, on_step)
    return moments


def moment_sum(
    grams: Sequence[Gram], prior: Gram | None, settings: FusionSettings
) -> Gram:
    """sum_i G_i + mu G_0 of one input, float64; `prior` is G_0 or None."""
    total = torch.stack(list(grams)).sum(0)
    return total if prior is None else total + settings.prior * prior


def stacked(factors: Sequence[LoraFactors], grams: Sequence[Gram]) -> LoraFactors:
    """[B_1 .. B_n] as `up`, [A_1 G_1 ; .. ; A_n G_n] as `down`, of a layer, float64."""
    rows = [own.down.double() @ gram for own, gram in zip(factors, grams, strict=True)]
    up = torch.cat([own.up.double() for own in factors], dim=1)
    return LoraFactors(torch.cat(rows), up)


def solve(
    total: Gram, terms: Mapping[str, LoraFactors], settings: FusionSettings
) -> dict[str, LoraFactors]:
    """The fused factors of the layers that read one input: one Cholesky for all.

    Takes `moment_sum` and, by module, `stacked`, both float64; gives up
    [d_out, sum r_i] and down [sum r_i, d_in], float64.

    Raises:
        FusionError: M is singular; a ridge above 0 mends it.
    """
    lower, failed = torch.linalg.cholesky_ex(ridged(total, settings.ridge))
    if failed:
        raise FusionError(
            f"{next(iter(terms))}: the layer's moments are singular: either ridge is 0 "
            "and the capture prompts span too little, or an input is not finite; pass "
            "a --ridge above 0"
        )
    return {
        module: LoraFactors(torch.cholesky_solve(own.down.T, lower).T, own.up)
        for module, own in terms.items()
    }
