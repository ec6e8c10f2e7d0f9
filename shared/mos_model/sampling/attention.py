"""Attention in which every region reads its own prompt.

Mix-of-Show (arXiv:2305.18292), section 3.3, regionally controllable sampling. Inside a
region's cells, cross-attention attends to the region's prompt; outside, to the context.
Where both have a share of a cell (see `shares`), their outputs are added up by it.
Keys and values of all prompts are projected once per picture, not once per step, and
each prompt's queries are its own cells alone. Pictures of a batch may differ in their
regions: all (picture, region) pairs of similar size share one call of scaled
dot-product attention.

While `isolated`, self-attention too stays inside a region: each region's subject is
laid out as if it had the picture to itself. Otherwise one subject, once begun, talks
its neighbours out of having one of their own. During the `lead`, the context alone
counts everywhere: a sentence that names every class puts each in its place, and the
regions then make individuals of them. Neither is in the paper.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from mos_model.prompts.layerwise import cross_attentions
from mos_model.sampling.shares import Shares


@dataclass(frozen=True)
class RegionalTexts:
    """The prompts of a batch of pictures, and which of them counts where."""

    hidden: Float[Tensor, "texts layers tokens width"]
    """Encodings, each prompt once."""

    parts: Sequence[Sequence[int]]
    """Of every row of the UNet's batch: the text of its context and of each region."""

    shares: Sequence[Shares]
    """Of every row: where these count."""


@contextmanager
def regional_attention(
    unet: Any,
    texts: RegionalTexts,
    *,
    lead: float = 0.0,
    isolation: float = 0.0,
    base_ratio: float = 0.0,
) -> Iterator[Callable[[float], None]]:
    """Let every cross-attention of `unet` attend by region.

    Args:
        unet: The UNet; inside `layerwise`, with the contexts as its text.
        texts: Prompts and shares for every row of its batch.
        lead: The first share of the steps, 0 to 1, in which the context alone counts
            everywhere and lays the picture out.
        isolation: The share of the steps up to which, after the lead, self-attention
            too stays inside each region.
        base_ratio: The context's part of cross-attention inside regions, 0 to 1.

    Yields:
        To be told, after every step, what share of the steps is done.
    """
    kept = dict(unet.attn_processors)
    reading = _Cells(texts.shares, base_ratio)
    regional: dict[str, Any] = {
        f"{name}.processor": RegionalProcessor(texts, layer, reading)
        for layer, name in enumerate(cross_attentions(unet))
    }
    apart = IsolatedProcessor(reading if not base_ratio else _Cells(texts.shares, 0.0))
    isolated = {name: apart for name in kept if name.endswith(".attn1.processor")}
    state = ""

    def done(share: float) -> None:
        nonlocal state
        before = state
        if share < lead:
            state = "lead"
        else:
            state = "isolated" if share < isolation else "regional"
        if state == before:
            return
        inside = {"lead": {}, "isolated": regional | isolated, "regional": regional}
        unet.set_attn_processor(kept | inside[state])

    done(0.0)
    try:
        yield done
    finally:
        unet.set_attn_processor(kept)


class RegionalProcessor:
    """The attention processor of one cross-attention block."""

    def __init__(self, texts: RegionalTexts, layer: int, cells: "_Cells") -> None:
        """Take the texts, and the block's place among the L blocks."""
        self._texts, self._layer, self._cells = texts, layer, cells
        self._projected: tuple[Tensor, Tensor] | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "batch cells channels"],
        encoder_hidden_states: Float[Tensor, "batch tokens width"] | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Float[Tensor, "batch cells channels"]:
        """Attend; the arguments are those of diffusers' own processors.

        The text given is that of the contexts; `RegionalTexts` has them too.
        """
        if self._projected is None:
            hidden = self._texts.hidden[:, self._layer].to(hidden_states)
            self._projected = attn.to_k(hidden), attn.to_v(hidden)
        query = attn.to_q(hidden_states)
        result = torch.zeros_like(query)
        keys, values = self._projected
        for group in self._cells.groups(query):
            text = group.text(self._texts.parts)
            group.add(
                result, _attend(attn, group.take(query), keys[text], values[text])
            )
        return _mixed(attn, result)


class IsolatedProcessor:
    """Self-attention in which every region sees its own cells alone.

    The context's cells see the whole picture; where regions overlap, their outputs are
    added up by their shares.
    """

    def __init__(self, cells: "_Cells") -> None:
        """Take the cells of every row's regions."""
        self._cells = cells

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
        result = torch.zeros_like(query)
        for group in self._cells.groups(query):
            own = group.take(query)
            if group.is_context:
                output = _attend(attn, own, key[group.rows], value[group.rows])
            else:
                seen = group.take(key), group.take(value)
                output = _attend(attn, own, *seen, filled=group.filled)
            group.add(result, output)
        return _mixed(attn, result)


class _Group:
    """Parts, each a context or a region in one row, whose cells are of like number.

    Lists of cells are padded to one length with cell 0 at share 0.
    """

    def __init__(self, parts: Sequence[tuple[int, int, Tensor]], like: Tensor) -> None:
        """Take (row, index of the part in its row, shares of the cells) of each."""
        inside = [share.nonzero()[:, 0] for _, _, share in parts]
        longest = max(len(cells) for cells in inside)
        cells = torch.zeros(len(parts), longest, dtype=torch.long)
        shares = torch.zeros(len(parts), longest, 1)
        for index, (part, own) in enumerate(zip(parts, inside, strict=True)):
            cells[index, : len(own)] = own
            shares[index, : len(own), 0] = part[2][own]
        self._indices = [index for _, index, _ in parts]
        self._row_list = [row for row, _, _ in parts]
        self.rows = torch.tensor(self._row_list, device=like.device)
        self._flat = (self.rows.cpu()[:, None] * like.shape[1] + cells).flatten()
        self._flat = self._flat.to(like.device)
        self._shape = cells.shape
        self._shares = None if bool((shares == 1).all()) else shares.to(like)
        full = bool((shares > 0).all())
        self.filled = (
            None if full else (shares > 0).to(like.device)[:, None, None, :, 0]
        )
        """Which keys are none of the padding; None where there is no padding."""

        self._text: Tensor | None = None

    @property
    def is_context(self) -> bool:
        """Whether these are contexts, not regions; groups are never of both."""
        return self._indices[0] == 0

    def text(self, parts: Sequence[Sequence[int]]) -> Int[Tensor, " parts"]:
        """The text of each part."""
        if self._text is None:
            own = zip(self._row_list, self._indices, strict=True)
            text = [parts[row][index] for row, index in own]
            self._text = torch.tensor(text, device=self.rows.device)
        return self._text

    def take(
        self, states: Float[Tensor, "batch cells channels"]
    ) -> Float[Tensor, "parts own channels"]:
        """Every part's own cells."""
        own = states.flatten(0, 1).index_select(0, self._flat)
        return own.view(*self._shape, -1)

    def add(
        self,
        result: Float[Tensor, "batch cells channels"],
        output: Float[Tensor, "parts own channels"],
    ) -> None:
        """Add every part's output to its cells, by its shares."""
        if self._shares is not None:
            output = output * self._shares
        result.flatten(0, 1).index_add_(0, self._flat, output.flatten(0, 1))


class _Cells:
    """The groups of a batch at every resolution, made when first asked for."""

    def __init__(self, shares: Sequence[Shares], base_ratio: float) -> None:
        self._shares, self._base_ratio = shares, base_ratio
        self._groups: dict[int, list[_Group]] = {}

    def groups(self, like: Float[Tensor, "batch cells channels"]) -> list[_Group]:
        """The groups at the resolution of `like`, on its device."""
        count = like.shape[1]
        if count not in self._groups:
            assert len(self._shares) == like.shape[0], "every row has its shares"
            self._groups[count] = self._grouped(like)
        return self._groups[count]

    def _grouped(self, like: Tensor) -> list[_Group]:
        by_size: dict[tuple[bool, int], list[tuple[int, int, Tensor]]] = {}
        for row, shares in enumerate(self._shares):
            own = shares.at(like.shape[1]) * (1 - self._base_ratio)
            own[0] += self._base_ratio
            for index, share in enumerate(own):
                cells = int(share.count_nonzero())
                if cells:
                    key = (index == 0, cells.bit_length())
                    by_size.setdefault(key, []).append((row, index, share))
        return [_Group(parts, like) for parts in by_size.values()]


def _mixed(attn: Any, result: Tensor) -> Float[Tensor, "batch cells channels"]:
    mixed: Tensor = attn.to_out[1](attn.to_out[0](result))
    return mixed


def _attend(
    attn: Any,
    query: Float[Tensor, "batch cells inner"],
    key: Float[Tensor, "batch tokens inner"],
    value: Float[Tensor, "batch tokens inner"],
    *,
    filled: Tensor | None = None,
) -> Float[Tensor, "batch cells inner"]:
    """Multi-head scaled dot-product attention; `filled` tells which keys count."""
    q, k, v = (
        t.unflatten(2, (attn.heads, -1)).transpose(1, 2) for t in (query, key, value)
    )
    output = functional.scaled_dot_product_attention(q, k, v, attn_mask=filled)
    return output.transpose(1, 2).flatten(2)
