"""The world: the same picture for the same seed, and what is true of every picture."""

import random
from dataclasses import replace

import numpy as np
import pytest

from mos_zoo.training.dataset import draw_scene, draw_twin
from mos_zoo.world.world import (
    BACKGROUNDS,
    CLASSES,
    COLORS,
    Instance,
    caption,
    random_instance,
    render,
)

SIZES = [(64, 64), (128, 64)]


@pytest.mark.parametrize("size", SIZES)
def test_one_seed_draws_one_picture(size: tuple[int, int]) -> None:
    for seed in range(6):
        first, second = draw_scene(seed, size), draw_scene(seed, size)
        assert np.array_equal(first.pixels, second.pixels)
        assert np.array_equal(first.subject, second.subject)
        assert first.captions == second.captions
        assert first.instances == second.instances


def test_other_seeds_draw_other_pictures() -> None:
    pictures = {draw_scene(seed, (64, 64)).pixels.tobytes() for seed in range(12)}
    assert len(pictures) == 12


def test_twins_share_their_individual_and_nothing_else() -> None:
    first, second = draw_twin(10, (64, 64)), draw_twin(11, (64, 64))
    assert first.instances == second.instances
    assert not np.array_equal(first.pixels, second.pixels)
    assert draw_twin(12, (64, 64)).instances != first.instances


@pytest.mark.parametrize("kind", CLASSES)
def test_masks_cover_subjects_and_nothing_else(kind: str) -> None:
    """The background is the same without the subject, but for the shadow."""
    instance = Instance(kind, body=COLORS["purple"], mark="star")
    for background in BACKGROUNDS:
        drawn = render([instance], background, random.Random(3))
        empty = render([], background, random.Random(3))
        changed = (np.asarray(drawn.image) != np.asarray(empty.image)).any(-1)
        (mask,) = drawn.masks
        # Under 5% of a mask may be half covered by the edge of its last pixels.
        assert (changed & mask).sum() > 0.95 * mask.sum()
        of_body = np.abs(np.asarray(drawn.image).astype(int) - instance.body).max(-1)
        assert not ((of_body <= 3) & ~mask).any()


def test_every_subject_of_a_picture_has_its_mask_from_left_to_right() -> None:
    rng = random.Random(5)
    instances = [random_instance(rng) for _ in range(3)]
    masks = render(instances, "snow", rng, (192, 64)).masks
    middles = [float(np.flatnonzero(mask.any(0)).mean()) for mask in masks]
    assert len(masks) == 3
    assert middles == sorted(middles)


def test_captions_never_name_marks_or_free_colours() -> None:
    rng = random.Random(11)
    instance = random_instance(rng, free=True)
    unnamed = replace(
        instance, mark="star", body_name=None, second_name=None, accessory="none"
    )
    said = {
        word
        for _ in range(400)
        for word in caption([unnamed], rng.choice(BACKGROUNDS), rng).split()
    }
    assert not said & {*COLORS, "star", "part", "half", "mark"}
    assert instance.kind in said


def test_captions_name_only_what_is_there() -> None:
    rng = random.Random(12)
    for _ in range(200):
        instance = random_instance(rng)
        words = set(caption([instance], "beach", rng).replace(",", "").split())
        named = {instance.body_name, instance.second_name, instance.accessory_name}
        assert words & set(COLORS) <= named
        assert words & set(CLASSES) == {instance.kind}
        if instance.pattern == "plain":
            assert not words & {"striped", "spotted", "stripes", "spots"}
