"""Tuning steps to compare ours with, each as its source describes it.

`naive_edlora` is Mix-of-Show's training step (arXiv:2305.18292, section 3.1) written
out plainly, and `text_to_image_lora` that of diffusers' example of the same name. Both
put themselves on a base, yield one step as a function, and leave the base as it was.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mos_client.tuning.settings import TEMPLATES, TuneSettings
from mos_client.tuning.training.adapters import lora_adapters, lora_parameters
from mos_client.tuning.training.words import class_ids
from mos_model.bases.base import Base
from mos_model.devices import autocast
from mos_model.prompts.layerwise import layerwise, stack_layers

Step = Callable[[], None]
_SEED: Final = 0


@contextmanager
def naive_edlora(
    base: Base, images: Sequence[Image.Image], settings: TuneSettings
) -> Iterator[Step]:
    """ED-LoRA with nothing saved: two new tokens a layer in a trainable table.

    The whole token table is a parameter, all rows but the new ones have their gradients
    set to 0; pictures go through the VAE at every step; every prompt of the batch is
    encoded L times.
    """
    encoder, tokenizer = base.pipeline.text_encoder, base.pipeline.tokenizer
    layers, first = base.inventory.layers, len(tokenizer)
    original = encoder.get_input_embeddings()
    table = _extended(original, first, layers, class_ids(base, "cat", "text_encoder"))
    _replace(encoder, original, table)
    chance = random.Random(_SEED)
    generator = torch.Generator().manual_seed(_SEED)
    scheduler = base.noise_scheduler()
    try:
        with (
            lora_adapters(base, settings.rank, generator),
            layerwise(base.unet),
        ):
            table.weight.requires_grad_(True)  # PEFT froze what it does not know
            optimiser = torch.optim.AdamW(
                [
                    {"params": [table.weight], "lr": settings.embedding_rate},
                    {"params": _pairs(base, "text_encoder"), "lr": settings.text_rate},
                    {"params": _pairs(base, "unet"), "lr": settings.unet_rate},
                ],
                weight_decay=0.01,
            )

            def step() -> None:
                drawn = [chance.choice(images) for _ in range(settings.batch_size)]
                latents = _encoded(base, drawn)
                ids = [
                    [
                        _ids(base, chance.choice(TEMPLATES), first + 2 * layer)
                        for layer in range(layers)
                    ]
                    for _ in drawn
                ]
                rows = torch.tensor(ids, device=base.device)
                noise = _noise(latents, settings.noise_offset)
                times = _timesteps(scheduler, latents)
                noisy = scheduler.add_noise(latents, noise, times)
                with autocast(base.device, base.unet.dtype):
                    hidden = encoder(rows.flatten(0, 1)).last_hidden_state
                    text = stack_layers(hidden.unflatten(0, rows.shape[:2]))
                    predicted = _predicted(base, noisy, times, text)
                loss = _error(scheduler, predicted, latents, noise, times)
                loss.backward()
                assert table.weight.grad is not None
                table.weight.grad[:first] = 0
                optimiser.step()
                optimiser.zero_grad()
                loss.item()

            yield step
    finally:
        _replace(encoder, table, original)


@contextmanager
def text_to_image_lora(
    base: Base, images: Sequence[Image.Image], settings: TuneSettings
) -> Iterator[Step]:
    """diffusers' `train_text_to_image_lora.py`: LoRA on the UNet alone.

    Pictures go through the VAE and captions through the frozen text encoder at every
    step; no words are trained.
    """
    chance = random.Random(_SEED)
    generator = torch.Generator().manual_seed(_SEED)
    scheduler = base.noise_scheduler()
    with lora_adapters(base, settings.rank, generator):
        for weight in _pairs(base, "text_encoder"):
            weight.requires_grad_(False)
        pairs = _pairs(base, "unet")
        optimiser = torch.optim.AdamW(pairs, lr=settings.unet_rate, weight_decay=0.01)

        def step() -> None:
            drawn = [chance.choice(images) for _ in range(settings.batch_size)]
            latents = _encoded(base, drawn)
            captions = [t.replace("{}", "cat") for t in TEMPLATES]
            rows = [_ids(base, chance.choice(captions), 0) for _ in drawn]
            noise = _noise(latents, settings.noise_offset)
            times = _timesteps(scheduler, latents)
            noisy = scheduler.add_noise(latents, noise, times)
            with autocast(base.device, base.unet.dtype):
                ids = torch.tensor(rows, device=base.device)
                text = base.pipeline.text_encoder(ids).last_hidden_state
                predicted = _predicted(base, noisy, times, text)
            loss = _error(scheduler, predicted, latents, noise, times)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(pairs, 1.0)
            optimiser.step()
            optimiser.zero_grad()
            loss.item()

        yield step


def _extended(
    original: nn.Embedding, first: int, layers: int, class_word: Sequence[int]
) -> nn.Embedding:
    """The token table with 2 L rows more, float32 and trainable."""
    old = original.weight.detach().float()
    table = nn.Embedding(max(len(old), first) + 2 * layers, old.shape[1])
    table = table.to(old.device)
    with torch.no_grad():
        table.weight.normal_(std=float(old.std()))
        table.weight[: len(old)] = old
        table.weight[first + 1 : first + 2 * layers : 2] = old[list(class_word)].mean(0)
    return table


def _replace(encoder: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` where `old` is, whatever this transformers calls the place."""
    (name,) = (name for name, module in encoder.named_modules() if module is old)
    encoder.set_submodule(name, new)


def _ids(base: Base, caption: str, new: int) -> list[int]:
    """Token ids of a caption; `{}` stands for the tokens `new` and `new + 1`."""
    tokenizer = base.pipeline.tokenizer
    ids: list[int] = [tokenizer.bos_token_id]
    for piece in re.split(r"(\{\})", caption):
        plain = tokenizer(piece, add_special_tokens=False).input_ids
        ids += [new, new + 1] if piece == "{}" else plain
    padding = [tokenizer.pad_token_id] * (base.tokens - len(ids) - 1)
    return [*ids, tokenizer.eos_token_id, *padding]


def _pairs(base: Base, component: str) -> list[nn.Parameter]:
    return list(lora_parameters(base, component).values())


@torch.no_grad()
def _encoded(base: Base, images: Sequence[Image.Image]) -> Tensor:
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    pixels = pixels.permute(0, 3, 1, 2).to(base.device, base.vae.dtype) / 127.5 - 1
    latents = base.vae.encode(pixels).latent_dist.sample()
    scaled: Tensor = latents.float() * base.vae.config.scaling_factor
    return scaled


def _noise(latents: Tensor, offset: float) -> Tensor:
    shift = torch.randn(*latents.shape[:2], 1, 1, device=latents.device)
    return torch.randn_like(latents) + offset * shift


def _timesteps(scheduler: object, latents: Tensor) -> Tensor:
    last = scheduler.config.num_train_timesteps  # type: ignore[attr-defined]
    return torch.randint(0, last, (len(latents),), device=latents.device)


def _predicted(base: Base, noisy: Tensor, times: Tensor, text: Tensor) -> Tensor:
    dtype = base.unet.dtype
    output: Tensor = base.unet(noisy.to(dtype), times, text.to(dtype)).sample
    return output.float()


def _error(
    scheduler: object, predicted: Tensor, latents: Tensor, noise: Tensor, times: Tensor
) -> Tensor:
    kind = scheduler.config.prediction_type  # type: ignore[attr-defined]
    if kind == "v_prediction":
        noise = scheduler.get_velocity(latents, noise, times)  # type: ignore[attr-defined]
    return nn.functional.mse_loss(predicted, noise)
