"""Cross-attention in which every region reads its own prompt.

Mix-of-Show (arXiv:2305.18292), section 3.3, regionally controllable sampling. Inside a
region's cells, cross-attention attends to the region's prompt; where regions overlap,
their outputs are averaged by weight; outside, the context prompt counts. Keys and
values of all prompts are projected once per picture, not once per step, and each
region's queries are its own cells alone.

While `isolated`, self-attention too stays inside a region: each region's subject is
laid out as if it had the picture to itself. Otherwise one subject, once begun, talks
its neighbours out of having one of their own. During the `lead`, the context alone
counts everywhere: a sentence that names every class puts each in its place, and the
regions then make individuals of them. Neither is in the paper.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from mos_shared.layerwise import cross_attentions
from mos_shared.sampling.layout import Box


@dataclass(frozen=True)
class RegionText:
    """A region as the attention needs it."""

    box: Box
    weight: float
    hidden: Float[Tensor, "guidance layers tokens width"]
    """Encodings of its negative prompt and its prompt, or of its prompt alone."""


@contextmanager
def regional_attention(
    unet: Any,
    regions: Sequence[RegionText],
    latent_size: tuple[int, int],
    *,
    lead: float = 0.0,
    isolation: float = 0.0,
) -> Iterator[Callable[[float], None]]:
    """Let every cross-attention of `unet` attend by region.

    Args:
        unet: The UNet; inside `layerwise`, with the context as its text.
        regions: At least one.
        latent_size: Height and width of the latents in cells.
        lead: The first share of the steps, 0 to 1, in which the context alone counts
            everywhere and lays the picture out.
        isolation: The share of the steps up to which, after the lead, self-attention
            too stays inside each region.

    Yields:
        To be told, after every step, what share of the steps is done.
    """
    kept = dict(unet.attn_processors)
    cells = _Cells([region.box for region in regions], latent_size, len(kept))
    regional: dict[str, Any] = {
        f"{name}.processor": RegionalProcessor(layer, regions, cells)
        for layer, name in enumerate(cross_attentions(unet))
    }
    isolated = {
        name: IsolatedProcessor([region.weight for region in regions], cells)
        for name in kept
        if name.endswith(".attn1.processor")
    }

    def done(share: float) -> None:
        if share < lead:
            unet.set_attn_processor(dict(kept))
        elif share < isolation:
            unet.set_attn_processor(kept | regional | isolated)
        else:
            unet.set_attn_processor(kept | regional)

    done(0.0)
    try:
        yield done
    finally:
        unet.set_attn_processor(kept)


class RegionalProcessor:
    """The attention processor of one cross-attention block."""

    def __init__(
        self, layer: int, regions: Sequence[RegionText], cells: "_Cells"
    ) -> None:
        """Take the block's place among the L blocks, and the regions."""
        self._layer, self._regions, self._cells = layer, regions, cells
        self._context: tuple[Tensor, Tensor] | None = None
        self._own: list[tuple[Tensor, Tensor]] = []

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "batch cells channels"],
        encoder_hidden_states: Float[Tensor, "batch tokens width"] | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Float[Tensor, "batch cells channels"]:
        """Attend; the arguments are those of diffusers' own processors."""
        assert encoder_hidden_states is not None, "a cross-attention has a text"
        if self._context is None:
            self._project(attn, encoder_hidden_states)
        assert self._context is not None
        query = attn.to_q(hidden_states)
        outside, inside = self._cells.of(query.shape[1], query.device)
        result = torch.zeros_like(query)
        total = torch.zeros(query.shape[1], 1, dtype=query.dtype, device=query.device)
        if len(outside):
            result[:, outside] = _attend(attn, query[:, outside], *self._context)
            total[outside] = 1
        batch = query.shape[0]
        for region, cells, (key, value) in zip(
            self._regions, inside, self._own, strict=True
        ):
            copies = batch // key.shape[0]
            output = _attend(
                attn,
                query[:, cells],
                key.repeat_interleave(copies, 0),
                value.repeat_interleave(copies, 0),
            )
            result.index_add_(1, cells, region.weight * output)
            total.index_add_(
                0, cells, torch.full_like(total[: len(cells)], region.weight)
            )
        mixed: Tensor = attn.to_out[1](attn.to_out[0](result / total))
        return mixed

    def _project(self, attn: Any, context: Float[Tensor, "batch tokens width"]) -> None:
        self._context = attn.to_k(context), attn.to_v(context)
        for region in self._regions:
            text = region.hidden[:, self._layer].to(context)
            self._own.append((attn.to_k(text), attn.to_v(text)))


class IsolatedProcessor:
    """Self-attention in which every region sees its own cells alone.

    Cells outside every region see the whole picture; where regions overlap, their
    outputs are averaged by weight.
    """

    def __init__(self, weights: Sequence[float], cells: "_Cells") -> None:
        """Take the regions' weights and cells."""
        self._weights, self._cells = weights, cells

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "batch cells channels"],
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Float[Tensor, "batch cells channels"]:
        """Attend; the arguments are those of diffusers' own processors."""
        projections = (attn.to_q, attn.to_k, attn.to_v)
        query, key, value = (project(hidden_states) for project in projections)
        outside, inside = self._cells.of(query.shape[1], query.device)
        result = torch.zeros_like(query)
        total = torch.zeros(query.shape[1], 1, dtype=query.dtype, device=query.device)
        if len(outside):
            result[:, outside] = _attend(attn, query[:, outside], key, value)
            total[outside] = 1
        for weight, cells in zip(self._weights, inside, strict=True):
            output = _attend(attn, query[:, cells], key[:, cells], value[:, cells])
            result.index_add_(1, cells, weight * output)
            total.index_add_(0, cells, torch.full_like(total[: len(cells)], weight))
        mixed: Tensor = attn.to_out[1](attn.to_out[0](result / total))
        return mixed


class _Cells:
    """Which cells each region covers, at every resolution of the UNet."""

    def __init__(
        self, boxes: Sequence[Box], latent_size: tuple[int, int], levels: int
    ) -> None:
        self._by_count: dict[int, tuple[Tensor, list[Tensor]]] = {}
        height, width = latent_size
        for _ in range(levels):
            self._by_count.setdefault(height * width, _covered(boxes, height, width))
            height, width = math.ceil(height / 2), math.ceil(width / 2)

    def of(
        self, count: int, device: torch.device
    ) -> tuple[Int[Tensor, " outside"], list[Tensor]]:
        """Cells outside every region, and each region's cells."""
        outside, inside = self._by_count[count]
        return outside.to(device), [cells.to(device) for cells in inside]


def _covered(
    boxes: Sequence[Box], height: int, width: int
) -> tuple[Tensor, list[Tensor]]:
    """A region covers the cells whose centres it holds, and one cell at least."""
    down = (torch.arange(height) + 0.5) / height
    across = (torch.arange(width) + 0.5) / width
    free = torch.ones(height * width, dtype=torch.bool)
    inside: list[Tensor] = []
    for left, top, right, bottom in boxes:
        rows = (down >= top) & (down < bottom)
        columns = (across >= left) & (across < right)
        if not rows.any():
            rows[int((down - (top + bottom) / 2).abs().argmin())] = True
        if not columns.any():
            columns[int((across - (left + right) / 2).abs().argmin())] = True
        cells = (rows[:, None] & columns[None]).flatten().nonzero()[:, 0]
        free[cells] = False
        inside.append(cells)
    return free.nonzero()[:, 0], inside


def _attend(
    attn: Any,
    query: Float[Tensor, "batch cells inner"],
    key: Float[Tensor, "batch tokens inner"],
    value: Float[Tensor, "batch tokens inner"],
) -> Float[Tensor, "batch cells inner"]:
    """Multi-head scaled dot-product attention."""
    heads = [
        t.unflatten(2, (attn.heads, -1)).transpose(1, 2) for t in (query, key, value)
    ]
    output = functional.scaled_dot_product_attention(*heads)
    return output.transpose(1, 2).flatten(2)
