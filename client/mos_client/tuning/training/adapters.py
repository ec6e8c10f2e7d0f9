"""LoRA on every attention projection, through PEFT, and its canonical names.

Scale trap: the reference adds `alpha * B A` with no division by the rank, PEFT and
kohya add `alpha / r * B A`. With alpha = r both are B A, and a concept has the same
strength in every loader.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from mos_model.bases.base import Base
from mos_model.bases.inventory import canonical_module
from mos_model.concepts.concept import LoraFactors

ADAPTER: Final = "concept"


@contextmanager
def lora_adapters(base: Base, rank: int, generator: torch.Generator) -> Iterator[None]:
    """Inside, `base` carries trainable LoRA pairs; after, it is as it was.

    A is drawn from N(0, 1/r^2) by `generator`, B is 0, so nothing changes at first.
    Both are float32, whatever the base's dtype.
    """
    models = [getattr(base.pipeline, name) for name in ("unet", *base.text_encoders)]
    try:
        for name, model in zip(("unet", *base.text_encoders), models, strict=True):
            config = LoraConfig(
                r=rank,
                lora_alpha=rank,
                lora_dropout=0.0,
                target_modules=_targets(base, name),
            )
            inject_adapter_in_model(config, model, ADAPTER)
        _initialise(base, rank, generator)
        yield
    finally:
        for model in models:
            _unwrap(model)


def lora_parameters(base: Base, component: str) -> dict[str, nn.Parameter]:
    """Trainable LoRA matrices of one component, by canonical tensor name."""
    found: dict[str, nn.Parameter] = {}
    for module, layer in getattr(base.pipeline, component).named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        name = canonical_module(component, module)
        found[f"{name}.lora_A.weight"] = layer.lora_A[ADAPTER].weight
        found[f"{name}.lora_B.weight"] = layer.lora_B[ADAPTER].weight
    return dict(sorted(found.items()))


def lora_factors(base: Base) -> dict[str, LoraFactors]:
    """The tuned pairs, float32 on the CPU; alpha / r is 1."""
    tensors: dict[str, torch.Tensor] = {}
    for component in ("unet", *base.text_encoders):
        tensors |= lora_parameters(base, component)
    plain = {name: tensor.detach().float().cpu() for name, tensor in tensors.items()}
    return {
        name.removesuffix(".lora_A.weight"): LoraFactors(
            down.clone(), plain[name.replace("lora_A", "lora_B")].clone()
        )
        for name, down in plain.items()
        if name.endswith(".lora_A.weight")
    }


def _targets(base: Base, component: str) -> list[str]:
    """Module names inside a component, exactly the base's attention projections."""
    wanted = base.inventory.projections
    return [
        module
        for module, _ in getattr(base.pipeline, component).named_modules()
        if canonical_module(component, module) in wanted
    ]


@torch.no_grad()
def _initialise(base: Base, rank: int, generator: torch.Generator) -> None:
    for component in ("unet", *base.text_encoders):
        for name, weight in lora_parameters(base, component).items():
            weight.data = weight.data.float()  # PEFT takes the frozen weight's dtype
            if name.endswith(".lora_A.weight"):
                weight.copy_(torch.randn(weight.shape, generator=generator) / rank)
            else:
                weight.zero_()
            weight.requires_grad_(True)


def _unwrap(model: Any) -> None:
    """Put the plain linears back where PEFT put shells around them."""
    for module, layer in list(model.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            parent, _, last = module.rpartition(".")
            setattr(model.get_submodule(parent), last, layer.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config
