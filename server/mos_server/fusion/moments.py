"""Second moments of the inputs of a base's attention projections.

Gradient fusion needs nothing of a layer's inputs X but X X^T. It accumulates while the
model runs, in float32; no activation is kept. Projections that read the same input
share one moment: q, k and v of a self-attention, K and V of a cross-attention.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from mos_model.bases.base import Base
from mos_model.concepts.concept import LoraFactors

Gram = Float[Tensor, "d_in d_in"]
"""X X^T of one input, float32 while it accumulates, symmetric."""

Moments = Mapping[str, Gram]
"""Input name -> its second moment."""

TEXT: Final = "text"
CROSS: Final = "cross"
SPATIAL: Final = "spatial"
STAGES: Final = (TEXT, CROSS, SPATIAL)
"""The order of fusion in the reference: text encoder, K and V, spatial attention."""

_SHARED_INPUTS: Final = {
    "self_attn": ({"q_proj", "k_proj", "v_proj"}, "qkv"),
    "attn1": ({"to_q", "to_k", "to_v"}, "qkv"),
    "attn2": ({"to_k", "to_v"}, "kv"),
}


def input_of(module: str) -> str:
    """The name of the input that a projection reads; shared inputs share it."""
    block, _, last = module.rpartition(".")
    kind = block.rpartition(".")[2]
    readers, name = _SHARED_INPUTS.get(kind, (set(), ""))
    return f"{block}.{name}" if last in readers else module


def by_input(modules: Iterable[str]) -> dict[str, list[str]]:
    """Input name -> the projections that read it, both in the order given."""
    readers: dict[str, list[str]] = {}
    for module in modules:
        readers.setdefault(input_of(module), []).append(module)
    return readers


def readers_of(base: Base, stage: str) -> dict[str, list[str]]:
    """Input name -> the projections that read it, of one stage, ascending by name."""
    projections = sorted(base.inventory.projections)
    return by_input(name for name in projections if stage_of(name) == stage)


def stage_of(module: str) -> str:
    """The fusion stage a projection, or an input, belongs to."""
    if not module.startswith("unet."):
        return TEXT
    cross = (".attn2.to_k", ".attn2.to_v", ".attn2.kv")
    return CROSS if module.endswith(cross) else SPATIAL


def moment(inputs: Float[Tensor, "*rows d_in"]) -> Gram:
    """X X^T of a batch of input vectors, in float32."""
    rows = inputs.detach().reshape(-1, inputs.shape[-1]).float()
    return rows.T @ rows


@contextmanager
def recording(
    base: Base,
    stage: str,
    sink: dict[str, Gram],
    *,
    rows: Callable[[Tensor], Tensor] = lambda inputs: inputs,
) -> Iterator[None]:
    """Accumulate the moments of one stage's inputs into `sink` while the base runs.

    Args:
        base: The base, as it is adapted at the moment.
        stage: TEXT or SPATIAL; the K/V inputs are text features, see `capture`.
        sink: Input name -> moment, added to.
        rows: Takes what counts out of an input batch [N, tokens, d_in].
    """
    readers = {
        input_of(name): layer
        for name, layer in base.projections.items()
        if stage_of(name) == stage
    }
    handles = [
        layer.register_forward_pre_hook(_adder(name, sink, rows))
        for name, layer in readers.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def scaled(moments: Moments, *, balance: bool) -> dict[str, Float[Tensor, "d d"]]:
    """Moments in float64 on the CPU, as concepts are, with trace d under `balance`.

    A concept that was captured with more rows, or with larger activations, would
    otherwise count for more in the least squares.
    """
    result: dict[str, Float[Tensor, "d d"]] = {}
    for name, gram in moments.items():
        wide = gram.cpu().double()
        trace = wide.trace()
        if balance and trace > 0:
            wide = wide * (wide.shape[0] / trace)
        result[name] = wide
    return result


def ridged(total: Float[Tensor, "d d"], ridge: float) -> Float[Tensor, "d d"]:
    """M = total + lambda I, with lambda = ridge tr(total) / d."""
    size = total.shape[0]
    shift = ridge * total.trace() / size
    return total + shift * torch.eye(size, dtype=total.dtype, device=total.device)


def in_float64(lora: Mapping[str, LoraFactors]) -> dict[str, LoraFactors]:
    """A LoRA's factors, layer by layer, in the dtype that sums are made in."""
    return {m: LoraFactors(f.down.double(), f.up.double()) for m, f in lora.items()}


def _adder(
    name: str, sink: dict[str, Gram], rows: Callable[[Tensor], Tensor]
) -> Callable[..., None]:
    def add(module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        gram = moment(rows(args[0]))
        sink[name] = sink[name].add_(gram) if name in sink else gram

    return add
