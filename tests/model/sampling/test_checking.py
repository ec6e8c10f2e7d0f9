"""What is found out about layouts before any weights are loaded."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mos_model.bases.base import load_base
from mos_model.bases.base_outline import BaseOutline, outline_of, read_outline
from mos_model.errors import BaseError, LayoutError
from mos_model.prompts.prompt_tokens import PromptTokenizer
from mos_model.sampling import Layout, Mask, Region, SamplingSettings
from mos_model.sampling.checking import check_sampling
from tests.support.bases import save_tiny_sd


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def outline(folder: Path) -> BaseOutline:
    return read_outline(str(folder))


def notes(
    outline: BaseOutline, layout: Layout, guidance: float = 5.0
) -> tuple[str, ...]:
    return check_sampling(
        outline,
        PromptTokenizer(outline.tokenizers, ()),
        [layout],
        seeds=[0],
        settings=SamplingSettings(guidance=guidance),
    )


def test_outline_read_from_files_is_that_of_the_loaded_base(
    folder: Path, outline: BaseOutline
) -> None:
    loaded = outline_of(load_base(str(folder)))
    assert (loaded.cell, loaded.size) == (outline.cell, outline.size) == (2, (16, 16))
    assert loaded.inventory == outline.inventory
    for key in ("block_out_channels", "in_channels", "layers_per_block"):
        assert loaded.unet[key] == outline.unet[key] or list(loaded.unet[key]) == list(
            outline.unet[key]
        )
    assert outline.unet["time_cond_proj_dim"] is None
    assert dict(loaded.scheduler.config) == dict(outline.scheduler.config)
    (ours,), (theirs,) = outline.tokenizers.values(), loaded.tokenizers.values()
    assert ours("a red cat").input_ids == theirs("a red cat").input_ids
    assert ours.model_max_length == theirs.model_max_length


def test_base_without_a_part_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BaseError):
        read_outline(str(tmp_path))


def test_negative_prompts_that_have_no_effect_are_noted(outline: BaseOutline) -> None:
    layout = Layout("a cat", 16, 16, negative_prompt="red")
    assert notes(outline, layout) == ()
    assert notes(outline, replace(layout, negative_prompt=""), 1.0) == ()
    assert "guidance 1 does not use them" in notes(outline, layout, 1.0)[0]
    distilled = replace(outline, unet={**outline.unet, "time_cond_proj_dim": 8})
    assert "this base's guidance does not" in notes(distilled, layout)[0]
    region = Region("a dog", (0.0, 0.0, 0.5, 1.0), negative_prompt="blue")
    regional = Layout("a cat", 16, 16, regions=(region,))
    assert "no effect" in notes(outline, regional, 1.0)[0]


@pytest.mark.parametrize("guidance", [0.0, -5.0, 0.99])
def test_guidance_below_one_is_refused(guidance: float) -> None:
    with pytest.raises(LayoutError, match="at least 1, which is without guidance"):
        SamplingSettings(guidance=guidance)


def test_region_that_hardly_shows_is_noted(outline: BaseOutline) -> None:
    mask = Image.new("L", (16, 16))
    mask.putpixel((3, 3), 255)
    layout = Layout("a cat", 16, 16, regions=(Region("a dog", Mask(mask)),))
    (note,) = notes(outline, layout)
    assert note.startswith("region 'a dog' covers 0.25 of a cell of 2x2 pixels")
