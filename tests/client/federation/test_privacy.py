"""The memorisation check tells copies of training pictures from new pictures."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from mos_client.pictures import Picture
from mos_client.tuning.checks.memorisation import (
    SAMPLES,
    compared,
    memorisation,
    metrics_for,
)
from mos_model.bases.base import load_base
from mos_model.concepts.applying import as_fused
from mos_model.errors import MetricsError
from mos_model.metrics import Metrics, load_metrics
from mos_model.sampling import Layout, sampling
from mos_zoo.world.demo import DEMO_INSTANCES
from mos_zoo.world.world import BACKGROUNDS, render
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    return load_metrics()


def rendered(name: str, seed: str, count: int = 6) -> list[Image.Image]:
    """One individual before the same backgrounds, elsewhere and otherwise each time."""
    rng = random.Random(f"privacy/{seed}/{name}")
    return [
        render([DEMO_INSTANCES[name]], BACKGROUNDS[i], rng, (64, 64)).image
        for i in range(count)
    ]


def as_pictures(images: Sequence[Image.Image]) -> list[Picture]:
    return [
        Picture(Path(f"rex-{i}.png"), im, None, None) for i, im in enumerate(images)
    ]


@pytest.mark.parametrize("name", sorted(DEMO_INSTANCES))
@pytest.mark.parametrize("judged", [True, False])
def test_new_pictures_of_the_same_subject_and_places_are_no_repetition(
    metrics: Metrics, name: str, judged: bool
) -> None:
    trained = as_pictures(rendered(name, "train"))
    judge = metrics if judged else None
    found = compared(rendered(name, "new"), trained, metrics=judge)
    assert not found.repeats
    assert "no sample repeats" in found.sentence()


def smudged(image: Image.Image) -> Image.Image:
    """What a copy looks like after a VAE: soft, a little off in colour, mirrored."""
    soft = image.filter(ImageFilter.GaussianBlur(1))
    return ImageOps.mirror(ImageEnhance.Color(soft).enhance(0.9))


@pytest.mark.parametrize("name", sorted(DEMO_INSTANCES))
@pytest.mark.parametrize("judged", [True, False])
def test_one_smudged_copy_among_the_samples_is_found_and_named(
    metrics: Metrics, name: str, judged: bool
) -> None:
    images = rendered(name, "train")
    samples = [*rendered(name, "new", 5), smudged(images[3])]
    judge = metrics if judged else None
    found = compared(samples, as_pictures(images), metrics=judge)
    assert found.repeats
    assert found.picture == "rex-3.png"
    assert "a sample repeats rex-3.png" in found.sentence()
    assert "fewer steps or more pictures" in found.sentence()


def test_pictures_of_other_content_in_the_same_colours_are_no_repetition(
    metrics: Metrics,
) -> None:
    images = rendered("rex", "train")
    hollow = images[2].resize((3, 3)).resize((64, 64))
    found = compared([hollow], as_pictures(images), metrics=metrics)
    assert found.cosine is not None
    assert found.own_cosine is not None
    assert found.cosine < found.own_cosine
    assert not found.repeats


@pytest.mark.parametrize("count", [1, 3])
def test_one_picture_or_its_copies_leave_nothing_to_compare_with(count: int) -> None:
    image = rendered("rex", "train")[0]
    found = compared([image], as_pictures([image] * count))
    assert found.ratio is None
    assert not found.repeats
    assert "nothing to compare with" in found.sentence()


def test_base_without_a_metrics_model_is_judged_by_pixels_and_says_so(
    tmp_path: Path,
) -> None:
    base = load_base(str(save_tiny_sd(tmp_path / "base")))
    assert metrics_for(base, None) is None
    concept = random_concept(base.inventory, strength=0.5)
    found = memorisation(concept, as_pictures(rendered("rex", "train")), base=base)
    assert found.cosine is None
    assert "by pixels alone" in found.sentence()
    # The samples of the check taken for the training pictures: each is repeated.
    with sampling(base, as_fused(concept)) as sampler:
        drawn = sampler.sample(Layout("a photo of <rex>", 16, 16), seeds=range(SAMPLES))
    again = memorisation(concept, as_pictures(drawn), base=base)
    assert again.repeats


def test_metrics_that_are_no_model_are_refused(tmp_path: Path) -> None:
    base = load_base(str(save_tiny_sd(tmp_path / "base")))
    with pytest.raises(MetricsError, match="no CLIPModel directory"):
        metrics_for(base, str(tmp_path))
