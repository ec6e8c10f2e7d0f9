"""Regional pictures judged region by region: whose picture is it?

Three concepts stand side by side, in every order, in many places and seeds. Each
region's crop is compared with every concept's training pictures; it is right where its
own concept is nearest. Beside it the same picture by one prompt that names all three,
without regions: there a crop is right where its concept was named in that place.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Final

import torch
from PIL import Image

from mos_server.evaluation.fusion_table import Bench
from mos_server.evaluation.methods import gradient
from mos_server.evaluation.subjects import Reference, Subject
from mos_shared.metrics import Features
from mos_shared.sampling import Layout, Region, region_crop, sampling

PLACES: Final = (
    *("on the beach", "in the snow", "in the forest", "in the city"),
    *("in the desert", "in a room", "at night", "in the ocean"),
)
WAYS: Final = ("regions", "one prompt")
LAYOUTS: Final = 60
_AT_ONCE: Final = 6


@dataclass(frozen=True)
class RegionsRow:
    """One way of prompting, over all layouts."""

    way: str
    layouts: int
    right: float
    """The share of regions whose own concept is nearest, 0 to 1."""

    whole: float
    """The share of pictures with every region right."""


def regions_rows(
    bench: Bench, subjects: Sequence[Subject], references: Sequence[Reference]
) -> list[RegionsRow]:
    """With regions, and by one prompt alone."""
    name = "+".join(subject.name for subject in subjects)
    found: dict[str, Any] = bench.cells.get(
        f"regions-{name}",
        [subject.digest for subject in subjects],
        lambda: _find(bench, subjects, references),
    )
    return [RegionsRow(way, LAYOUTS, **found[way]) for way in WAYS]


def layouts_of(
    subjects: Sequence[Subject], way: str, side: int, count: int = LAYOUTS
) -> list[tuple[Layout, tuple[int, ...]]]:
    """Layouts with the order of the subjects in each, from left to right."""
    orders = list(permutations(range(len(subjects))))
    chance = random.Random("regions")
    chance.shuffle(orders)
    made = []
    for number in range(count):
        order = orders[number % len(orders)]
        place = PLACES[number // len(orders) % len(PLACES)]
        layout = _layout([subjects[k] for k in order], way, place, side)
        made.append((layout, order))
    return made


def nearest(crop: Features, references: Sequence[Reference]) -> list[int]:
    """For each crop, the reference whose pictures it is nearest to, by mean cosine."""
    cosines = torch.stack([(crop @ r.features.T).mean(1) for r in references])
    return [int(k) for k in cosines.argmax(0)]


def _find(
    bench: Bench,
    subjects: Sequence[Subject],
    references: Sequence[Reference],
) -> dict[str, Mapping[str, float]]:
    model = gradient(bench.base, subjects)
    found: dict[str, Mapping[str, float]] = {}
    for way in WAYS:
        made = layouts_of(subjects, way, bench.plan.side)
        pictures: list[Image.Image] = []
        settings: dict[str, Any] = {}
        if bench.plan.steps is not None:
            settings["steps"] = bench.plan.steps
        with sampling(bench.base, model) as sampler:
            for first in range(0, len(made), _AT_ONCE):
                batch = [layout for layout, _ in made[first : first + _AT_ONCE]]
                seeds = range(first, first + len(batch))
                pictures += sampler.sample(batch, seeds=list(seeds), **settings)
                bench.on_picture(len(batch))
        shown = {way: pictures}
        bench.on_pictures(f"{way}-{'+'.join(s.name for s in subjects)}", shown)
        found[way] = _judged(bench, pictures, [order for _, order in made], references)
    return found


def _judged(
    bench: Bench,
    pictures: Sequence[Image.Image],
    orders: Sequence[tuple[int, ...]],
    references: Sequence[Reference],
) -> dict[str, float]:
    right, whole = 0, 0
    for picture, order in zip(pictures, orders, strict=True):
        crops = [region_crop(picture, Region("", b)) for b in _boxes(len(order))]
        told = nearest(bench.metrics.of_images(crops), references)
        hits = [k == wanted for k, wanted in zip(told, order, strict=True)]
        right += sum(hits)
        whole += all(hits)
    count = len(references)
    return {"right": right / (count * len(pictures)), "whole": whole / len(pictures)}


def _layout(subjects: Sequence[Subject], way: str, place: str, side: int) -> Layout:
    width = side * len(subjects)
    if way == "one prompt":
        return Layout(_prompt([f"<{s.name}>" for s in subjects], place), width, side)
    regions = tuple(
        Region(f"<{subject.name}> {place}", box)
        for subject, box in zip(subjects, _boxes(len(subjects)), strict=True)
    )
    context = _prompt([f"a {s.class_word}" for s in subjects], place)
    return Layout(context, width, side, regions=regions)


def _prompt(subjects: Sequence[str], place: str) -> str:
    listed = ", ".join(subjects[:-1])
    return f"a photo of {listed} and {subjects[-1]} {place}"


def _boxes(count: int) -> list[tuple[float, float, float, float]]:
    return [(k / count, 0.0, (k + 1) / count, 1.0) for k in range(count)]
