"""Without regions or concepts, a base draws what stock diffusers draws from it.

At most 1 of 255 apart, for rounding: both prompts are encoded in one batch here.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline
from PIL import Image

from mos_model.bases.base import load_base
from mos_model.bases.base_files import fingerprint
from mos_model.prompts.encoder import PromptEncoder
from mos_model.sampling import Layout, Region, sampling
from tests.support.bases import spell_as_on_the_hub
from tests.support.families import SIDE, save_family
from tests.support.stock import Stock, stock_diffusers

Draw = Callable[..., Image.Image]

PROMPT, STEPS, GUIDANCE, SEED = "a red cat", 3, 7.5, 3


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family(tmp_path_factory.mktemp("base"), "sdxl")


def with_flag(folder: Path, target: Path, **flags: Any) -> Path:
    """The same base with other flags in its `model_index.json`."""
    target.mkdir()
    for part in folder.iterdir():
        if part.is_dir():
            (target / part.name).symlink_to(part)
    index = json.loads((folder / "model_index.json").read_text()) | flags
    (target / "model_index.json").write_text(json.dumps(index))
    return target


def ours(
    base: Path, negative: str, *regions: Region, scheduler: str | None = None
) -> Image.Image:
    layout = Layout(PROMPT, SIDE, SIDE, negative_prompt=negative, regions=regions)
    with sampling(load_base(str(base))) as sampler:
        return sampler.sample(
            layout,
            seeds=[SEED],
            steps=STEPS,
            guidance=GUIDANCE,
            scheduler=scheduler,
        )[0]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stock]:
    with stock_diffusers(tmp_path_factory.mktemp("stock")) as started:
        yield started


@pytest.fixture
def stock(process: Stock) -> Draw:
    def draw(base: Path, negative: str | None, **also: Any) -> Image.Image:
        return process.draw(
            base,
            prompt=PROMPT,
            negative_prompt=negative,
            height=SIDE,
            width=SIDE,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            seed=SEED,
            **also,
        )

    return draw


def apart(one: Image.Image, other: Image.Image) -> float:
    first, second = (np.asarray(image, dtype=float) for image in (one, other))
    return float(np.abs(first - second).max())


def test_sdxl_without_negative_prompt_is_the_stock_picture(
    sdxl: Path, stock: Draw
) -> None:
    assert apart(ours(sdxl, ""), stock(sdxl, None)) <= 1
    assert apart(stock(sdxl, ""), stock(sdxl, None)) > 5


def test_sdxl_that_does_not_want_zeros_encodes_the_empty_text(
    sdxl: Path, tmp_path: Path, stock: Draw
) -> None:
    base = with_flag(sdxl, tmp_path / "base", force_zeros_for_empty_prompt=False)
    assert apart(ours(base, ""), stock(base, None)) <= 1
    assert apart(ours(base, ""), ours(sdxl, "")) > 5


def test_no_prompt_is_zeros_and_an_empty_prompt_is_not(sdxl: Path) -> None:
    encoded = PromptEncoder(load_base(str(sdxl)), {}).encode([None, "", PROMPT])
    assert encoded.pooled is not None
    assert not encoded.hidden[0].any()
    assert not encoded.pooled[0].any()
    assert all(row.any() for row in (*encoded.hidden[1:], *encoded.pooled[1:]))


def test_region_without_negative_prompt_is_guided_from_zeros_too(
    sdxl: Path, stock: Draw
) -> None:
    """A region over everything, of the context's prompt, changes nothing."""
    whole = (0.0, 0.0, 1.0, 1.0)
    assert apart(ours(sdxl, "", Region(PROMPT, whole)), stock(sdxl, None)) <= 1
    other = Region(PROMPT, whole, negative_prompt="a dog")
    assert apart(ours(sdxl, "", other), stock(sdxl, None)) > 1


def test_aesthetics_score_and_watermark_of_an_index_change_nothing(
    sdxl: Path, tmp_path: Path, stock: Draw
) -> None:
    flags = {"requires_aesthetics_score": True, "add_watermarker": False}
    base = with_flag(sdxl, tmp_path / "base", **flags)
    assert apart(ours(base, ""), stock(sdxl, None)) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("negative", ["", "a dog"])
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_every_family_draws_the_stock_picture(
    tmp_path: Path, stock: Draw, family: str, negative: str
) -> None:
    base = save_family(tmp_path / "base", family)
    assert apart(ours(base, negative), stock(base, negative or None)) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "DDIMScheduler"])
def test_zero_terminal_snr_of_the_base_is_kept(
    tmp_path: Path, stock: Draw, name: str
) -> None:
    base = save_family(tmp_path / "base", "sd2")
    path = base / "scheduler" / "scheduler_config.json"
    also = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    path.write_text(json.dumps(json.loads(path.read_text()) | also))
    drawn = ours(base, "", scheduler=name)
    assert apart(drawn, stock(base, None, scheduler=name)) <= 1
    alphas = load_base(str(base)).noise_scheduler().alphas_cumprod
    assert float(alphas[-1]) == 0


@pytest.mark.slow
def test_hub_style_text_encoder_is_the_same_base_and_draws_the_stock_picture(
    tmp_path: Path, stock: Draw
) -> None:
    """Older files spell `text_model.` and hold the position ids as a tensor."""
    base = save_family(tmp_path / "base", "sd1")
    before, drawn = fingerprint(base), ours(base, "")
    spell_as_on_the_hub(base)
    assert fingerprint(base) == before
    assert apart(ours(base, ""), drawn) == 0
    assert apart(ours(base, ""), stock(base, None)) <= 1


def test_latent_consistency_base_samples_with_its_own_scheduler(
    tmp_path: Path,
) -> None:
    base = save_family(tmp_path / "base", "sd1")
    index = base / "model_index.json"
    index.write_text(
        index.read_text().replace(
            StableDiffusionPipeline.__name__, "LatentConsistencyModelPipeline"
        )
    )
    path = base / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text()) | {"_class_name": "LCMScheduler"}
    path.write_text(json.dumps(config))
    loaded = load_base(str(base))
    assert loaded.defaults["sample"] == {
        **{"scheduler": "LCMScheduler", "steps": 4, "guidance": 1.0}
    }
    with sampling(loaded) as sampler:
        picture = sampler.sample(Layout(PROMPT, SIDE, SIDE), seeds=[SEED])[0]
    assert picture.size == (SIDE, SIDE)
