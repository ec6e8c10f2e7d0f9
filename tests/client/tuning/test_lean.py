"""Lean projections compute what PEFT computes, values and gradients."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from mos_client.tuning.training.adapters import ADAPTER, lora_adapters, lora_parameters
from mos_client.tuning.training.memory_efficient import lean_projections
from mos_model.bases.base import Base, load_base
from mos_model.devices import autocast
from tests.support.bases import save_tiny_sd

RANK = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd(tmp_path_factory.mktemp("base"))


@pytest.fixture
def base(folder: Path) -> Iterator[Base]:
    loaded = load_base(str(folder))
    generator = torch.Generator().manual_seed(0)
    with lora_adapters(loaded, RANK, generator):
        with torch.no_grad():
            for weight in parameters(loaded).values():
                weight.copy_(torch.randn(weight.shape, generator=generator) / 10)
        yield loaded


def parameters(base: Base) -> dict[str, nn.Parameter]:
    return lora_parameters(base, "unet") | lora_parameters(base, "text_encoder")


def adapted(base: Base) -> list[BaseTunerLayer]:
    models = (base.unet, base.pipeline.text_encoder)
    layers = [layer for model in models for layer in model.modules()]
    return [layer for layer in layers if isinstance(layer, BaseTunerLayer)]


def pass_through(base: Base) -> dict[str, Tensor]:
    """Outputs of UNet and text encoder, and every gradient of their squares."""
    noise = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, 8, 8, generator=noise)
    for weight in parameters(base).values():
        weight.grad = None
    with autocast(base.device, base.unet.dtype):
        ids = torch.tensor([[1, 2, 3], [3, 2, 1]])
        text = base.pipeline.text_encoder(ids).last_hidden_state
        times = torch.tensor([3, 700])
        output = base.unet(latents.to(base.unet.dtype), times, text).sample
    output.float().square().mean().backward()
    found = {"text": text.detach(), "output": output.detach()}
    for name, weight in parameters(base).items():
        assert weight.grad is not None, name
        found[name] = weight.grad.clone()
    return found


def assert_alike(
    found: dict[str, Tensor], expected: dict[str, Tensor], within: float
) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        off = (found[name].float() - value.float()).norm()
        assert off <= within * value.float().norm(), name


@pytest.mark.parametrize("scale", [1.0, 0.7, 0.0])
def test_values_and_gradients_are_pefts(base: Base, scale: float) -> None:
    for layer in adapted(base):
        layer.scaling[ADAPTER] = scale
    expected = pass_through(base)
    with lean_projections(base):
        found = pass_through(base)
    assert_alike(found, expected, 1e-4)


def test_half_precision_bases_keep_float32_gradients(folder: Path) -> None:
    base = load_base(str(folder), dtype=torch.bfloat16)
    with lora_adapters(base, RANK, torch.Generator().manual_seed(0)):
        expected = pass_through(base)
        with lean_projections(base):
            found = pass_through(base)
    assert found["output"].dtype == torch.bfloat16
    assert {found[n].dtype for n in found if "lora" in n} == {torch.float32}
    assert_alike(found, expected, 0.1)


def test_hooks_still_see_every_projection_and_nothing_stays(base: Base) -> None:
    seen: list[nn.Module] = []
    layers = adapted(base)
    handles = [
        layer.register_forward_hook(lambda module, *_: seen.append(module))
        for layer in layers
    ]
    before = pass_through(base)
    seen.clear()
    with lean_projections(base):
        pass_through(base)
    assert set(map(id, seen)) == set(map(id, layers))
    for handle in handles:
        handle.remove()
    after = pass_through(base)
    assert all(torch.equal(after[name], value) for name, value in before.items())
