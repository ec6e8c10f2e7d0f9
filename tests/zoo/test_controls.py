"""Controls: trained against a frozen base of any widths, in diffusers' own form."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, T2IAdapter

from mos_model.errors import ZooError
from mos_zoo.models import controls
from mos_zoo.models.controls import (
    AdapterStage,
    Controlled,
    ControlNetStage,
    outlines,
    silhouettes,
)
from mos_zoo.models.unet import Denoiser, UnetStage
from mos_zoo.models.vae import VaeStage
from mos_zoo.training import latents
from mos_zoo.training.dataset import PictureSet, draw_scene, load_set, render_sets
from mos_zoo.training.journal import Journal
from mos_zoo.training.latents import vae_folder
from mos_zoo.training.loop import Span, train, trained

CPU = torch.device("cpu")
WIDTHS = (32, 64)
SETS = {
    name: PictureSet((width, 64), 4, 0)
    for name, width in (
        ("square", 64),
        ("medium", 96),
        ("double", 128),
        ("triple", 192),
    )
}
BOTH = pytest.mark.parametrize(
    ("make", "family", "draw"),
    [
        (AdapterStage, T2IAdapter, outlines),
        (ControlNetStage, ControlNetModel, silhouettes),
    ],
)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base after two steps, with its pictures and latents."""
    folder = tmp_path_factory.mktemp("zoo")
    render_sets(folder / "data", workers=1, sets=SETS)
    vae = VaeStage(folder, widths=(8, 8, 8, 8)).build().eval()
    pixels = load_set(folder / "data", "square").pixels
    latents.normalise(vae, pixels)
    vae.save_pretrained(vae_folder(folder))
    for name in SETS:
        latents._encode(folder, name, latents._mark(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UnetStage, "show", lambda self, model, folder: {})
        train(base(folder), folder, Span(1e9, max_steps=2), workers=1, device=CPU)
    return folder


def base(state: Path) -> UnetStage:
    return UnetStage(state, widths=WIDTHS, batch_size=2)


def masks() -> np.ndarray:
    return np.stack([draw_scene(seed, (64, 64)).subject for seed in (1, 2)])


@BOTH
def test_a_control_trains_and_the_base_stays(
    state: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: type,
    family: type,
    draw: object,
) -> None:
    assert callable(draw)
    monkeypatch.setattr(controls, "_SHOWN", 1)
    before: Denoiser = trained(base(state), state, Journal())  # type: ignore[assignment]
    stage = make(state, base(state), batch_size=4)
    steps = train(stage, state, Span(1e9, max_steps=4), workers=1, device=CPU)
    assert steps == 4
    assert (state / stage.name / "shown" / "samples.png").is_file()
    frozen = stage._lesson.base.state_dict()
    for name, value in before.state_dict().items():
        assert torch.equal(value, frozen[name]), name

    control = trained(stage, state, Journal())
    control.save_pretrained(tmp_path)  # type: ignore[operator]
    read = family.from_pretrained(tmp_path).eval()  # type: ignore[attr-defined]
    noisy = torch.randn(4, 12, 8, 8, generator=torch.Generator().manual_seed(0))
    times, ids = torch.tensor([900] * 4), torch.zeros(4, 32, dtype=torch.long)
    with torch.no_grad():
        plain = before(noisy, times, ids)
        steered = Controlled(before, control, draw(masks()), 1.0)(noisy, times, ids)
        again = Controlled(before, read, draw(masks()), 1.0)(noisy, times, ids)
        off = Controlled(before, control, draw(masks()), 0.0)(noisy, times, ids)
    assert torch.equal(steered, again)
    assert not torch.allclose(steered, plain, atol=1e-6)
    assert torch.allclose(off, plain, atol=1e-6)


@BOTH
def test_a_control_fits_wide_canvases(
    state: Path, make: type, family: type, draw: object
) -> None:
    assert callable(draw)
    denoiser = Denoiser(WIDTHS, 1)
    control = make(state, base(state)).build()
    wide = np.concatenate([masks(), masks()], axis=2)
    steered = Controlled(denoiser, control, draw(wide), 1.0)
    noisy = torch.randn(2, 12, 8, 16)
    times, ids = torch.tensor([5, 5]), torch.zeros(2, 32, dtype=torch.long)
    assert steered(noisy, times, ids).shape == noisy.shape


def test_the_controlnet_starts_from_the_base(state: Path) -> None:
    denoiser: Denoiser = trained(base(state), state, Journal())  # type: ignore[assignment]
    controlnet = ControlNetStage(state, base(state)).build()
    assert torch.equal(controlnet.conv_in.weight, denoiser.unet.conv_in.weight)
    resnet = "down_blocks.1.resnets.0.conv1.weight"
    own = controlnet.state_dict()[resnet]
    assert torch.equal(own, denoiser.unet.state_dict()[resnet])


@BOTH
def test_no_control_without_a_base(
    tmp_path: Path, make: type, family: type, draw: object
) -> None:
    with pytest.raises(ZooError, match="no trained 'unet'"):
        make(tmp_path).open(CPU)


def test_controls_are_white_on_black() -> None:
    edges, areas = outlines(masks()), silhouettes(masks())
    assert edges.shape == (2, 1, 64, 64)
    assert areas.shape == (2, 3, 64, 64)
    assert set(edges.unique().tolist()) == {0.0, 1.0}
    assert (areas[:, :1] >= edges).all()
