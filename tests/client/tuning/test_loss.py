"""Noise and timesteps as the settings say, from the generator alone."""

import pytest
import torch

from mos_client.tuning.settings import TuneSettings
from mos_client.tuning.training.loss import draw_noise, draw_timesteps
from mos_model.errors import TuningError


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_without_bias_timesteps_are_the_references() -> None:
    found = draw_timesteps(64, 1000, 1.0, generator())
    assert torch.equal(found, torch.randint(0, 1000, (64,), generator=generator()))


@pytest.mark.parametrize("bias", [1.0, 2.0, 3.0])
def test_bias_moves_the_mean_as_its_formula_says(bias: float) -> None:
    found = draw_timesteps(20_000, 1000, bias, generator())
    assert found.min() >= 0
    assert found.max() <= 999
    # The mean of 1 - u^b over 0..1 is b / (b + 1).
    assert found.double().mean() == pytest.approx(1000 * bias / (bias + 1), rel=0.02)


def test_offset_noise_is_constant_over_a_channel() -> None:
    latents = torch.zeros(2, 3, 8, 8)
    plain = draw_noise(latents, 0.0, generator())
    shifted = draw_noise(latents, 0.5, generator())
    difference = shifted - plain
    assert torch.allclose(difference, difference[:, :, :1, :1].expand_as(difference))
    assert difference.abs().max() > 0.1


def test_a_bias_that_is_none_is_refused() -> None:
    with pytest.raises(TuningError, match="timestep_bias is 0"):
        TuneSettings(timestep_bias=0.0)
