"""LoRA pairs from elsewhere, brought into a concept's form or refused.

A foreign file is not to be trusted: every tensor's kind and shape is compared with the
base before its values are looked at, and nothing but finite numbers passes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from mos_model.bases.inventory import Inventory
from mos_model.concepts.concept import LoraFactors
from mos_model.errors import BaseMismatchError, ConceptError
from mos_model.interop.spelling import is_attention

MAX_RANK: Final = 1024
"""Of an imported LoRA; a pair costs rank * (d_in + d_out) numbers in every layer."""


@dataclass(frozen=True)
class ForeignPair:
    """One layer's update as a file has it: dW = scale * up @ down."""

    down: Tensor
    """[r, d_in], or [r, d_in, 1, 1] of a convolution."""

    up: Tensor
    """[d_out, r], or [d_out, r, 1, 1]."""

    scale: float
    """The whole factor: alpha / r in most files, alpha in the reference's."""


@dataclass(frozen=True)
class ImportedLora:
    """What became of a foreign LoRA."""

    lora: Mapping[str, LoraFactors]
    """Every projection of the base, float32, all of one rank; scales folded in `up`."""

    rank: int
    dropped: tuple[str, ...]
    """Layers the file has beyond attention projections, left out as was allowed."""

    absent: tuple[str, ...]
    """Projections the file lacks; their factors are zero."""


def to_lora(
    pairs: Mapping[str, ForeignPair],
    inventory: Inventory,
    *,
    drop_extra: bool,
    whole: bool,
) -> ImportedLora:
    """Fit a file's pairs to a base.

    Pairs of a lower rank than the highest are filled up with zeros: dW is the same.

    Args:
        pairs: Module -> its pair. Names are canonical where the base has them.
        inventory: The base's projections and shapes.
        drop_extra: Leave out layers that are no attention projections.
        whole: Refuse a file that lacks a projection; else the missing are zero.

    Raises:
        BaseMismatchError: a projection that the base lacks, or has in another shape.
        ConceptError: extra layers, missing layers, a malformed pair, or numbers that
            are not finite.
    """
    extra = tuple(sorted(name for name in pairs if not is_attention(name)))
    if extra and not drop_extra:
        raise ConceptError(
            f"{len(extra)} layers beyond attention projections, as {extra[0]}: a "
            "concept has no place for them; --drop-extra-layers leaves them out "
            "(and pictures will differ)"
        )
    ours = {name: pair for name, pair in pairs.items() if is_attention(name)}
    if not ours:
        raise ConceptError("not one attention layer of a LoRA is in it")
    for name in sorted(ours):
        if name not in inventory.projections:
            raise BaseMismatchError(
                f"made for another base than {inventory.label!r}, which has no layer "
                f"{name}; pass its own with --base"
            )
    factors = {
        name: _checked(name, pair, inventory.projections[name], inventory.label)
        for name, pair in ours.items()
    }
    absent = tuple(name for name in inventory.projections if name not in factors)
    if absent and whole:
        raise ConceptError(f"layer {absent[0]} is missing ({len(absent)} in all)")
    rank = max(pair.down.shape[0] for pair in factors.values())
    lora = {
        name: _filled(factors.get(name), shape, rank)
        for name, shape in inventory.projections.items()
    }
    return ImportedLora(lora, rank, extra, absent)


def evened(lora: Mapping[str, LoraFactors]) -> dict[str, LoraFactors]:
    """The same updates at one rank, filled up with zeros; float32.

    Loaders guess one rank and one alpha for a whole file; where layers differ, some
    guess wrong.
    """
    rank = max(factors.down.shape[0] for factors in lora.values())
    return {
        name: _filled(factors, (factors.up.shape[0], factors.down.shape[1]), rank)
        for name, factors in lora.items()
    }


def check_numbers(name: str, tensor: object) -> Tensor:
    """`tensor`, where it is a plain one of finite floating point numbers.

    Raises:
        ConceptError: it is something else.
    """
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
        raise ConceptError(f"{name}: not a plain tensor")
    if not tensor.dtype.is_floating_point or tensor.device.type != "cpu":
        raise ConceptError(f"{name}: {tensor.dtype} is no floating point number")
    if not tensor.detach().float().isfinite().all():
        raise ConceptError(f"{name}: holds numbers that are not finite")
    return tensor.detach()


def _checked(
    name: str, pair: ForeignPair, shape: tuple[int, int], base: str
) -> LoraFactors:
    down, up = _flat(name, pair.down), _flat(name, pair.up)
    rank = down.shape[0]
    if up.shape[1] != rank or not 1 <= rank <= MAX_RANK:
        raise ConceptError(
            f"layer {name}: factors {tuple(up.shape)} and {tuple(down.shape)} are no "
            f"pair of a rank from 1 to {MAX_RANK}"
        )
    found = (up.shape[0], down.shape[1])
    if found != shape:
        raise BaseMismatchError(
            f"made for another base than {base!r}: layer {name} is {found[0]}x"
            f"{found[1]}, the base has {shape[0]}x{shape[1]}; pass its own with --base"
        )
    down = check_numbers(f"layer {name}", down).float()
    up = check_numbers(f"layer {name}", up).float() * pair.scale
    # A scale may carry a finite number beyond float32.
    return LoraFactors(down, check_numbers(f"layer {name}", up))


def _flat(name: str, tensor: object) -> Tensor:
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
        raise ConceptError(f"layer {name}: not a plain tensor")
    if tensor.dim() == 4 and tuple(tensor.shape[2:]) == (1, 1):
        return tensor[:, :, 0, 0]
    if tensor.dim() != 2:
        raise ConceptError(f"layer {name}: {tensor.dim()} dimensions, not two")
    return tensor


def _filled(
    factors: LoraFactors | None, shape: tuple[int, int], rank: int
) -> LoraFactors:
    d_out, d_in = shape
    down, up = torch.zeros(rank, d_in), torch.zeros(d_out, rank)
    if factors is not None:
        own = factors.down.shape[0]
        down[:own] = factors.down
        up[:, :own] = factors.up
    return LoraFactors(down, up)
