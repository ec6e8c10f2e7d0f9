"""The decoder goes on alone: what was trained on the latents stays valid."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from mos_model.errors import ZooError
from mos_zoo.models.decoder import DecoderStage, with_trained_decoder
from mos_zoo.models.vae import VaeStage, reconstruct
from mos_zoo.training import latents
from mos_zoo.training.dataset import PictureSet, load_set, render_sets
from mos_zoo.training.latents import vae_folder
from mos_zoo.training.loop import Span, train
from mos_zoo.world.pictures import to_tensor

CPU = torch.device("cpu")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Four pictures, their latents, and a tiny autoencoder."""
    render_sets(
        tmp_path / "data", workers=1, sets={"square": PictureSet((64, 64), 4, 0)}
    )
    vae = VaeStage(tmp_path, widths=(8, 8, 8, 8)).build().eval()
    latents.normalise(vae, load_set(tmp_path / "data", "square").pixels)
    vae.save_pretrained(vae_folder(tmp_path))
    latents._encode(tmp_path, "square", latents._mark(tmp_path))
    return tmp_path


def test_pictures_come_back_nearer_and_latents_stay(state: Path) -> None:
    before: Any = AutoencoderKL.from_pretrained(vae_folder(state)).eval()
    stage = DecoderStage(state, batch_size=4)
    train(stage, state, Span(1e9, max_steps=30), workers=1, device=CPU)
    after = with_trained_decoder(state).eval()

    x = to_tensor(load_set(state / "data", "square").pixels)
    with torch.no_grad():
        assert torch.equal(
            after.encode(x).latent_dist.mode(), before.encode(x).latent_dist.mode()
        )
        missed = [
            float((reconstruct(vae, x) - x).square().mean()) for vae in (before, after)
        ]
    assert missed[1] < 0.8 * missed[0]


def test_its_figures_and_grid_are_the_autoencoders_own(state: Path) -> None:
    stage = DecoderStage(state)
    stage.open(CPU)
    figures = stage.show(stage.build().eval(), state / "shown")
    assert set(figures) == {"psnr", "psnr on subjects"}
    assert np.isfinite(list(figures.values())).all()
    assert (state / "shown" / "reconstructions.png").is_file()


def test_without_latents_the_missing_stage_is_named(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="run the stage `latents` first"):
        DecoderStage(tmp_path).build()
