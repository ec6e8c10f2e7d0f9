"""T2I-Adapters and ControlNets of random weights on a small base."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from diffusers import (
    ControlNetModel,
    DPMSolverMultistepScheduler,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetPipeline,
    T2IAdapter,
)
from PIL import Image

from mos_model.bases.base import Base, load_base
from mos_model.errors import LayoutError, ZooError
from mos_model.sampling import Control, Layout, Region, sampling
from mos_model.sampling.control_models import ControlModels
from mos_model.sampling.controls import controlled
from mos_model.sampling.shares import Shares
from tests.support.bases import save_tiny_sd

Pixels = npt.NDArray[np.float64]
LEFT = (0.0, 0.0, 0.5, 1.0)
SIZE = (32, 16)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("adapter")
    T2IAdapter(1, [32, 64], 1, 2, "full_adapter").save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def controlnet(base: Base, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One with cross-attention of its own, and no zero layers."""
    torch.manual_seed(6)
    folder = tmp_path_factory.mktemp("controlnet")
    model = ControlNetModel.from_unet(
        base.unet, conditioning_embedding_out_channels=(16, 32)
    )
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(folder)
    return str(folder)


def picture(mode: str = "L") -> Image.Image:
    pixels = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    pixels[4:12, 4:28] = 255
    return Image.fromarray(pixels).convert(mode)


def draw(base: Base, *controls: Control, regions: tuple[Region, ...] = ()) -> Pixels:
    layout = Layout("a dog", *SIZE, regions=regions, controls=controls)
    with sampling(base) as sampler:
        image = sampler.sample(layout, seeds=[3], steps=2, guidance=4.0)[0]
    return np.asarray(image, dtype=np.float64)


def stock(family: Any, base: Base, **given: Any) -> Pixels:
    parts = dict(base.pipeline.components)
    del parts["image_encoder"]
    scheduler = DPMSolverMultistepScheduler.from_config(parts["scheduler"].config)
    parts["scheduler"] = scheduler
    control = {k: given.pop(k) for k in ("adapter", "controlnet") if k in given}
    pipeline = family(**parts, **control, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(3)
    image = pipeline(
        "a dog",
        negative_prompt="",
        width=SIZE[0],
        height=SIZE[1],
        num_inference_steps=2,
        guidance_scale=4.0,
        generator=generator,
        **given,
    ).images[0]
    return np.asarray(image, dtype=np.float64)


def test_controlnet_gives_the_stock_pipelines_picture(
    base: Base, controlnet: str
) -> None:
    ours = draw(base, Control(controlnet, picture("RGB"), 0.7))
    theirs = stock(
        StableDiffusionControlNetPipeline,
        base,
        controlnet=ControlNetModel.from_pretrained(controlnet),
        image=picture("RGB"),
        controlnet_conditioning_scale=0.7,
    )
    assert np.abs(ours - theirs).max() <= 1
    assert np.abs(ours - draw(base)).max() > 1


@pytest.mark.filterwarnings("ignore:The decode_latents method:FutureWarning")
def test_adapter_gives_the_stock_pipelines_picture(base: Base, adapter: str) -> None:
    ours = draw(base, Control(adapter, picture(), 0.7))
    theirs = stock(
        StableDiffusionAdapterPipeline,
        base,
        adapter=T2IAdapter.from_pretrained(adapter),
        image=picture(),
        adapter_conditioning_scale=0.7,
    )
    assert np.abs(ours - theirs).max() <= 1
    assert np.abs(ours - draw(base)).max() > 1


def test_two_controls_at_once_differ_from_each_alone(
    base: Base, adapter: str, controlnet: str
) -> None:
    first, second = Control(adapter, picture()), Control(controlnet, picture())
    both = draw(base, first, second)
    assert np.abs(both - draw(base, first)).max() > 1
    assert np.abs(both - draw(base, second)).max() > 1


def test_control_of_no_weight_changes_nothing(
    base: Base, adapter: str, controlnet: str
) -> None:
    controls = (Control(adapter, picture(), 0.0), Control(controlnet, picture(), 0.0))
    assert np.array_equal(draw(base, *controls), draw(base))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["adapter", "controlnet"])
def test_region_weights_scale_the_maps_in_their_cells_alone(
    base: Base, kind: str, request: pytest.FixtureRequest
) -> None:
    name = request.getfixturevalue(kind)
    control = Control(name, picture(), 1.0)
    layout = Layout("", *SIZE, regions=(Region("a", LEFT),), controls=(control,))
    seen: list[dict[str, Any]] = []
    noisy = torch.randn(2, 4, 8, 16, generator=torch.Generator().manual_seed(0))
    text = torch.randn(2, 5 * base.inventory.layers, 32)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(base.unet, "forward", lambda *a, **k: seen.append(k))
        for weights in ((1.0,), (0.25,)):
            own = replace(layout, controls=(replace(control, region_weights=weights),))
            shares = Shares(own, (8, 16), levels=2)
            models = ControlModels(base).of(own)
            with controlled(base, models, [own], [shares]):
                base.unet(noisy, 500, encoder_hidden_states=text)
    key = "down_intrablock_additional_residuals"
    if kind == "controlnet":
        key = "down_block_additional_residuals"
    for whole, part in zip(seen[0][key], seen[1][key], strict=True):
        half = whole.shape[3] // 2
        torch.testing.assert_close(part[..., :half], 0.25 * whole[..., :half])
        assert torch.equal(part[..., half:], whole[..., half:])


def test_control_ends_where_it_shall(base: Base, adapter: str) -> None:
    short, long = (Control(adapter, picture(), until=u) for u in (0.5, 1.0))
    assert np.abs(draw(base, short) - draw(base, long)).max() > 0
    assert np.abs(draw(base, short) - draw(base)).max() > 0


def test_pictures_of_a_batch_keep_their_own_controls(base: Base, adapter: str) -> None:
    flipped = picture().transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(20)
    layouts = [
        Layout("a dog", *SIZE, controls=(Control(adapter, image),))
        for image in (picture(), flipped)
    ]
    with sampling(base) as sampler:
        together = sampler.sample(layouts, seeds=[3, 3], steps=2)
        alone = [sampler.sample(each, seeds=[3], steps=2)[0] for each in layouts]
    for ours, theirs in zip(together, alone, strict=True):
        difference = np.asarray(ours, float) - np.asarray(theirs, float)
        assert np.abs(difference).max() <= 1


def test_control_of_another_size_is_refused(base: Base, adapter: str) -> None:
    small = Control(adapter, picture().resize((8, 8)))
    with pytest.raises(LayoutError, match="its picture is 8x8, the layout 32x16"):
        draw(base, small)


def test_weights_for_regions_that_are_not_there_are_refused(
    base: Base, adapter: str
) -> None:
    control = Control(adapter, picture(), 1.0, (1.0, 0.5))
    with pytest.raises(LayoutError, match="2 region weights for 1 regions"):
        draw(base, control, regions=(Region("a cat", LEFT),))


def test_control_of_another_base_is_refused(base: Base, tmp_path: Path) -> None:
    T2IAdapter(1, [64, 64], 1, 2, "full_adapter").save_pretrained(tmp_path)
    with pytest.raises(LayoutError, match="made for another base"):
        draw(base, Control(str(tmp_path), picture()))


def test_control_that_is_not_there_is_refused(base: Base, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"no such directory\. Give `mini-adapter`"):
        draw(base, Control("nowhere", picture()))
    with pytest.raises(LayoutError, match=r"no readable config\.json"):
        draw(base, Control(str(tmp_path), picture()))


def test_model_that_is_no_control_is_refused(base: Base) -> None:
    with pytest.raises(LayoutError, match="UNet2DConditionModel is not supported"):
        draw(base, Control(str(base.folder / "unet"), picture()))


def test_zoo_without_that_control_is_told(
    base: Base, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("mos_model.mini._WEIGHTS", tmp_path)
    with pytest.raises(ZooError, match="'mini-adapter' is missing"):
        draw(base, Control("mini-adapter", picture()))
