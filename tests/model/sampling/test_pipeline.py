"""`RegionalPipeline` is called like a diffusers pipeline and answers like one."""

from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.callbacks import SDCFGCutoffCallback

from mos_model.bases.base import load_base
from mos_model.concepts.applying import as_fused
from mos_model.errors import BaseMismatchError, LayoutError, PromptError
from mos_model.sampling import Layout, Region, RegionalPipeline, sampling
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.families import save_family

LEFT, RIGHT = "0,0,0.5,1: a cat", "0.5,0,1,1: a blue dog"
CUTOFF = SDCFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=1)
SHORT: dict[str, Any] = {"num_inference_steps": 2, "output_type": "np"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def folder(family: str) -> str:
        path = tmp_path_factory.mktemp(family)
        tiny = family == "tiny"
        return str(save_tiny_sd(path) if tiny else save_family(path, family))

    return folder


@pytest.fixture(scope="module")
def tiny(folders: Any) -> str:
    return str(folders("tiny"))


@pytest.fixture
def pipe(tiny: str) -> RegionalPipeline:
    return RegionalPipeline.from_pretrained(tiny)


def stock(folder: str) -> Any:
    """Stock diffusers on the same files."""
    found = diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    found.set_progress_bar_config(disable=True)
    return found


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(ours: Any, theirs: Any) -> bool:
    return ours.shape == theirs.shape and bool(np.allclose(ours, theirs, atol=1e-3))


@pytest.mark.parametrize("family", ["tiny", "sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("negative", [None, "", "a dog"])
def test_without_regions_it_gives_the_stock_pictures(
    folders: Any, family: str, negative: str | None
) -> None:
    given = {"negative_prompt": negative, **SHORT}
    folder = folders(family)
    ours = RegionalPipeline.from_pretrained(folder)(
        "a red cat", generator=seeded(), **given
    )
    theirs = stock(folder)("a red cat", generator=seeded(), **given)
    assert type(ours) is type(theirs)
    assert same(ours.images, theirs.images)


def test_without_further_arguments_the_defaults_are_the_stock_pipelines(
    tiny: str, pipe: RegionalPipeline
) -> None:
    (ours,) = pipe("a red cat", generator=seeded()).images
    (theirs,) = stock(tiny)("a red cat", generator=seeded()).images
    assert ours.size == theirs.size
    assert np.abs(np.asarray(ours, float) - np.asarray(theirs, float)).max() <= 1


@pytest.mark.parametrize(
    "given",
    [
        {"guidance_scale": 1.0},
        {"guidance_scale": 0.0},
        {"guidance_rescale": 0.7},
        {"height": 32, "width": 16},
        {"num_images_per_prompt": 2},
        {"timesteps": [800, 500, 100]},
        {"num_inference_steps": 3, "callback_on_step_end": CUTOFF},
    ],
    ids=str,
)
def test_other_arguments_are_the_stock_pipelines(
    tiny: str, pipe: RegionalPipeline, given: dict[str, Any]
) -> None:
    pipe.scheduler = diffusers.DDPMScheduler.from_config(pipe.scheduler.config)
    ours, theirs = (
        drawn("a red cat", generator=seeded(), **(SHORT | given)).images
        for drawn in (pipe, stock(tiny))
    )
    assert same(ours, theirs)


def test_several_prompts_have_their_own_negatives_generators_and_order(
    tiny: str, pipe: RegionalPipeline
) -> None:
    prompts, negatives = ["a red cat", "a blue dog"], ["a car", "a tree"]
    ours, theirs = (
        drawn(
            prompts,
            negative_prompt=negatives,
            num_images_per_prompt=2,
            generator=[seeded(seed) for seed in range(4)],
            **SHORT,
        ).images
        for drawn in (pipe, stock(tiny))
    )
    assert len(ours) == 4
    assert same(ours, theirs)


@pytest.mark.parametrize(
    "name", ["EulerDiscreteScheduler", "DDIMScheduler", "LCMScheduler"]
)
def test_the_scheduler_that_is_assigned_is_used_and_the_bases_stays(
    tiny: str, pipe: RegionalPipeline, name: str
) -> None:
    theirs, own = stock(tiny), pipe.stock.scheduler
    for each in (pipe, theirs):
        config = each.scheduler.config
        each.scheduler = getattr(diffusers, name).from_config(config)
    ours = pipe("a red cat", generator=seeded(), **SHORT).images
    assert same(ours, theirs("a red cat", generator=seeded(), **SHORT).images)
    assert pipe.stock.scheduler is own


@pytest.mark.parametrize("family", ["tiny", "sdxl"])
def test_with_regions_and_a_model_it_gives_what_the_sampler_gives(
    folders: Any, family: str
) -> None:
    base = load_base(folders(family))
    model = as_fused(random_concept(base.inventory))
    before = {n: layer.weight.clone() for n, layer in base.projections.items()}
    regions = [Region.parse("0,0,0.5,1: a photo of <rex>"), Region.parse(RIGHT)]
    pipe = RegionalPipeline(base, model)
    scheduler = "DPMSolverMultistepScheduler"
    pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
    (ours,) = pipe(
        "a beach",
        regions,
        num_inference_steps=2,
        guidance_scale=3.0,
        generator=seeded(),
    ).images
    (plain,) = pipe("a beach", num_inference_steps=2, generator=seeded()).images
    width, height = ours.size
    layout = Layout("a beach", width, height, regions=tuple(regions))
    with sampling(base, model) as sampler:
        (theirs,) = sampler.sample(
            layout, seeds=[0], steps=2, guidance=3.0, scheduler=scheduler
        )
    assert ours == theirs
    assert ours != plain
    assert all(bool((base.projections[n].weight == w).all()) for n, w in before.items())


def test_each_prompt_may_have_its_own_regions(pipe: RegionalPipeline) -> None:
    def drawn(prompts: Any, regions: Any, *seeds: int) -> Any:
        generators = [seeded(seed) for seed in seeds]
        return pipe(prompts, regions, generator=generators, **SHORT).images

    both = drawn(["a beach", "a city"], [[LEFT], [RIGHT]], 0, 1)
    assert same(both[:1], drawn("a beach", [LEFT], 0))
    assert same(both[1:], drawn("a city", [RIGHT], 1))
    assert not same(both[1:], drawn("a city", [LEFT], 1))


def test_latents_and_tuples_are_given_where_they_are_wanted(
    pipe: RegionalPipeline,
) -> None:
    first = torch.randn(1, 4, 8, 8, generator=seeded())
    latents = pipe(
        "a cat",
        [LEFT],
        latents=first,
        output_type="latent",
        num_inference_steps=1,
        return_dict=False,
    )[0]
    assert latents.shape == first.shape
    assert latents.dtype == torch.float32


def test_the_callback_sees_and_changes_tensors_and_can_interrupt(
    pipe: RegionalPipeline,
) -> None:
    seen: list[tuple[int, set[str]]] = []

    def on_step_end(
        stock: Any, step: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        seen.append((step, set(tensors)))
        stock._interrupt = step == 1
        return {"latents": torch.zeros_like(tensors["latents"])}

    latents = pipe(
        "a cat",
        [LEFT],
        num_inference_steps=4,
        callback_on_step_end=on_step_end,
        callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"],
        output_type="latent",
    ).images
    assert seen == [
        (0, {"latents", "prompt_embeds"}),
        (1, {"latents", "prompt_embeds"}),
    ]
    assert not latents.any()


def test_guidance_that_a_callback_switches_off_is_refused_with_regions(
    pipe: RegionalPipeline,
) -> None:
    processors = dict(pipe.base.unet.attn_processors)
    with pytest.raises(LayoutError, match="switched guidance"):
        pipe("a cat", [LEFT], callback_on_step_end=CUTOFF, **SHORT)
    assert pipe.base.unet.attn_processors == processors


def test_files_of_concepts_and_releases_are_loaded(
    tiny: str, tmp_path: Path, pipe: RegionalPipeline
) -> None:
    concept = random_concept(pipe.base.inventory)
    file, release = tmp_path / "rex.safetensors", tmp_path / "release.safetensors"
    file.write_bytes(concept.to_bytes())
    release.write_bytes(as_fused(concept, site="north").to_bytes())
    given: dict[str, Any] = {"regions": ["0,0,0.5,1: <rex>"], **SHORT}
    one = RegionalPipeline.from_pretrained(tiny, concepts=[file])
    other = RegionalPipeline.from_pretrained(tiny, release=str(release))
    drawn = [p("a cat", generator=seeded(), **given).images for p in (one, other)]
    assert same(*drawn)
    with pytest.raises(PromptError, match="rex"):
        pipe("a cat", **given)
    with pytest.raises(LayoutError, match="one of them"):
        RegionalPipeline.from_pretrained(tiny, concepts=[file], release=release)


def test_a_model_for_another_base_is_refused(folders: Any, tiny: str) -> None:
    foreign = as_fused(random_concept(load_base(folders("sd1")).inventory))
    with pytest.raises(BaseMismatchError):
        RegionalPipeline(load_base(tiny), foreign)


def test_what_it_does_not_take_is_refused_by_name(pipe: RegionalPipeline) -> None:
    wrong: dict[str, Any] = {"clip_skip": 1}
    with pytest.raises(TypeError, match="'clip_skip'"):
        pipe("a cat", **wrong)
    with pytest.raises(LayoutError, match="2 prompts, 1 negative prompts"):
        pipe(["a cat", "a dog"], negative_prompt=["a car"])
    with pytest.raises(LayoutError, match="multiples of"):
        pipe("a cat", height=20)
