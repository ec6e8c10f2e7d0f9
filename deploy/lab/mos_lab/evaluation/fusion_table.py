"""The paper's table: identity kept by number of concepts and way of fusing."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any, Final

from PIL import Image

from mos_lab.evaluation.cache import ResultCache
from mos_lab.evaluation.measuring import (
    OnPicture,
    Sampled,
    alignments,
    class_pictures,
    drift_by_class,
)
from mos_lab.evaluation.methods import Method, alone, recorded
from mos_lab.evaluation.subjects import Reference, Subject
from mos_model.bases.base import Base
from mos_model.metrics import Metrics
from mos_server.fusion import FusionSettings

PAPER: Final[Mapping[str, tuple[float, float]]] = {
    "ED-LoRA, gradient fusion": (0.843, 0.818),
    "ED-LoRA, weight average": (0.843, 0.749),
    "LoRA, weight average": (0.816, 0.701),
}
"""Image alignment of single and of fused concepts, as arXiv:2305.18292 reports it."""

OnPictures = Callable[[str, Mapping[str, Sequence[Image.Image]]], None]
"""Handed a cell's name and every concept's pictures."""


@dataclass(frozen=True)
class FusionRow:
    """One way of fusing some number of concepts, over all of them."""

    method: str
    concepts: int
    image: float
    """Mean image alignment of the concepts in the fused model."""

    single: float
    """The same of each concept alone, before fusion."""

    text: float
    """Mean text alignment in the fused model."""

    drift: float
    """How far ordinary pictures of the concepts' classes moved, see `drift`."""

    seconds: float
    """Wall time of the fusion itself."""

    images: Mapping[str, float] = field(default_factory=dict)
    """Image alignment in the fused model, by concept."""

    drifts: Mapping[str, float] = field(default_factory=dict)
    """Drift by class word."""

    @property
    def kept(self) -> float:
        """Image alignment as a share of the single concepts'."""
        return self.image / self.single


@dataclass(frozen=True)
class Bench:
    """What every measurement needs."""

    base: Base
    metrics: Metrics
    plan: Sampled
    cache: ResultCache
    on_picture: OnPicture
    on_pictures: OnPictures
    ordinary: dict[tuple[str, ...], list[Image.Image]] = field(default_factory=dict)
    """The base's own pictures by class words, drawn once."""

    def base_pictures(self, words: Sequence[str]) -> list[Image.Image]:
        """What the base draws of some classes."""
        key = tuple(words)
        if key not in self.ordinary:
            drawn = class_pictures(self.base, None, words, self.plan, self.on_picture)
            self.ordinary[key] = drawn
        return self.ordinary[key]


def single_alignments(
    bench: Bench,
    subjects: Sequence[Subject],
    references: Sequence[Reference],
    *,
    kind: str = "",
) -> dict[str, dict[str, float]]:
    """Every concept alone: image and text alignment.

    `kind` tells pictures of concepts of one name apart, as `plain-`.
    """
    found = {}
    for subject, known in zip(subjects, references, strict=True):

        def find(
            subject: Subject = subject, known: Reference = known
        ) -> dict[str, float]:
            own, shown = alignments(
                bench.base,
                alone(subject),
                [subject],
                [known],
                bench.metrics,
                bench.plan,
                bench.on_picture,
            )
            bench.on_pictures(f"{kind}single-{subject.name}", shown)
            return asdict(own[subject.name])

        found[subject.name] = bench.cache.get(
            f"{kind}single-{subject.name}", [subject.digest], find
        )
    return found


def fusion_row(
    bench: Bench,
    label: str,
    method: Method,
    subjects: Sequence[Subject],
    references: Sequence[Reference],
    single: Mapping[str, Mapping[str, float]],
    settings: FusionSettings | None,
) -> FusionRow:
    """One row: fuse the subjects, draw every one of them, and ordinary things.

    `label` names the row, its finding and its pictures; `settings` are what the method
    captures and solves with, None where it does neither.
    """

    def find() -> dict[str, Any]:
        begun = time.monotonic()
        model = method(bench.base, subjects)
        seconds = time.monotonic() - begun
        own, shown = alignments(
            bench.base,
            model,
            subjects,
            references,
            bench.metrics,
            bench.plan,
            bench.on_picture,
        )
        bench.on_pictures(name, shown)
        words = sorted({subject.class_word for subject in subjects})
        moved = drift_by_class(
            bench.metrics,
            words,
            bench.base_pictures(words),
            class_pictures(bench.base, model, words, bench.plan, bench.on_picture),
        )
        each = {key: asdict(value) for key, value in own.items()}
        return {"each": each, "drifts": moved, "seconds": seconds}

    name = f"{label}-{len(subjects)}"
    on = [subject.digest for subject in subjects] + recorded(settings)
    values = bench.cache.get(name, [*on, "drift by class"], find)
    each = [values["each"][subject.name] for subject in subjects]
    return FusionRow(
        label,
        len(subjects),
        image=fmean(one["image"] for one in each),
        single=fmean(single[subject.name]["image"] for subject in subjects),
        text=fmean(one["text"] for one in each),
        drift=fmean(values["drifts"].values()),
        seconds=values["seconds"],
        images={
            subject.name: values["each"][subject.name]["image"] for subject in subjects
        },
        drifts=values["drifts"],
    )
