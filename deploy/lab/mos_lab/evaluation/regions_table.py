"""Regional pictures judged region by region: whose picture is it?

Three concepts stand side by side, in every order, in many places and seeds. Each
region's crop is compared with every concept's training pictures; it is right where its
own concept is nearest. Beside it the same picture by one prompt that names all three,
without regions: there a crop is right where its concept was named in that place. Both
once more under each control that there is for the base (see `regions_controls`).
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import Any, Final, Unpack

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mos_lab.evaluation.fusion_table import Bench
from mos_lab.evaluation.methods import gradient, recorded, settings_of
from mos_lab.evaluation.regions_controls import (
    STEERINGS,
    Steering,
    steered,
    steerings_for,
)
from mos_lab.evaluation.subjects import Reference, Subject
from mos_model.bases.base import Base
from mos_model.concepts.concept import FusedModel
from mos_model.metrics import Features
from mos_model.mini import zoo_path
from mos_model.sampling import Layout, Region, Sampler, region_crop, sampling
from mos_model.sampling.settings import Given

PLACES: Final = (
    *("on the beach", "in the snow", "in the forest", "in the city"),
    *("in the desert", "in a room", "at night", "in the ocean"),
)
WAYS: Final = ("regions", "one prompt")
LAYOUTS: Final = 60
_AT_ONCE: Final = 6
_AT_ONCE_ON_GPU: Final = 60

Ordered = tuple[Layout, tuple[int, ...]]
"""A layout, and which subjects it shows from left to right."""


@dataclass(frozen=True)
class RegionsRow:
    """One way of prompting, over all layouts."""

    way: str
    """One of `WAYS`, and " + " with a control's name under one."""

    layouts: int
    right: float
    """The share of regions whose own concept is nearest, 0 to 1."""

    whole: float
    """The share of pictures with every region right."""

    @property
    def is_steered(self) -> bool:
        """Whether a control shows where the subjects stand."""
        return self.way not in WAYS


@dataclass(frozen=True)
class Verdict:
    """On one region's crop."""

    right: bool
    """Whether its own concept is nearest."""

    alignment: float
    """Mean cosine with its own concept's pictures."""


def regions_rows(
    bench: Bench, subjects: Sequence[Subject], references: Sequence[Reference]
) -> list[RegionsRow]:
    """With regions and by one prompt alone, without controls and with each."""

    @cache
    def model() -> FusedModel:
        return gradient(bench.base, subjects)

    names = "+".join(subject.name for subject in subjects)
    digests = [subject.digest for subject in subjects]

    settings = settings_of("gradient", bench.base)

    def found(cell: str, on: Sequence[str], steering: Steering | None) -> Any:
        return bench.cache.get(
            cell,
            [*on, *recorded(settings)],
            lambda: _find(bench, model(), subjects, references, steering),
        )

    values = found(f"regions-{names}", digests, None)
    rows = [RegionsRow(way, LAYOUTS, **values[way]) for way in WAYS]
    for name in steerings_for(bench.base, subjects):
        steering = STEERINGS[name]
        cell = f"regions-{steering.model}-{steering.weight:g}-{names}"
        values = found(cell, [*digests, _digest(steering)], steering)
        rows += [RegionsRow(f"{way} + {name}", LAYOUTS, **values[way]) for way in WAYS]
    return rows


def pictures_of_rows(base: Base, subjects: Sequence[Subject]) -> int:
    """How many pictures `regions_rows` draws where nothing is found yet."""
    return (1 + len(steerings_for(base, subjects))) * len(WAYS) * LAYOUTS


def layouts_of(
    subjects: Sequence[Subject],
    way: str,
    side: int,
    count: int = LAYOUTS,
    *,
    steering: Steering | None = None,
) -> list[Ordered]:
    """Layouts with the order of the subjects in each, from left to right.

    Args:
        subjects: At least two.
        way: One of `WAYS`.
        side: Pixels of a region, across and down.
        count: How many layouts.
        steering: The control that each of them has.
    """
    orders = list(permutations(range(len(subjects))))
    rng = random.Random("regions")
    rng.shuffle(orders)
    made = []
    for number in range(count):
        order = orders[number % len(orders)]
        place = PLACES[number // len(orders) % len(PLACES)]
        own = [subjects[k] for k in order]
        layout = _layout(own, way, place, side)
        if steering is not None:
            words = [subject.class_word for subject in own]
            layout = steered(layout, steering, words, number)
        made.append((layout, order))
    return made


def nearest(crop: Features, references: Sequence[Reference]) -> list[int]:
    """For each crop, the reference whose pictures it is nearest to, by mean cosine."""
    return [int(k) for k in alignments_with(crop, references).argmax(0)]


def alignments_with(
    crops: Features, references: Sequence[Reference]
) -> Float[Tensor, "references crops"]:
    """Mean cosine of every crop with every reference's pictures."""
    return torch.stack([(crops @ r.features.T).mean(1) for r in references])


def draw_layouts(
    bench: Bench, sampler: Sampler, made: Sequence[Ordered], **settings: Unpack[Given]
) -> list[Image.Image]:
    """A picture of each layout, seeded by its number."""
    if bench.plan.steps is not None:
        settings = {"steps": bench.plan.steps, **settings}
    pictures: list[Image.Image] = []
    on_cpu = bench.base.device.type == "cpu"
    for batch in sampler.in_batches(
        [layout for layout, _ in made],
        seeds=range(len(made)),
        batch_size=_AT_ONCE if on_cpu else _AT_ONCE_ON_GPU,
        **settings,
    ):
        pictures += batch
        bench.on_picture(len(batch))
    return pictures


def verdicts_on(
    bench: Bench,
    pictures: Sequence[Image.Image],
    made: Sequence[Ordered],
    references: Sequence[Reference],
) -> list[list[Verdict]]:
    """On every region of every picture, from left to right."""
    found = []
    for picture, (_, order) in zip(pictures, made, strict=True):
        crops = [region_crop(picture, Region("", b)) for b in _boxes(len(order))]
        cosines = alignments_with(bench.metrics.of_images(crops), references)
        found.append(
            [
                Verdict(int(row.argmax()) == wanted, float(row[wanted]))
                for row, wanted in zip(cosines.T, order, strict=True)
            ]
        )
    return found


def shares_right(verdicts: Sequence[Sequence[Verdict]]) -> dict[str, float]:
    """The shares that a `RegionsRow` holds."""
    regions = [verdict.right for picture in verdicts for verdict in picture]
    whole = [all(verdict.right for verdict in picture) for picture in verdicts]
    return {"right": sum(regions) / len(regions), "whole": sum(whole) / len(whole)}


def _find(
    bench: Bench,
    model: FusedModel,
    subjects: Sequence[Subject],
    references: Sequence[Reference],
    steering: Steering | None,
) -> dict[str, Mapping[str, float]]:
    found: dict[str, Mapping[str, float]] = {}
    for way in WAYS:
        made = layouts_of(subjects, way, bench.plan.side, LAYOUTS, steering=steering)
        with sampling(bench.base, model) as sampler:
            pictures = draw_layouts(bench, sampler, made)
        under = "" if steering is None else f"+{steering.model}"
        names = "+".join(subject.name for subject in subjects)
        bench.on_pictures(f"{way}{under}-{names}", _rows(pictures, made))
        found[way] = shares_right(verdicts_on(bench, pictures, made, references))
    return found


def _rows(
    pictures: Sequence[Image.Image], made: Sequence[Ordered]
) -> dict[str, list[Image.Image]]:
    """Pictures in rows, each row below the controls that steered it."""
    rows: dict[str, list[Image.Image]] = {}
    for first in range(0, len(pictures), _AT_ONCE):
        batch = slice(first, first + _AT_ONCE)
        steers = [c.image for layout, _ in made[batch] for c in layout.controls]
        if steers:
            rows[f"controls {first}"] = [image.convert("RGB") for image in steers]
        rows[f"pictures {first}"] = list(pictures[batch])
    return rows


def _digest(steering: Steering) -> str:
    """SHA-256 of the weights of what steers."""
    folder = zoo_path(steering.model)
    content = (folder / "diffusion_pytorch_model.safetensors").read_bytes()
    return hashlib.sha256(content).hexdigest()


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
