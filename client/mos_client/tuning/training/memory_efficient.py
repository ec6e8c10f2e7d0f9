"""A projection and its LoRA pair in one differentiable step.

PEFT adds a pair's output to its layer's in several recorded operations: a product by
the scale, a sum, casts, each with an activation of full width kept or passed on. On
small layers these cost as much as the products. Here `x W^T + b + x A^T B^T` is one
step with one activation of full width, and its gradient is written out; with
y = x W^T + b + (x A^T) B^T and g the gradient of y,

    dB = g^T (x A^T)     dA = (g B)^T x     dx = g W + (g B) A

W and b are frozen and get none.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor
from torch.nn import functional

from mos_client.tuning.training.adapters import ADAPTER
from mos_model.bases.base import Base


@contextmanager
def lean_projections(base: Base) -> Iterator[None]:
    """Let every adapted projection of a base inside `lora_adapters` compute so.

    Values and gradients are PEFT's up to rounding; modules, hooks and scales stay.
    """
    layers = [
        layer
        for component in ("unet", *base.text_encoders)
        for layer in getattr(base.pipeline, component).modules()
        if isinstance(layer, BaseTunerLayer)
    ]
    for layer in layers:
        layer.forward = _lean_forward(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _lean_forward(layer: Any) -> Callable[..., Tensor]:
    frozen, down, up = layer.base_layer, layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]

    def forward(x: Float[Tensor, "*n inputs"]) -> Float[Tensor, "*n outputs"]:
        dtype, scale = frozen.weight.dtype, layer.scaling[ADAPTER]
        rise = up.weight if scale == 1 else up.weight * scale
        result: Tensor = _LeanProjection.apply(  # type: ignore[no-untyped-call]
            x.to(dtype),
            frozen.weight,
            frozen.bias,
            down.weight.to(dtype),
            rise.to(dtype),
        )
        return result

    return forward


class _LeanProjection(torch.autograd.Function):
    """See the module's docstring; all arguments share one dtype."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "*n inputs"],
        weight: Float[Tensor, "outputs inputs"],
        bias: Float[Tensor, " outputs"] | None,
        down: Float[Tensor, "rank inputs"],
        up: Float[Tensor, "outputs rank"],
    ) -> Float[Tensor, "*n outputs"]:
        rows = x.flatten(0, -2)
        narrow = rows @ down.T
        result: Tensor = functional.linear(rows, weight, bias).addmm_(narrow, up.T)
        ctx.save_for_backward(rows, weight, down, up, narrow)
        shaped: Tensor = result.unflatten(0, x.shape[:-1])
        return shaped

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, down, up, narrow = ctx.saved_tensors
        (grad,) = grads
        given = grad.flatten(0, -2)
        narrow_given = given @ up
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (given @ weight).addmm_(narrow_given, down)
            of_x = of_x.unflatten(0, grad.shape[:-1])
        return of_x, None, None, narrow_given.T @ rows, given.T @ narrow
