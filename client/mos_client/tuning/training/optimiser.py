"""The optimiser of a tuning run: four rates, warm-up and decay, and a word's rest."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mos_client.tuning.settings import TuneSettings
from mos_client.tuning.training.adapters import lora_parameters
from mos_client.tuning.training.words import Words
from mos_model.bases.base import Base


class Optimiser:
    """AdamW over the words and the LoRA pairs of a base, and nothing else of it."""

    def __init__(self, base: Base, words: Words, settings: TuneSettings) -> None:
        """Take a base inside `lora_adapters`."""
        self._words, self._settings = words, settings
        self.parameters: dict[str, nn.Parameter] = {
            f"words.{name}": word for name, word in words.trained.items()
        }
        groups = [(list(words.trained.values()), settings.embedding_rate)]
        for component in ("unet", *base.text_encoders):
            own = lora_parameters(base, component)
            rate = settings.unet_rate if component == "unet" else settings.text_rate
            kv_rate = rate if settings.kv_rate is None else settings.kv_rate
            keys_and_values = [p for name, p in own.items() if reads_text(name)]
            others = [p for name, p in own.items() if not reads_text(name)]
            groups.append((others, rate))
            if keys_and_values:
                groups.append((keys_and_values, kv_rate))
            self.parameters |= own
        self._rates = [rate for _, rate in groups]
        self.adam = torch.optim.AdamW(
            [{"params": members, "lr": rate} for members, rate in groups],
            weight_decay=0.0,
            fused=base.device.type in ("cpu", "cuda"),
        )
        table = [e.get_input_embeddings().weight for e in base.text_encoders.values()]
        norms = torch.stack([weight.float().norm(dim=1).mean() for weight in table])
        self._norm_limit = settings.embedding_norm * float(norms.mean())

    def step(self, number: int) -> None:
        """Apply the gradients of step `number`, counted from 0, and drop them.

        The rates rise linearly over the warm-up and then fall linearly to 0 (the
        reference's `linear` schedule); the words rest once they are long enough.
        """
        settings = self._settings
        share = share_of_rates(settings, number)
        for group, rate in zip(self.adam.param_groups, self._rates, strict=True):
            group["lr"] = share * rate
        if self._words.mean_norm() > self._norm_limit:
            self.adam.param_groups[0]["lr"] = 0.0
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)

    def finite(self, loss: Tensor) -> tuple[float, bool]:
        """The loss, and whether it and every gradient are finite; one wait in all."""
        norm = torch.nn.utils.get_total_norm(list(self._gradients()))
        value, size = torch.stack([loss.detach().float(), norm.float()]).tolist()
        return value, math.isfinite(value) and math.isfinite(size)

    def _gradients(self) -> Iterator[Tensor]:
        for parameter in self.parameters.values():
            if parameter.grad is not None:
                yield parameter.grad


def share_of_rates(settings: TuneSettings, step: int) -> float:
    """What the rates are multiplied by in a step: a warm-up, then linearly to 0."""
    rising = min(1.0, (step + 1) / max(1, settings.warm_up))
    return rising * (1 - step / settings.steps)


def reads_text(tensor: str) -> bool:
    """Whether a LoRA matrix belongs to cross-attention's K or V, by canonical name."""
    return ".attn2.to_k." in tensor or ".attn2.to_v." in tensor
