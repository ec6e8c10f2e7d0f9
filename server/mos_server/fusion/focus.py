"""Where a concept is in the pictures being sampled, by the attention to its words.

Most cells of a capture are background. Every concept's capture holds the same kinds of
background, and every concept's LoRA does something else to it; an unweighted fusion
spends itself on agreeing there, and loses looks where the subject is. So each cell
counts by how much the cross-attention last passed looks at the concept's tokens.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mos_model.prompts.layerwise import cross_attentions

_SHARPNESS: Final = 2.0
"""Power of a cell's attention relative to the picture's mean."""

_FLOOR: Final = 0.01
"""The least weight, of a picture's largest: no direction drops out of a moment."""


class Focus:
    """Weights of the cells of a running batch; inside `follow`."""

    def __init__(self) -> None:
        """Nothing is in focus yet: all cells count alike."""
        self._positions: Sequence[Sequence[int]] = ()
        self._attention: Float[Tensor, "n 1 h w"] | None = None

    def start(self, positions: Sequence[Sequence[int]]) -> None:
        """A batch begins; the token positions of the concept in each of its prompts."""
        self._positions, self._attention = positions, None

    def weighted(
        self, inputs: Float[Tensor, "n cells d"]
    ) -> Float[Tensor, "n cells d"]:
        """Inputs times the root of their cells' weights, which are 1 on average.

        So the moment of what is returned is X diag(w) X^T.
        """
        cells = inputs.shape[1]
        side = math.isqrt(cells)
        if self._attention is None or side * side != cells:
            return inputs
        size = (side, side)
        attention = F.interpolate(self._attention, size=size, mode="bilinear")
        weights = cell_weights(attention.flatten(1)).to(inputs)
        return inputs * weights.sqrt()[..., None]

    @contextmanager
    def follow(self, unet: nn.Module, *, guided: bool) -> Iterator[None]:
        """Inside, every cross-attention of `unet` tells where the concept is.

        Args:
            unet: Reads layer-wise prompts already (see `layerwise`).
            guided: Whether batches are doubled, the unconditional half first.
        """
        handles = [
            block.register_forward_pre_hook(self._look(guided), with_kwargs=True)
            for block in cross_attentions(unet).values()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _look(self, guided: bool) -> Any:
        def look(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            cells = args[0] if args else kwargs["hidden_states"]
            text = kwargs["encoder_hidden_states"]
            first = cells.shape[0] // 2 if guided else 0
            cells, text = cells[first:], text[first:]
            side = math.isqrt(cells.shape[1])
            if side * side != cells.shape[1] or len(cells) != len(self._positions):
                return
            mass = attention_to(module, cells, text, self._positions)
            self._attention = mass.view(-1, 1, side, side)

        return look


@torch.no_grad()
def attention_to(
    attention: Any,
    cells: Float[Tensor, "n cells d"],
    text: Float[Tensor, "n tokens e"],
    positions: Sequence[Sequence[int]],
) -> Float[Tensor, "n cells"]:
    """How much of each cell's attention, mean over heads, falls on some tokens.

    Args:
        attention: A diffusers `Attention`; its projections are read, not called, so
            that hooks on them see only the model's own inputs.
        cells: What queries are made of.
        text: What keys are made of.
        positions: Of each row, the tokens that count.
    """
    query = F.linear(cells, attention.to_q.weight, attention.to_q.bias)
    key = F.linear(text, attention.to_k.weight, attention.to_k.bias)
    heads: int = attention.heads
    query = query.unflatten(-1, (heads, -1)).transpose(1, 2)
    key = key.unflatten(-1, (heads, -1)).transpose(1, 2)
    scores = query.float() @ key.float().transpose(-1, -2) * attention.scale
    shares = scores.softmax(-1).mean(1)
    own = [
        row[:, list(where)].sum(-1)
        for row, where in zip(shares, positions, strict=True)
    ]
    return torch.stack(own)


def cell_weights(attention: Float[Tensor, "n cells"]) -> Float[Tensor, "n cells"]:
    """Weights of each picture's cells, 1 on average, `_FLOOR` of the largest at least.

    Cells that all look alike at the concept count alike.
    """
    sharp = (attention / attention.mean(1, keepdim=True).clamp_min(1e-9)) ** _SHARPNESS
    least, most = sharp.amin(1, keepdim=True), sharp.amax(1, keepdim=True)
    spread = (most - least).clamp_min(1e-6)
    weights = _FLOOR + (1 - _FLOOR) * (sharp - least) / spread
    return weights / weights.mean(1, keepdim=True)
