"""How far a UNet in fewer bits is from the same one in float32."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor

from tests.benchmarks.gpu_check.bases import random_base
from tests.benchmarks.gpu_check.machine import Machine
from tests.benchmarks.gpu_check.report import Row

Add = Callable[[Row], None]

BATCH: Final = 2
TIMESTEP: Final = 500


@torch.no_grad()
def measure_numerics(machine: Machine, add: Add, family: str) -> None:
    """The relative error of one UNet call, ||y - y32|| / ||y32||, equal weights.

    The float32 it is held against computes without TF32.
    """
    base = random_base(machine, family, torch.float32)
    unet, section = base.unet, f"numerics {family}"
    inputs = _inputs(base)
    with tensor_float(False):
        exact = _output(unet, inputs)
    if machine.on_gpu:
        with tensor_float(True):
            add(_row(section, "float32 with TF32", _output(unet, inputs), exact))
    for dtype in (torch.bfloat16, torch.float16):
        narrow = copy.deepcopy(unet).to(dtype)
        name = str(dtype).removeprefix("torch.")
        add(_row(section, name, _output(narrow, inputs), exact))
        del narrow
        machine.free()


@contextmanager
def tensor_float(wanted: bool) -> Iterator[None]:
    """Let float32 products and convolutions on a GPU use TF32, or keep them from it."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = wanted
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def _inputs(base: Any) -> dict[str, Tensor]:
    config, generator = base.unet.config, torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(base.device)

    side = config.sample_size
    inputs = {
        "sample": normal(BATCH, config.in_channels, side, side),
        "text": normal(BATCH, base.tokens, config.cross_attention_dim),
    }
    if base.is_xl:
        inputs["pooled"] = normal(
            BATCH, base.pipeline.text_encoder_2.config.hidden_size
        )
        sizes = [8 * side, 8 * side, 0, 0, 8 * side, 8 * side]
        inputs["sizes"] = torch.tensor([sizes] * BATCH, device=base.device).float()
    return inputs


def _output(unet: Any, inputs: dict[str, Tensor]) -> Tensor:
    dtype = unet.dtype
    further = {}
    if "pooled" in inputs:
        further["added_cond_kwargs"] = {
            "text_embeds": inputs["pooled"].to(dtype),
            "time_ids": inputs["sizes"],
        }
    sample, text = inputs["sample"].to(dtype), inputs["text"].to(dtype)
    output: Tensor = unet(sample, TIMESTEP, text, **further).sample
    return output.double()


def _row(section: str, case: str, output: Tensor, exact: Tensor) -> Row:
    error = float((output - exact).norm() / exact.norm())
    finite = bool(output.isfinite().all())
    return Row(section, case, {"relative_error": f"{error:.2e}", "finite": finite})
