"""A fused model in no more rank than its layers can use.

An update of a [d_out, d_in] layer has rank min(d_out, d_in) at most. The factors of
many concepts side by side have rank sum(r_i), which grows past that: a release of 200
concepts would be 200 bundles large. Its update is the same matrix either way.
"""

from collections.abc import Callable, Iterable

import torch

from mos_model.concepts.concept import FusedModel, LoraFactors


def compact(model: FusedModel) -> FusedModel:
    """The same updates in factors of the highest rank that any layer can have.

    A model of that rank or below comes back as it is.
    """
    rank = max(factors.down.shape[0] for factors in model.lora.values())
    shapes = [(f.up.shape[0], f.down.shape[1]) for f in model.lora.values()]
    if rank <= useful_rank(shapes):
        return model
    one = compactor(shapes, rank)
    lora = {module: one(factors) for module, factors in model.lora.items()}
    return FusedModel(model.base, lora, model.concepts)


def useful_rank(shapes: Iterable[tuple[int, int]]) -> int:
    """R = max over layers of min(d_out, d_in)."""
    return max(min(shape) for shape in shapes)


def compactor(
    shapes: Iterable[tuple[int, int]], rank: int
) -> Callable[[LoraFactors], LoraFactors]:
    """What makes each layer of a fusion compact, so that none need wait for the others.

    Where `rank` is above R, an update B A is factored anew by its singular values,
    B = U S^(1/2) and A = S^(1/2) V^T, computed in float64 and padded with zeros to R.

    Args:
        shapes: (d_out, d_in) of every layer.
        rank: Of the fusion, sum(r_i).

    Returns:
        One layer's factors, of any floating dtype, to its float32 factors.
    """
    useful = useful_rank(shapes)
    if rank <= useful:
        return lambda factors: LoraFactors(factors.down.float(), factors.up.float())
    return lambda factors: _refactored(factors, useful)


def _refactored(factors: LoraFactors, rank: int) -> LoraFactors:
    dense = factors.up.double() @ factors.down.double()
    left, singular, right = torch.linalg.svd(dense, full_matrices=False)
    root = singular.sqrt()
    down = torch.zeros(rank, dense.shape[1])
    up = torch.zeros(dense.shape[0], rank)
    down[: len(root)] = (root[:, None] * right).float()
    up[:, : len(root)] = (left * root).float()
    return LoraFactors(down, up)
