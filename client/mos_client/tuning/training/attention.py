r"""Attention regularisation: the concept's tokens look where the subject is.

Mix-of-Show trains with masks so (arXiv:2305.18292; in the authors' code `attn_reg`,
weight 0.01, on by default only where masks are given). For a picture and one resolution
of cross-attention, let

    M_t = mean over blocks and heads of softmax(Q K^T / sqrt(d))[:, position of t]

be the map of token t over the cells, divided by its own largest value, and S the share
of subject in each cell, the mask averaged down. With the adjective token V_rand and the
subject token V_class, the penalty is

    sum over resolutions of
        sum(M_rand (1 - S)) / sum(1 - S)        V_rand stays inside
      + mean((M_class - S)^2)                   V_class covers the subject

and its mean over the pictures. Differences from the authors' code: maps are scaled per
picture, not per batch, and masks are averaged down, not picked, so that thin subjects
do not vanish. A token named several times counts with the mean of its maps.

Queries and keys are taken by hooks on the projections, so any attention processor may
be set, and where no picture has a mask nothing is hooked and nothing is computed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mos_model.prompts.layerwise import cross_attentions
from mos_model.prompts.prompt_tokens import TokenizedPrompt

_LEAST: Final = 1e-6


@dataclass
class Projected:
    """What one cross-attention block compared in one forward pass."""

    heads: int
    scale: float
    query: Float[Tensor, "n cells inner"] | None = None
    key: Float[Tensor, "n tokens inner"] | None = None

    def maps(
        self, chosen: Float[Tensor, "n rows tokens"]
    ) -> Float[Tensor, "n rows cells"]:
        """Attention to some weighted tokens, averaged over the heads, float32."""
        assert self.query is not None, "the block has not run yet"
        assert self.key is not None, "the block has not run yet"
        query_NHCD, key_NHTD = (
            part.float().unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key)
        )
        shares_NHCT = (query_NHCD @ key_NHTD.mT * self.scale).softmax(-1)
        maps: Tensor = chosen @ shares_NHCT.mean(1).mT
        return maps


@dataclass
class Watch:
    """The blocks of one forward pass."""

    blocks: list[Projected] = field(default_factory=list)

    def penalty(
        self,
        prompts: Sequence[TokenizedPrompt],
        subject: Float[Tensor, "n 1 height width"],
    ) -> Float[Tensor, ""]:
        """The penalty of the module's docstring, unweighted.

        Args:
            prompts: Of each picture; those without the concept are left out.
            subject: S at latent resolution, in 0..1; a picture without a mask has 1
                everywhere and adds nothing.
        """
        chosen = _concept_tokens(prompts).to(subject)
        counts = chosen.sum((1, 2)) * (subject.amin((1, 2, 3)) < 1)
        total = subject.new_zeros(())
        for size, blocks in self._by_size(subject.shape[2], subject.shape[3]).items():
            maps = torch.stack([block.maps(chosen) for block in blocks]).mean(0)
            maps = maps / maps.amax(2, keepdim=True).clamp_min(_LEAST)
            own = functional.interpolate(subject, size, mode="area").flatten(1)
            outside = 1 - own
            adjective = (maps[:, 0] * outside).sum(1) / outside.sum(1).clamp_min(_LEAST)
            covered = (maps[:, 1] - own).square().mean(1)
            total = total + torch.where(counts > 0, adjective + covered, 0.0).mean()
        return total

    def _by_size(
        self, height: int, width: int
    ) -> dict[tuple[int, int], list[Projected]]:
        """Blocks by their cells' (rows, columns); each level halves, rounding up."""
        sizes: dict[int, tuple[int, int]] = {}
        while height * width not in sizes:
            sizes[height * width] = (height, width)
            height, width = -(-height // 2), -(-width // 2)
        groups: dict[tuple[int, int], list[Projected]] = {}
        for block in self.blocks:
            assert block.query is not None, "the block has not run yet"
            groups.setdefault(sizes[block.query.shape[1]], []).append(block)
        return groups


@contextmanager
def watched(unet: nn.Module) -> Iterator[Watch]:
    """Inside, a forward pass of `unet` leaves its cross-attentions' inputs.

    Leave it before the backward pass: with gradient checkpointing that runs the blocks
    again.
    """
    watch = Watch()
    handles = []
    for block in cross_attentions(unet).values():
        seen = Projected(int(block.heads), float(block.scale))  # type: ignore[arg-type]
        watch.blocks.append(seen)
        for name, part in (("query", block.to_q), ("key", block.to_k)):
            assert isinstance(part, nn.Module)
            handles.append(part.register_forward_hook(_keeper(seen, name)))
    try:
        yield watch
    finally:
        for handle in handles:
            handle.remove()


def _keeper(seen: Projected, name: str) -> Any:
    def keep(module: nn.Module, args: Any, output: Tensor) -> None:
        setattr(seen, name, output)

    return keep


def _concept_tokens(
    prompts: Sequence[TokenizedPrompt],
) -> Float[Tensor, "n 2 tokens"]:
    """Weights that pick V_rand (row 0) and V_class (row 1) of each prompt."""
    chosen = torch.zeros(len(prompts), 2, len(prompts[0].ids))
    for index, prompt in enumerate(prompts):
        for first, _ in prompt.concepts:
            for row in range(2):
                chosen[index, row, first + row] += 1 / len(prompt.concepts)
    return chosen
