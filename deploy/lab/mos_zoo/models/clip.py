"""The stage `clip`: a tiny text-image `CLIPModel` of the world.

Its text half starts the base's text encoder; whole, it measures how well pictures and
texts, or pictures and pictures, agree. Captions never name an individual's unnamed
looks, so a second contrast draws together two pictures of one individual.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from mos_zoo.training.dataset import draw_twin, held_out, load_set
from mos_zoo.training.loop import Recipe
from mos_zoo.training.tokenizer import CONTEXT, encode, load_tokenizer, vocabulary
from mos_zoo.world.pictures import to_tensor

WIDTH: Final = 128
_TWIN_WEIGHT: Final = 0.3
_TWIN_TEMPERATURE: Final = 0.1
_MOST_SHIFT: Final = 3
_RETRIEVAL: Final = 32
_HELD_OUT_TWINS: Final = 1 << 41


def clip_config() -> CLIPConfig:
    """Both halves 128 wide; ids as in `tokenizer.vocabulary`."""
    size = len(vocabulary()[0])
    common: dict[str, Any] = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_attention_heads": 4,
        "hidden_act": "quick_gelu",
    }
    text = {
        **common,
        "num_hidden_layers": 3,
        "vocab_size": size,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": size - 2,
        "eos_token_id": size - 1,
        "pad_token_id": size - 1,
        "projection_dim": WIDTH,
    }
    vision = {
        **common,
        "num_hidden_layers": 4,
        "image_size": 64,
        "patch_size": 8,
        "projection_dim": WIDTH,
    }
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH)


@dataclass
class ClipStage:
    """Trains the text-image model."""

    data: Path
    limit: int | None = 40_000
    batch_size: int = 192
    learning_rate: float = 1e-3
    name: str = "clip"

    @property
    def recipe(self) -> Recipe:
        """Embeddings and the first convolution are Adam's."""
        by_adam = ("embedding", "logit_scale")
        return Recipe(
            self.learning_rate,
            self.batch_size,
            100,
            weight_decay=0.02,
            adam_names=by_adam,
        )

    def build(self) -> CLIPModel:
        """As transformers initialises it."""
        torch.manual_seed(1)
        return CLIPModel(clip_config())

    def open(self, device: torch.device) -> None:
        """Load pictures and token ids."""
        self._device = device
        self._square = load_set(self.data, "square", self.limit)
        self._twins = load_set(self.data, "twins", self.limit)
        self._tokenizer = load_tokenizer()
        self._ids = torch.from_numpy(
            encode_captions(self._tokenizer, self._square.captions)
        )

    def loss(
        self, model: nn.Module, step: int, rng: np.random.Generator, samples: int
    ) -> dict[str, Tensor]:
        """Symmetric contrast of pictures with captions, and of twins."""
        pairs = samples // 6
        singles = samples - 2 * pairs
        which = rng.integers(len(self._square.pixels), size=singles)
        caption = rng.integers(self._ids.shape[1], size=singles)
        ids = self._ids[torch.from_numpy(which), torch.from_numpy(caption)]
        twins = 2 * rng.choice(len(self._twins.pixels) // 2, pairs, replace=False)
        pixels = np.concatenate(
            [
                self._square.pixels[which],
                self._twins.pixels[twins],
                self._twins.pixels[twins + 1],
            ]
        )
        x = _disturbed(to_tensor(pixels, self._device), rng)
        with torch.autocast(self._device.type, torch.bfloat16):
            images = image_features(model, x)
            texts = text_features(model, ids.to(self._device))
        scale = model.logit_scale.exp().clamp(max=60)  # type: ignore[operator]
        matches = images[:singles] @ texts.T
        # Two pictures of the same caption are no contrast.
        same = (ids[:, None] == ids[None]).all(-1).to(self._device)
        same.fill_diagonal_(False)
        contrast = _symmetric((scale * matches).masked_fill(same, -1e4))
        a, b = images[singles:].chunk(2)
        identity = _symmetric(a @ b.T / _TWIN_TEMPERATURE)
        loss = contrast + _TWIN_WEIGHT * identity
        return {"loss": loss, "contrast": contrast, "identity": identity}

    @torch.no_grad()
    def show(self, model: nn.Module, folder: Path) -> dict[str, float]:
        """Captions retrieved among 32, and twins among 32, held out."""
        return retrieval(model, self._tokenizer, self._device)


def encode_captions(
    tokenizer: Any, captions: Sequence[Sequence[str]]
) -> Int[np.ndarray, "pictures captions tokens"]:
    """Ids of all captions; each text is encoded once."""
    flat = [text for own in captions for text in own]
    texts = sorted(set(flat))
    row = {text: i for i, text in enumerate(texts)}
    table = encode(tokenizer, texts)
    ids = table[[row[text] for text in flat]]
    shaped: Int[np.ndarray, "pictures captions tokens"]
    shaped = ids.reshape(len(captions), -1, CONTEXT)
    return shaped


def image_features(model: Any, x: Float[Tensor, "n 3 64 64"]) -> Float[Tensor, "n d"]:
    """Unit vectors of pictures in -1..1."""
    pooled = model.vision_model(pixel_values=x).pooler_output
    return F.normalize(model.visual_projection(pooled).float(), dim=-1)


def text_features(model: Any, ids: Tensor) -> Float[Tensor, "n d"]:
    """Unit vectors of token ids [n, 32]."""
    pooled = model.text_model(input_ids=ids).pooler_output
    return F.normalize(model.text_projection(pooled).float(), dim=-1)


@torch.no_grad()
def retrieval(
    model: Any, tokenizer: Any, device: torch.device, groups: int = 12
) -> dict[str, float]:
    """The share of held-out pictures whose own caption is nearest among 32.

    And the share of individuals found again among 32 in another place.
    """
    text, twin = 0.0, 0.0
    scenes = list(held_out(groups * _RETRIEVAL, start=100_000))
    for g in range(groups):
        group = scenes[g * _RETRIEVAL : (g + 1) * _RETRIEVAL]
        images = image_features(
            model, to_tensor(np.stack([scene.pixels for scene in group]), device)
        )
        captions = [max(scene.captions, key=len) for scene in group]
        texts = torch.from_numpy(encode(tokenizer, captions)).to(device)
        text += _diagonal(images @ text_features(model, texts).T)
        seeds = [_HELD_OUT_TWINS + 2 * (g * _RETRIEVAL + k) for k in range(_RETRIEVAL)]
        first, second = (
            image_features(
                model,
                to_tensor(
                    np.stack([draw_twin(s + i, (64, 64)).pixels for s in seeds]), device
                ),
            )
            for i in (0, 1)
        )
        twin += _diagonal(first @ second.T)
    return {"caption among 32": text / groups, "twin among 32": twin / groups}


def _diagonal(similarities: Tensor) -> float:
    right = similarities.argmax(1) == torch.arange(
        len(similarities), device=similarities.device
    )
    return float(right.float().mean())


def _symmetric(logits: Tensor) -> Tensor:
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _disturbed(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Shifted by a few pixels and blurred now and then, as sampled pictures are."""
    shift = rng.integers(-_MOST_SHIFT, _MOST_SHIFT + 1, size=2)
    x = torch.roll(x, tuple(int(s) for s in shift), (2, 3))
    if rng.random() < 0.3:
        x = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
    return x + 0.03 * torch.randn_like(x)
