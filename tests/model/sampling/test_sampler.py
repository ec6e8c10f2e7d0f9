"""Regional sampling on a small base of random weights."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from mos_model.bases.base import Base, load_base
from mos_model.concepts.applying import as_fused
from mos_model.errors import LayoutError, PromptError
from mos_model.sampling import Layout, Region, sampling
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept

Pixels = npt.NDArray[np.float64]
WHOLE = (0.0, 0.0, 1.0, 1.0)
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


def draw(
    base: Base, layout: Layout, guidance: float = 5.0, isolation: float = 0.0
) -> Pixels:
    model = as_fused(random_concept(base.inventory, "rex"))
    with sampling(base, model) as sampler:
        images = sampler.sample(
            layout, seeds=[3, 4], steps=3, guidance=guidance, isolation=isolation
        )
    return np.stack([np.asarray(image, dtype=np.float64) for image in images])


def test_without_regions_it_is_the_stock_picture(base: Base) -> None:
    with sampling(base) as sampler:
        ours = sampler.sample(Layout("a red cat", 16, 16), seeds=[3], steps=3)
    pipeline = base.pipeline
    kept = pipeline.scheduler
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(kept.config)
    stock = pipeline(
        "a red cat",
        negative_prompt="",
        width=16,
        height=16,
        num_inference_steps=3,
        generator=torch.Generator().manual_seed(3),
    ).images
    pipeline.scheduler = kept
    assert np.array_equal(np.asarray(ours[0]), np.asarray(stock[0]))


@pytest.mark.parametrize("isolation", [0.0, 1.0])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_region_over_everything_is_that_prompts_picture(
    base: Base, guidance: float, isolation: float
) -> None:
    plain = draw(base, Layout("<rex> in the snow", 32, 16), guidance)
    regions = (Region("<rex> in the snow", WHOLE),)
    layout = Layout("a dog", 32, 16, regions=regions)
    regional = draw(base, layout, guidance, isolation)
    assert np.abs(plain - regional).max() <= 1  # of 255, rounding


def test_region_changes_the_picture_and_leaves_the_base(base: Base) -> None:
    before = {k: v.clone() for k, v in base.unet.state_dict().items()}
    processors = base.unet.attn_processors
    plain = draw(base, Layout("a dog", 32, 16))
    regional = draw(base, Layout("a dog", 32, 16, regions=(Region("<rex>", LEFT),)))
    assert np.abs(plain - regional).max() > 1
    assert base.unet.attn_processors == processors
    assert all(torch.equal(before[k], v) for k, v in base.unet.state_dict().items())


def test_equal_overlapping_regions_are_one_region(base: Base) -> None:
    one = Layout("a dog", 32, 16, regions=(Region("<rex>", LEFT),))
    over = (0.25, 0.0, 0.5, 1.0)
    twice = (Region("<rex>", LEFT), Region("<rex>", over, weight=3.0))
    both = Layout("a dog", 32, 16, regions=twice)
    assert np.abs(draw(base, one) - draw(base, both)).max() <= 1


def test_twenty_regions_of_odd_sizes_are_drawn(base: Base) -> None:
    regions = tuple(
        Region("<rex>", (i / 20, 0.0, (i + 1) / 20, 0.9)) for i in range(20)
    )
    assert draw(base, Layout("a dog", 40, 24, regions=regions)).shape == (2, 24, 40, 3)


def test_unknown_placeholder_is_refused(base: Base) -> None:
    with pytest.raises(PromptError, match="<bolt> names no concept of the model"):
        draw(base, Layout("a dog", 16, 16, regions=(Region("<bolt>", LEFT),)))


def test_prompt_that_is_too_long_is_refused_never_cut(base: Base) -> None:
    with pytest.raises(PromptError, match="tokens, the base takes 24"):
        draw(base, Layout("a cat and " * 20, 16, 16))


def test_size_off_the_grid_is_refused_with_the_nearest(base: Base) -> None:
    with pytest.raises(LayoutError, match="8; the nearest are 16x16 or 24x16"):
        draw(base, Layout("a dog", 17, 16))


def test_regions_prompt_that_is_too_long_is_refused_never_cut(base: Base) -> None:
    words = " ".join(["snow"] * 200)
    layout = Layout("a dog", 16, 16, regions=(Region(words, LEFT),))
    with pytest.raises(PromptError, match="tokens, the base takes 24: shorten 'snow"):
        draw(base, layout)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"scheduler": "Magic"}, "none of that"),
        ({"scheduler": "SchedulerMixin"}, "none of that"),
        ({"scheduler": "UNet2DConditionModel"}, "none of that"),
        ({"scheduler": "FlowMatchEulerDiscreteScheduler"}, "made for other models"),
        ({"scheduler": "KarrasVeScheduler"}, "made for other models"),
        ({"scheduler": "VQDiffusionScheduler"}, "made for other models"),
        ({"scheduler": "PNDMScheduler", "steps": 3}, "does not take 3 steps"),
        ({"steps": 2000}, "steps 2000; the base's noise schedule has 1000"),
        ({"guidance": float("nan")}, "guidance nan; a finite number"),
        ({"lead": float("nan")}, "lead nan; from 0 to 1"),
        ({"seeds": [True]}, "seed True; a whole number"),
        ({"seeds": [2**64]}, "seed 18446744073709551616; from"),
        ({"seeds": [1, 2]}, "1 layouts and 2 seeds"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_drawn(
    base: Base, settings: dict[str, Any], reason: str
) -> None:
    kept = base.pipeline.scheduler
    drawn: list[int] = []
    given: dict[str, Any] = {"seeds": [1], "on_step": lambda: drawn.append(1)}
    with sampling(base) as sampler, pytest.raises(LayoutError, match=reason):
        sampler.sample([Layout("a dog", 16, 16)], **(given | settings))
    assert not drawn
    assert base.pipeline.scheduler is kept


@pytest.mark.parametrize(
    "name", ["DDIMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"]
)
def test_schedulers_that_fit_are_taken(base: Base, name: str) -> None:
    with sampling(base) as sampler:
        pictures = sampler.sample(
            Layout("a dog", 16, 16), seeds=[1], scheduler=name, steps=3
        )
    assert pictures[0].size == (16, 16)


def test_latents_are_those_that_are_decoded(base: Base) -> None:
    layouts = [Layout(f"a {word}", 16, 16) for word in ("dog", "cat", "hat")]
    with sampling(base) as sampler:
        pictures = sampler.sample(layouts, seeds=[1, 2, 3], steps=2, batch_size=2)
        latents = sampler.latents(layouts, seeds=[1, 2, 3], steps=2, batch_size=2)
        decoded = sampler.decoded(latents)
    assert [one.tobytes() for one in decoded] == [one.tobytes() for one in pictures]
