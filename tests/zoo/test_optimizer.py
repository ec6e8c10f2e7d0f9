"""The optimizer: orthogonal updates for matrices, Adam's for the rest."""

import copy

import torch
from torch import nn

from mos_zoo.training.optimizer import Buffers, SharedOptimizer, layout, orthogonalised

RATE = 0.01


def test_orthogonalised_is_near_u_vt() -> None:
    generator = torch.Generator().manual_seed(0)
    for rows, columns in ((24, 48), (48, 24), (32, 32)):
        u, _, vt = torch.linalg.svd(
            torch.randn(rows, columns, generator=generator), full_matrices=False
        )
        spectrum = torch.linspace(0.2, 1.0, min(rows, columns))
        result = orthogonalised(u * spectrum @ vt)
        assert result.shape == (rows, columns)
        values = torch.linalg.svdvals(result)
        assert values.min() > 0.6
        assert values.max() < 1.3
        polar = u @ vt
        cosine = (result * polar).sum() / result.norm() / polar.norm()
        assert cosine > 0.98


def test_scale_of_the_gradient_does_not_matter() -> None:
    matrix = torch.randn(20, 30, generator=torch.Generator().manual_seed(1))
    close = torch.allclose(
        orthogonalised(matrix), orthogonalised(1000 * matrix), atol=0.05
    )
    assert close


def make(
    model: nn.Module, adam_names: tuple[str, ...] = (), weight_decay: float = 0.0
) -> tuple[SharedOptimizer, Buffers]:
    slots = layout(model, adam_names)
    buffers = Buffers.for_slots(slots, 1, torch.device("cpu"))
    optimizer = SharedOptimizer(
        model,
        slots,
        buffers,
        0,
        lambda: None,
        weight_decay=weight_decay,
        take_values=True,
    )
    return optimizer, buffers


def test_matrices_move_orthogonally_by_adams_step_size() -> None:
    torch.manual_seed(0)
    model = nn.Linear(32, 32)
    before = copy.deepcopy(model)
    optimizer, _ = make(model)
    model(torch.randn(64, 32)).square().mean().backward()
    optimizer.step(0, RATE, 0.0)
    moved = (model.weight - before.weight).detach()
    # 0.2 sqrt(32) times an orthogonal matrix has a root mean square of 0.2.
    rms = moved.square().mean().sqrt() / RATE
    assert 0.12 < rms < 0.28


def test_named_matrices_and_vectors_are_adams() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32))
    before = copy.deepcopy(model)
    optimizer, _ = make(model, adam_names=("0.",))
    model(torch.randn(64, 32)).square().mean().backward()
    optimizer.step(0, RATE, 0.0)
    for name, parameter in model.named_parameters():
        moved = (parameter - before.get_parameter(name)).abs().detach()
        # Adam's first step has the size of its rate wherever there is a gradient.
        is_adams = name != "1.weight"
        assert bool((moved.median() / RATE - 1).abs() < 0.01) == is_adams, name


def test_convolutions_survive_their_layout() -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(16, 24, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(2, 16, 8, 8)
    expected = model(x)
    optimizer, _ = make(model)
    assert torch.allclose(model(x), expected, atol=1e-6)
    model(x).square().mean().backward()
    norm = optimizer.step(0, RATE, 0.0)
    assert norm > 0
    assert not torch.allclose(model(x), expected, atol=1e-6)


def test_the_average_follows_the_parameters() -> None:
    torch.manual_seed(0)
    model = nn.Linear(20, 20)
    optimizer, buffers = make(model)
    start = buffers.average.clone()
    model(torch.randn(8, 20)).square().mean().backward()
    optimizer.step(0, RATE, 0.75)
    expected = 0.75 * start + 0.25 * buffers.parameters
    assert torch.allclose(buffers.average, expected, atol=1e-6)
