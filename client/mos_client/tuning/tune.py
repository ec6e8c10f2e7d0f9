"""ED-LoRA tuning (Mix-of-Show, arXiv:2305.18292, section 3.1).

In order: the words and LoRA pairs are put on the base; every step draws pictures,
captions, noise and timesteps from (seed, step) alone; a checkpoint is written now and
then and at Ctrl-C; the base is left as it was.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from mos_client.pictures import Picture
from mos_client.tuning.adapters import lora_adapters, lora_factors, lora_parameters
from mos_client.tuning.checkpoint import (
    RunIdentity,
    data_digest,
    load_checkpoint,
    save_checkpoint,
)
from mos_client.tuning.latents import TrainingSet, training_set
from mos_client.tuning.loss import diffusion_loss, draw_noise
from mos_client.tuning.settings import TuneSettings
from mos_client.tuning.words import initial_words, mean_norm
from mos_shared.base import Base
from mos_shared.concept import Concept, ConceptFacts
from mos_shared.errors import TuningError
from mos_shared.layerwise import layerwise
from mos_shared.names import checked_name
from mos_shared.prompts import PromptEncoder

CHECKPOINT_EVERY: Final = 100
_LARGEST_SEED: Final = 2**31
_SMOOTHING: Final = 0.95


@dataclass(frozen=True)
class TuneProgress:
    """Where a tuning run stands."""

    step: int
    steps: int
    loss: float
    """Smoothed over the last steps or so."""


OnProgress = Callable[[TuneProgress], None]


def tune_concept(
    pictures: Sequence[Picture],
    *,
    base: Base,
    name: str,
    class_word: str,
    settings: TuneSettings,
    licence: str = "",
    work_dir: Path | None = None,
    resume: bool = False,
    on_progress: OnProgress | None = None,
) -> Concept:
    """Tune a concept on some pictures.

    Args:
        pictures: At least one.
        base: The base; unchanged afterwards.
        name: The concept's name; `<name>` in prompts.
        class_word: What V_class starts from.
        settings: Steps, rates, rank, seed.
        licence: Terms of use, recorded in the concept.
        work_dir: Where checkpoints go; none are written without it.
        resume: Go on from the checkpoint in `work_dir`, to the same result.
        on_progress: Called after every step.

    Raises:
        ConceptError: `name` cannot be a name.
        TuningError: no pictures, an unknown class word, a foreign checkpoint, or a
            loss that is not a number any more.
    """
    checked_name(name, "concept")
    if not pictures:
        raise TuningError("no pictures to tune on")
    generator = torch.Generator().manual_seed(settings.seed)
    data = training_set(base, pictures, f"<{name}>", settings)
    words = initial_words(base, class_word, generator)
    with lora_adapters(base, settings.rank, generator), layerwise(base.unet):
        run = _Run(base, name, words, data, settings)
        identity = RunIdentity(
            base.inventory.base,
            name,
            class_word,
            settings.to_dict(),
            data_digest(data.latents, data.captions),
        )
        run.go(identity, work_dir, resume, on_progress or (lambda _: None))
        lora = lora_factors(base)
    facts = ConceptFacts(name, class_word, base.inventory.base, settings.rank, licence)
    vectors = {n: v.detach().float().cpu().clone() for n, v in words.items()}
    return Concept(facts, lora, vectors)


class _Run:
    """One run: its parameters, optimiser and steps."""

    def __init__(
        self,
        base: Base,
        name: str,
        words: dict[str, nn.Parameter],
        data: TrainingSet,
        settings: TuneSettings,
    ) -> None:
        self._base, self._data, self._settings = base, data, settings
        self._words = words
        self._scheduler = base.noise_scheduler()
        self._encoder = PromptEncoder(base, {name: words})
        self._parameters = {f"words.{n}": p for n, p in words.items()}
        groups: list[dict[str, Any]] = [
            {"params": list(words.values()), "lr": settings.embedding_rate}
        ]
        for component in ("unet", *base.text_encoders):
            own = lora_parameters(base, component)
            rate = settings.unet_rate if component == "unet" else settings.text_rate
            groups.append({"params": list(own.values()), "lr": rate})
            self._parameters |= own
        self._optimiser = torch.optim.AdamW(groups, weight_decay=0.0)
        self._rates = [group["lr"] for group in groups]
        table = [e.get_input_embeddings().weight for e in base.text_encoders.values()]
        norms = torch.stack([weight.float().norm(dim=1).mean() for weight in table])
        self._norm_limit = settings.embedding_norm * float(norms.mean())

    def go(
        self,
        identity: RunIdentity,
        work_dir: Path | None,
        resume: bool,
        tell: OnProgress,
    ) -> None:
        """All steps, from the checkpoint on where `resume` is set."""
        steps, done = self._settings.steps, 0
        if resume and work_dir is not None:
            done = load_checkpoint(
                work_dir, identity, self._parameters, self._optimiser
            )
        smooth: float | None = None
        step = done
        try:
            while step < steps:
                loss = self._step(step)
                step += 1
                kept = loss if smooth is None else smooth
                smooth = _SMOOTHING * kept + (1 - _SMOOTHING) * loss
                tell(TuneProgress(step, steps, smooth))
                if work_dir is not None and step % CHECKPOINT_EVERY == 0:
                    self._save(work_dir, identity, step)
        except KeyboardInterrupt:
            if work_dir is not None and step > done:
                self._save(work_dir, identity, step)
            raise

    def _save(self, work_dir: Path, identity: RunIdentity, step: int) -> None:
        save_checkpoint(work_dir, identity, step, self._parameters, self._optimiser)

    def _step(self, step: int) -> float:
        """One optimiser step; its loss."""
        settings, data = self._settings, self._data
        # All of a step's randomness comes from here, so that a resumed run agrees.
        chance = random.Random(f"{settings.seed} {step}")
        generator = torch.Generator().manual_seed(chance.randrange(_LARGEST_SEED))
        self._set_rates(step)
        count = len(data.latents)
        rows = [chance.randrange(count) for _ in range(settings.batch_size)]
        latents = data.latents[rows]
        prompts = [chance.choice(data.captions[row]) for row in rows]
        noise = draw_noise(latents, settings.noise_offset, generator)
        last = self._scheduler.config.num_train_timesteps
        timesteps = torch.randint(0, last, (len(rows),), generator=generator)
        timesteps = timesteps.to(latents.device)
        noisy = self._scheduler.add_noise(latents, noise, timesteps)
        predicted = self._predict(noisy, timesteps, prompts)
        mask = None if data.masks is None else data.masks[rows]
        loss = diffusion_loss(
            predicted, latents, noise, timesteps, self._scheduler, settings, mask
        )
        if not loss.isfinite():
            raise TuningError(
                f"the loss is {loss.item()} at step {step + 1}: the rates are too high "
                "for this base; lower them, or resume from the last checkpoint"
            )
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        return float(loss.detach())

    def _predict(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, prompts: Sequence[str]
    ) -> torch.Tensor:
        encoded = self._encoder.encode(prompts)
        dtype = self._base.unet.dtype
        extra: dict[str, Any] = {}
        if encoded.pooled is not None:
            factor = 2 ** (len(self._base.vae.config.block_out_channels) - 1)
            height, width = (factor * side for side in noisy.shape[2:])
            size = torch.tensor([height, width, 0, 0, height, width])
            extra["added_cond_kwargs"] = {
                "text_embeds": encoded.pooled.to(dtype),
                "time_ids": size.repeat(len(noisy), 1).to(noisy.device, dtype),
            }
        output: torch.Tensor = self._base.unet(
            noisy.to(dtype), timesteps, encoded.stacked().to(dtype), **extra
        ).sample
        return output

    def _set_rates(self, step: int) -> None:
        """Linear warm-up, then linearly to 0; words rest once they are long enough."""
        settings = self._settings
        rising = min(1.0, (step + 1) / max(1, settings.warm_up))
        share = rising * (1 - step / settings.steps)
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = share * rate
        if mean_norm(self._words) > self._norm_limit:
            self._optimiser.param_groups[0]["lr"] = 0.0
