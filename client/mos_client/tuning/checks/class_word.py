"""The class word, inferred by the base itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from mos_client.pictures import Picture
from mos_client.tuning.data.latents import training_set
from mos_client.tuning.settings import TuneSettings
from mos_client.tuning.training.loss import draw_noise
from mos_client.tuning.training.objective import added_conditions
from mos_model.bases.base import Base
from mos_model.errors import TuningError
from mos_model.prompts.encoder import EncodedPrompts, PromptEncoder
from mos_model.prompts.layerwise import layerwise

COMMON_WORDS: Final = (
    *("cat", "dog", "bird", "fish", "horse", "person", "man", "woman", "child"),
    *("toy", "robot", "car", "boat", "house", "building", "chair", "cup", "bottle"),
    *("bag", "shoe", "plant", "flower", "tree", "food", "statue", "painting"),
)
"""Words tried where the base's `mos_defaults.json` has no "class_words"."""

_NOISE_LEVELS: Final = (0.45, 0.6, 0.75)  # shares of the schedule that show the class
_PICTURES: Final = 8


@dataclass(frozen=True)
class ClassWordGuess:
    """The word the base finds in the pictures, and the next best."""

    word: str
    runner_up: str


def check_class_word(tokenizers: Mapping[str, Any], word: str) -> None:
    """Refuse a class word that holds what a tokenizer of the base does not know.

    Of several known tokens V_class starts from the mean.

    Args:
        tokenizers: The base's, by text encoder.
        word: The class word.

    Raises:
        TuningError: it has no token, or an unknown one.
    """
    for tokenizer in tokenizers.values():
        ids = tokenizer(word, add_special_tokens=False).input_ids
        if not ids or tokenizer.unk_token_id in ids:
            raise TuningError(
                f"class word {word!r}: the base does not know it; pass an ordinary "
                "word such as `cat` with --class-word, or leave it out"
            )


@torch.no_grad()
def infer_class_word(
    base: Base, pictures: Sequence[Picture], settings: TuneSettings
) -> ClassWordGuess:
    """The word whose prompt gives the lowest denoising loss on the pictures.

    Every word meets the same noise, so that only the words differ
    (Li et al., Your Diffusion Model is Secretly a Zero-Shot Classifier, 2023).

    Raises:
        TuningError: the base's list of words is too short.
    """
    words = tuple(base.defaults.get("tune", {}).get("class_words", COMMON_WORDS))
    if len(words) < 2:
        raise TuningError(
            "the class word cannot be inferred on this base; pass --class-word"
        )
    data = training_set(base, pictures[:_PICTURES], "", settings)
    first = [bucket.latents[:: settings.augmentations] for bucket in data.buckets]
    generator = torch.Generator().manual_seed(settings.seed)
    noises = [draw_noise(latents, 0.0, generator) for latents in first]
    prompts = PromptEncoder(base, {}).encode([f"a photo of a {w}" for w in words])
    losses = torch.zeros(len(words))
    with layerwise(base.unet):
        for share in _NOISE_LEVELS:
            for latents, noise in zip(first, noises, strict=True):
                losses += _losses(base, latents, noise, share, prompts)
    best, second = losses.argsort()[:2].tolist()
    return ClassWordGuess(words[best], words[second])


def _losses(
    base: Base,
    latents: Float[Tensor, "n c h w"],
    noise: Float[Tensor, "n c h w"],
    share: float,
    prompts: EncodedPrompts,
) -> Float[Tensor, " words"]:
    """The summed loss of pictures of one size under each prompt at one noise level."""
    scheduler = base.noise_scheduler()
    last = scheduler.config.num_train_timesteps
    steps = torch.full((len(latents),), int(share * last), device=base.device)
    noisy = scheduler.add_noise(latents, noise, steps).to(base.unet.dtype)
    velocity = scheduler.get_velocity(latents, noise, steps)
    kind = scheduler.config.prediction_type
    target = {"epsilon": noise, "v_prediction": velocity}.get(kind, latents)
    losses: list[Tensor] = []
    for word in range(len(prompts.hidden)):
        rows = [word] * len(latents)
        pooled = None if prompts.pooled is None else prompts.pooled[rows]
        own = EncodedPrompts(prompts.hidden[rows], pooled)
        text = own.stacked().to(base.unet.dtype)
        conditions = added_conditions(base, own, latents)
        predicted = base.unet(noisy, steps, text, **conditions).sample.float()
        losses.append((predicted - target).square().mean((1, 2, 3)).sum())
    return torch.stack(losses).cpu()
