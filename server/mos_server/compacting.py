"""A fused model in no more rank than its layers can use.

An update of a [d_out, d_in] layer has rank min(d_out, d_in) at most. The factors of
many concepts side by side have rank sum(r_i), which grows past that: a release of 200
concepts would be 200 bundles large. Its update is the same matrix either way.
"""

import torch

from mos_shared.concept import FusedModel, LoraFactors


def compact(model: FusedModel) -> FusedModel:
    """The same updates in factors of the highest rank that any layer can have.

    With R = max over layers of min(d_out, d_in): where the model's rank is above R,
    every update B A is factored anew by its singular values, B = U S^(1/2) and
    A = S^(1/2) V^T, computed in float64 and padded with zeros to R. A model of rank R
    or below comes back as it is.
    """
    rank = max(factors.down.shape[0] for factors in model.lora.values())
    useful = max(
        min(factors.up.shape[0], factors.down.shape[1])
        for factors in model.lora.values()
    )
    if rank <= useful:
        return model
    lora = {module: _refactored(f, useful) for module, f in model.lora.items()}
    return FusedModel(model.base, lora, model.concepts)


def _refactored(factors: LoraFactors, rank: int) -> LoraFactors:
    dense = factors.up.double() @ factors.down.double()
    left, singular, right = torch.linalg.svd(dense, full_matrices=False)
    root = singular.sqrt()
    down = torch.zeros(rank, dense.shape[1])
    up = torch.zeros(dense.shape[0], rank)
    down[: len(root)] = (root[:, None] * right).float()
    up[:, : len(root)] = (left * root).float()
    return LoraFactors(down, up)
