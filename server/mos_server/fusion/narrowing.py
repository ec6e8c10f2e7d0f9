r"""A fused model in half the bytes: float16 factors, their error seen to be small.

float16 has 11 bits and few exponents. A fused down factor A_i G_i M^-1 is often a
thousand times smaller than its up factor, and parts of it would fall below what float16
can hold; so each pair of a row and its column is first scaled by a power of two to one
common magnitude, which changes no bit of their product. bfloat16 has range enough but 8
bits, an error of some 3e-3.
"""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from mos_model.concepts.concept import FusedModel, LoraFactors

MAX_ERROR: Final = 1e-3
"""||narrow - wide||_F of one layer's update over ||wide||_F, at most."""


def narrowed(model: FusedModel) -> FusedModel:
    """The model with float16 factors; its embeddings stay as they are.

    A layer whose update would change by more than `MAX_ERROR` stays float32.
    """
    lora = {module: _narrowed(factors) for module, factors in model.lora.items()}
    return FusedModel(model.base, lora, model.concepts)


def update_error(narrow: LoraFactors, wide: LoraFactors) -> float:
    """||narrow - wide||_F / ||wide||_F of two updates, 0 where both are 0."""
    up = torch.cat([narrow.up.double(), -wide.up.double()], dim=1)
    down = torch.cat([narrow.down.double(), wide.down.double()])
    size = _norm(wide.up.double(), wide.down.double())
    missed = _norm(up, down)
    return missed / size if size else missed


def _narrowed(factors: LoraFactors) -> LoraFactors:
    down, up = factors.down.float(), factors.up.float()
    largest_down, largest_up = down.abs().amax(1), up.abs().amax(0)
    both = (largest_down > 0) & (largest_up > 0)
    ratio = torch.where(both, largest_up / largest_down, torch.ones_like(largest_up))
    scale = torch.exp2((torch.log2(ratio) / 2).round())
    narrow = LoraFactors((down * scale[:, None]).half(), (up / scale).half())
    return narrow if update_error(narrow, factors) <= MAX_ERROR else factors


def _norm(up: Float[Tensor, "d_out r"], down: Float[Tensor, "r d_in"]) -> float:
    """||U D||_F, by thin QR: small differences of large factors keep their digits."""
    core = torch.linalg.qr(up).R @ torch.linalg.qr(down.T).R.T
    return float(torch.linalg.matrix_norm(core))
