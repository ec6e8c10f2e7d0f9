"""How near pictures are to pictures and to texts: the metrics of Mix-of-Show.

Image alignment is the mean cosine of samples and training pictures, text alignment
that of samples and their prompt, both as a CLIP model embeds them (Mix-of-Show,
arXiv:2305.18292, section 4; after Textual Inversion, arXiv:2208.01618, section 5.2).
Any `CLIPModel` directory will do; the mini zoo's own, `mini-clip`, knows the mini
base's world and nothing else, so it judges no photographs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mos_model.errors import MetricsError
from mos_model.mini import ZOO_NAMES, zoo_path

OWN_METRICS: Final = "mini-clip"
_AT_ONCE: Final = 64

Features = Float[Tensor, "n d"]
"""Unit vectors, float32, on the CPU."""


class Metrics:
    """A CLIP model as a judge of pictures."""

    def __init__(self, name: str, model: Any, processor: Any, tokenizer: Any) -> None:
        """Take a loaded model; use `load_metrics` to make one."""
        self.name = name
        self._model, self._processor, self._tokenizer = model, processor, tokenizer

    @torch.no_grad()
    def of_images(self, images: Sequence[Image.Image]) -> Features:
        """Each picture's unit vector; pictures are scaled to what the model reads."""
        parts = []
        for first in range(0, len(images), _AT_ONCE):
            batch = [image.convert("RGB") for image in images[first : first + _AT_ONCE]]
            pixels = self._processor(images=batch, return_tensors="pt").pixel_values
            pixels = pixels.to(self._model.device, self._model.dtype)
            pooled = self._model.vision_model(pixel_values=pixels).pooler_output
            parts.append(self._model.visual_projection(pooled))
        return _unit(torch.cat(parts))

    @torch.no_grad()
    def of_texts(self, texts: Sequence[str]) -> Features:
        """Each text's unit vector; a text beyond the model's length is cut.

        CLIP scores of long texts are usually so computed; prompts to be scored are
        short.
        """
        limit = self._model.config.text_config.max_position_embeddings
        encoded = self._tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=limit,
            return_tensors="pt",
        ).to(self._model.device)
        pooled = self._model.text_model(**encoded).pooler_output
        return _unit(self._model.text_projection(pooled))


def load_metrics(
    name: str = OWN_METRICS, *, device: torch.device | str = "cpu"
) -> Metrics:
    """Load a CLIP model to judge with, in float32.

    Args:
        name: "mini-clip", or a `CLIPModel` directory as transformers writes it.
        device: Where it computes.

    Raises:
        MetricsError: no such directory, or no whole CLIP model in it.
        ZooError: this installation came without `mini-clip`.
    """
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = zoo_path(name) if name in ZOO_NAMES else Path(name)
    if not (folder / "config.json").is_file():
        raise MetricsError(
            f"{name}: no CLIPModel directory; pass one with a config.json, or "
            f"{OWN_METRICS}"
        )
    try:
        model = CLIPModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        processor = CLIPImageProcessor.from_pretrained(folder)
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MetricsError(f"{name}: not a whole CLIP model: {reason}") from error
    on_device = cast(Any, model).eval().requires_grad_(False).to(device)
    return Metrics(name, on_device, processor, tokenizer)


def image_alignment(
    samples: Float[Tensor, "samples d"], references: Float[Tensor, "references d"]
) -> float:
    """Mean cosine of every sample with every reference, -1 to 1."""
    return float((samples @ references.T).mean())


def mutual_alignment(references: Features) -> float:
    """Mean cosine of different references: as alike as true pictures are.

    Raises:
        ValueError: fewer than two.
    """
    count = len(references)
    if count < 2:
        raise ValueError("one picture alone is alike to none")
    cosines = references @ references.T
    return float((cosines.sum() - cosines.trace()) / (count * (count - 1)))


def text_alignment(samples: Features, texts: Features) -> float:
    """Mean cosine of each sample with its own text, row by row."""
    return float((samples * texts).sum(1).mean())


def _unit(vectors: Tensor) -> Features:
    return F.normalize(vectors.float(), dim=-1).cpu()
