"""Many concepts tuned at once: each exactly as `tune_concept` would tune it alone.

The base's weights are frozen and nothing in it mixes the rows of a batch, so concepts
side by side in one batch, each with LoRA pairs and words of its own, get the gradients
that each would get alone. A small base on a GPU waits for launches, not for products:
twenty concepts take little more time than one.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mos_client.pictures import Picture
from mos_client.tuning.data.latents import TrainingSet, training_set
from mos_client.tuning.settings import TuneSettings
from mos_client.tuning.training.adapters import lora_adapters, lora_factors
from mos_client.tuning.training.loss import diffusion_loss, draw_noise, draw_timesteps
from mos_client.tuning.training.optimiser import reads_text, share_of_rates
from mos_client.tuning.training.words import Words, initial_words
from mos_lab.errors import EvaluationError
from mos_model.bases.base import Base
from mos_model.bases.inventory import canonical_module
from mos_model.concepts.concept import Concept, ConceptFacts, LoraFactors
from mos_model.prompts.encoder import PromptEncoder
from mos_model.prompts.layerwise import layerwise

_LARGEST_SEED: Final = 2**31

OnStep = Callable[[int, int], None]
"""Takes the steps done and the steps of all."""


@dataclass(frozen=True)
class Individual:
    """What one concept is tuned on."""

    name: str
    class_word: str
    pictures: Sequence[Picture]


class PairsTogether(nn.Module):
    """A frozen projection with a LoRA pair for each of n equal parts of its batch."""

    def __init__(self, frozen: nn.Linear, factors: Sequence[LoraFactors]) -> None:
        """Take the projection and the pairs before tuning, one a concept."""
        super().__init__()
        device = frozen.weight.device
        self.frozen = frozen
        self.down = nn.Parameter(torch.stack([f.down for f in factors]).to(device))
        self.up = nn.Parameter(torch.stack([f.up for f in factors]).to(device))

    def forward(self, x: Float[Tensor, "rows t d_in"]) -> Float[Tensor, "rows t d_out"]:
        """W0 x + b + B_i A_i x, i being the part that a row belongs to."""
        parts = x.reshape(len(self.down), -1, x.shape[-1])
        change = parts @ self.down.mT @ self.up.mT
        y: Tensor = self.frozen(x)
        return y + change.reshape(y.shape)

    def factors_of(self, number: int) -> LoraFactors:
        """The pair of one concept, on the CPU."""
        down, up = self.down[number].detach(), self.up[number].detach()
        return LoraFactors(down.cpu().clone(), up.cpu().clone())


def tune_together(
    individuals: Sequence[Individual],
    *,
    base: Base,
    settings: TuneSettings,
    on_step: OnStep = lambda _done, _total: None,
) -> list[Concept]:
    """Tune concepts side by side in one batch, in the given order.

    Args:
        individuals: With equally many pictures of one size, without masks or captions,
            so that equal seeds draw equal rows.
        base: In float32, not SDXL; unchanged afterwards.
        settings: Of every concept alike; one pass a step, and words never rest (no
            `accumulate`, no `embedding_norm`).
        on_step: Called after every step.

    Raises:
        EvaluationError: pictures of different numbers or sizes, or a loss that is not
            finite.
        TuningError: an unknown class word.
    """
    words: list[Words] = []
    pairs: list[Mapping[str, LoraFactors]] = []
    for own in individuals:
        generator = torch.Generator().manual_seed(settings.seed)
        words.append(initial_words(base, own.class_word, generator, settings.method))
        with lora_adapters(base, settings.rank, generator):
            pairs.append(lora_factors(base))
    names = [own.name for own in individuals]
    data = [training_set(base, own.pictures, own.name, settings) for own in individuals]
    _check(data)
    with _side_by_side(base, pairs) as layers:
        adam, rates = _optimiser(words, layers, settings)
        for step in range(settings.steps):
            vectors = {n: w.vectors() for n, w in zip(names, words, strict=True)}
            loss = _loss(base, PromptEncoder(base, vectors), data, settings, step)
            loss.backward()
            share = share_of_rates(settings, step)
            for group, rate in zip(adam.param_groups, rates, strict=True):
                group["lr"] = share * rate
            adam.step()
            adam.zero_grad(set_to_none=True)
            on_step(step + 1, settings.steps)
        if not bool(torch.isfinite(loss)):
            raise EvaluationError("the loss is not finite: lower rates are needed")
        tuned = [
            {module: layer.factors_of(number) for module, layer in layers.items()}
            for number in range(len(words))
        ]
    fingerprint, rank = base.inventory.base, settings.rank
    return [
        Concept(
            ConceptFacts(own.name, own.class_word, fingerprint, rank, ""),
            lora,
            word.finished(),
        )
        for own, lora, word in zip(individuals, tuned, words, strict=True)
    ]


def _check(data: Sequence[TrainingSet]) -> None:
    buckets = [bucket for own in data for bucket in own.buckets]
    alike = {(tuple(b.latents.shape), *map(len, b.captions)) for b in buckets}
    if len(alike) != 1 or any(bucket.masks is not None for bucket in buckets):
        raise EvaluationError(
            "concepts tuned together need equally many pictures of one size, with as "
            "many captions, and no masks"
        )


@contextmanager
def _side_by_side(
    base: Base, pairs: Sequence[Mapping[str, LoraFactors]]
) -> Iterator[dict[str, PairsTogether]]:
    """Inside, every adapted projection of a base has all concepts' pairs."""
    layers: dict[str, PairsTogether] = {}
    places: list[tuple[Any, str, nn.Linear]] = []
    for component in ("unet", *base.text_encoders):
        model = getattr(base.pipeline, component)
        for module, layer in list(model.named_modules()):
            name = canonical_module(component, module)
            if name not in pairs[0]:
                continue
            parent, _, last = module.rpartition(".")
            places.append((model.get_submodule(parent), last, layer))
            layers[name] = PairsTogether(layer, [own[name] for own in pairs])
            setattr(places[-1][0], last, layers[name])
    try:
        yield layers
    finally:
        for parent, last, frozen in places:
            setattr(parent, last, frozen)


def _optimiser(
    words: Sequence[Words], layers: Mapping[str, PairsTogether], settings: TuneSettings
) -> tuple[torch.optim.AdamW, list[float]]:
    """AdamW with the rates of `tuning.optimiser.Optimiser`, and those rates."""
    groups: dict[float, list[nn.Parameter]] = {}
    for word in words:
        groups.setdefault(settings.embedding_rate, []).extend(word.trained.values())
    for module, layer in layers.items():
        rate = settings.unet_rate if module.startswith("unet.") else settings.text_rate
        if reads_text(f"{module}.") and settings.kv_rate is not None:
            rate = settings.kv_rate
        groups.setdefault(rate, []).extend([layer.down, layer.up])
    adam = torch.optim.AdamW(
        [{"params": own, "lr": rate} for rate, own in groups.items()],
        weight_decay=0.0,
        fused=True,
    )
    return adam, list(groups)


def _loss(
    base: Base,
    encoder: PromptEncoder,
    data: Sequence[TrainingSet],
    settings: TuneSettings,
    step: int,
) -> Float[Tensor, ""]:
    """The sum of the concepts' losses, each with the draws of `tune_concept`."""
    seed, batches = 0, []
    for own in data:
        rng = random.Random(f"{settings.seed} {step}")
        seed = rng.randrange(_LARGEST_SEED)
        batches.append(own.batch(rng, settings.batch_size))
    generator = torch.Generator().manual_seed(seed)
    scheduler = base.noise_scheduler()
    first, count = batches[0].latents, len(batches)
    noise = draw_noise(first, settings.noise_offset, generator).repeat(count, 1, 1, 1)
    last, bias = scheduler.config.num_train_timesteps, settings.timestep_bias
    timesteps = draw_timesteps(len(first), last, bias, generator).repeat(count)
    timesteps = timesteps.to(first.device)
    latents = torch.cat([batch.latents for batch in batches])
    captions = [caption for batch in batches for caption in batch.captions]
    noisy = scheduler.add_noise(latents, noise, timesteps)
    encoded = encoder.encode(captions)
    with layerwise(base.unet):
        predicted = base.unet(noisy, timesteps, encoded.stacked()).sample
    return count * diffusion_loss(
        predicted, latents, noise, timesteps, scheduler, settings, None
    )
