"""Regional sampling on SDXL's architecture, and by every kind of scheduler."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mos_model.bases.base import Base, load_base
from mos_model.concepts.applying import as_fused
from mos_model.sampling import Layout, Region, sampling
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.families import SIDE, save_family

WHOLE, LEFT = (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 1.0)


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_family(tmp_path_factory.mktemp("base"), "sdxl")))


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


def test_sdxl_region_over_everything_is_that_prompts_picture(sdxl: Base) -> None:
    """SDXL's pooled text is the context's, so the prompts' pooled parts are equal."""
    model = as_fused(random_concept(sdxl.inventory, "rex"))
    plain = Layout("<rex>", SIDE, SIDE)
    whole = Layout("<rex>", SIDE, SIDE, regions=(Region("<rex>", WHOLE),))
    half = Layout("<rex>", SIDE, SIDE, regions=(Region("a dog", LEFT),))
    with sampling(sdxl, model) as sampler:
        one, same, other = sampler.sample([plain, whole, half], seeds=[1] * 3, steps=2)
    difference = np.asarray(one, float) - np.asarray(same, float)
    assert np.abs(difference).max() <= 1
    assert np.abs(np.asarray(one, float) - np.asarray(other, float)).max() > 1


@pytest.mark.parametrize(
    "scheduler",
    [
        *("DDIMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"),
        *("PNDMScheduler", "HeunDiscreteScheduler", "UniPCMultistepScheduler"),
        *("DDPMScheduler", "DPMSolverSinglestepScheduler"),
    ],
)
def test_every_kind_of_scheduler_draws_regions(sd: Base, scheduler: str) -> None:
    """Some take two steps for one; shares of the steps end at 1 all the same."""
    layout = Layout("a dog", 16, 16, regions=(Region("a cat", WHOLE),))
    shares: list[float] = []

    def note(pipe: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        shares.append((step + 1) / pipe.num_timesteps)
        return dict(tensors)

    with sampling(sd) as sampler:
        image, plain = sampler.sample(
            [layout, Layout("a dog", 16, 16)],
            seeds=[0, 0],
            steps=6,
            scheduler=scheduler,
            lead=0.5,
            callback_on_step_end=note,
        )
    assert not np.array_equal(np.asarray(image), np.asarray(plain))
    assert shares[-1] == 1.0


def test_callback_may_change_the_latents(sd: Base) -> None:
    layout = Layout("a dog", 16, 16)

    def still(pipe: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        return {"latents": torch.zeros_like(tensors["latents"])}

    with sampling(sd) as sampler:
        first, second = sampler.sample(
            layout, seeds=[0, 1], steps=2, callback_on_step_end=still
        )
        free = sampler.sample(layout, seeds=[0], steps=2)[0]
    assert np.array_equal(np.asarray(first), np.asarray(second))
    assert not np.array_equal(np.asarray(first), np.asarray(free))


def test_bfloat16_base_samples_regions(tmp_path: Path) -> None:
    base = load_base(str(save_tiny_sd(tmp_path)), dtype=torch.bfloat16)
    model = as_fused(random_concept(base.inventory, "rex"))
    regions = (Region("<rex>", LEFT, feather=0.1), Region("a cat", WHOLE, z=-1))
    layout = Layout("a dog", 32, 16, regions=regions)
    with sampling(base, model) as sampler:
        image = sampler.sample(layout, seeds=[0], steps=2, isolation=1.0)[0]
    assert np.asarray(image).std() > 0
