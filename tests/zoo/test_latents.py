"""Latents: normalised, and the pictures stay what they were."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from mos_model.errors import ZooError
from mos_zoo.models.vae import VaeStage, reconstruct
from mos_zoo.training.dataset import draw_scene
from mos_zoo.training.latents import load_latents, normalise
from mos_zoo.world.pictures import to_tensor


@torch.no_grad()
def test_normalised_latents_have_mean_0_and_deviation_1(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae: AutoencoderKL = VaeStage(tmp_path, widths=(8, 8, 16, 16)).build().eval()
    pixels = np.stack([draw_scene(seed, (64, 64)).pixels for seed in range(12)])
    x = to_tensor(pixels)
    pictures = reconstruct(vae, x)
    spread = vae.encode(x).latent_dist.std
    deviation = vae.encode(x).latent_dist.mode().std((0, 2, 3))
    normalise(vae, pixels)
    latents = vae.encode(x).latent_dist
    z = latents.mode()
    assert torch.allclose(z.mean((0, 2, 3)), torch.zeros(12), atol=1e-3)
    assert torch.allclose(z.std((0, 2, 3)), torch.ones(12), atol=1e-3)
    assert torch.allclose(reconstruct(vae, x), pictures, atol=1e-3)
    scaled = spread / deviation.view(1, -1, 1, 1)
    assert torch.allclose(latents.std, scaled, rtol=1e-3)


def test_missing_latents_are_told(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="run the stage `latents`"):
        load_latents(tmp_path, "square")
