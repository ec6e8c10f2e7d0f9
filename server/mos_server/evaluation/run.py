"""An evaluation from its subjects to its tables.

In order: the subjects are read, or made: a federation is simulated on individuals of
the mini world, each site tuning one. Then every table that is asked for, finding by
finding; what an earlier run found is not sought again. The tables are written last.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from mos_server.errors import EvaluationError
from mos_server.evaluation.cells import Cells
from mos_server.evaluation.fusion_table import (
    Bench,
    FusionRow,
    fusion_row,
    single_alignments,
)
from mos_server.evaluation.measuring import Sampled
from mos_server.evaluation.methods import METHODS
from mos_server.evaluation.regions_table import (
    RegionsRow,
    pictures_of_rows,
    regions_rows,
)
from mos_server.evaluation.subjects import (
    Reference,
    Subject,
    read_subjects,
    reference,
)
from mos_server.evaluation.tuning_table import TuningRow, tuning_rows
from mos_server.fusion import FusionSettings
from mos_server.simulation import OnProgress, simulate
from mos_shared.base import Base, load_base
from mos_shared.metrics import OWN_METRICS, load_metrics
from mos_shared.zoo.individuals import ALIKE, MIXED, write_individuals

TABLES: Final = ("tuning", "fusion", "regions")
COUNTS: Final = (1, 2, 4, 8, 16)
DEFAULT_METHODS: Final = ("gradient", "published", "average", "sum")

_SUBJECTS: Final = "subjects"
_TOGETHER: Final = 3
"""Concepts in a regional picture."""


@dataclass(frozen=True)
class Asked:
    """What an evaluation is to find."""

    base: str = "mini"
    metrics: str = OWN_METRICS
    subjects: Path | None = None
    """A folder as `subjects.read_subjects` takes it; made on the mini world where
    None."""

    tables: tuple[str, ...] = TABLES
    counts: tuple[int, ...] = COUNTS
    methods: tuple[str, ...] = DEFAULT_METHODS
    seeds: int = 2
    """Pictures of every prompt."""

    steps: int | None = None
    """Sampling steps; the base's own number by default."""

    tune_steps: int | None = None
    """Optimiser steps of every site that is simulated."""

    def __post_init__(self) -> None:
        """Refuse what cannot be found.

        Raises:
            EvaluationError: an unknown table or method, or a number below 1.
        """
        for given, known, what in (
            (self.tables, TABLES, "table"),
            (self.methods, tuple(METHODS), "method"),
        ):
            odd = sorted(set(given) - set(known))
            if odd or not given:
                raise EvaluationError(
                    f"{what} {(odd or ['none'])[0]!r}: the {what}s are "
                    f"{', '.join(known)}"
                )
        if self.seeds < 1 or not self.counts or min(self.counts) < 1:
            raise EvaluationError("seeds and numbers of concepts are at least 1")


@dataclass(frozen=True)
class Evaluation:
    """What came of it."""

    asked: Asked
    tuning: Sequence[TuningRow] = ()
    fusion: Sequence[FusionRow] = ()
    regions: Mapping[str, Sequence[RegionsRow]] = field(default_factory=dict)
    """Which concepts -> each way of prompting."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        asked = asdict(self.asked)
        asked["subjects"] = None if self.asked.subjects is None else "given"
        return {
            "asked": asked,
            "tuning": [asdict(r) | {"of_mutual": r.of_mutual} for r in self.tuning],
            "fusion": [asdict(r) | {"kept": r.kept} for r in self.fusion],
            "regions": {
                name: [asdict(row) for row in rows]
                for name, rows in self.regions.items()
            },
        }


def evaluate(
    asked: Asked,
    out: Path,
    *,
    on_progress: OnProgress = lambda _: None,
    on_table: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> Evaluation:
    """Find everything that is asked, or go on where an earlier run stopped.

    Args:
        asked: What to find.
        out: The folder for everything.
        on_progress: Told where a simulated federation stands.
        on_table: Told what is being found, and how many pictures are drawn of how many.

    Raises:
        EvaluationError: too few concepts for what is asked.
        MosError: the base, the metrics or the concepts cannot be used.
    """
    base = load_base(asked.base)
    metrics = load_metrics(asked.metrics)
    wanted = _wanted(asked)
    folder = asked.subjects or out / _SUBJECTS
    if asked.subjects is None:
        _make_subjects(asked, wanted, out, on_progress)
    subjects = {s.name: s for s in read_subjects(folder)}
    mixed = [s for name, s in subjects.items() if name not in ALIKE or asked.subjects]
    references = {name: reference(metrics, s) for name, s in subjects.items()}
    plan = Sampled(seeds=tuple(range(asked.seeds)), side=_side(base), steps=asked.steps)
    counter = _Counter(on_table)
    bench = Bench(
        base,
        metrics,
        plan,
        Cells(out / "found", _circumstances(asked, base, plan)),
        counter.drawn,
        lambda name, shown: _keep_grid(out / "grids" / f"{name}.png", shown),
    )
    return _tables(asked, bench, mixed, subjects, references, counter)


def _tables(
    asked: Asked,
    bench: Bench,
    mixed: Sequence[Subject],
    subjects: Mapping[str, Subject],
    references: Mapping[str, Reference],
    counter: "_Counter",
) -> Evaluation:
    known = [references[s.name] for s in mixed]
    per_concept = len(bench.plan.prompts) * len(bench.plan.seeds)
    tuning: Sequence[TuningRow] = ()
    fusion: list[FusionRow] = []
    regions: dict[str, Sequence[RegionsRow]] = {}
    single: dict[str, dict[str, float]] = {}
    if {"tuning", "fusion"} & set(asked.tables):
        counter.start("each concept alone", per_concept * len(mixed))
        single = single_alignments(bench, mixed, known)
    if "tuning" in asked.tables:
        counter.start("words alone", 2 * per_concept * len(mixed))
        tuning = tuning_rows(bench, mixed, known, single)
    if "fusion" in asked.tables:
        for count in asked.counts:
            if count > len(mixed):
                raise EvaluationError(
                    f"{count} concepts asked for, {len(mixed)} at hand; pass a smaller "
                    "--counts"
                )
            for method in asked.methods:
                classes = len({s.class_word for s in mixed[:count]})
                total = per_concept * (count + 2 * classes)
                counter.start(f"{count} fused: {method}", total)
                fusion.append(
                    fusion_row(bench, method, mixed[:count], known[:count], single)
                )
    if "regions" in asked.tables:
        for title, group in _groups(asked, mixed, subjects).items():
            total = pictures_of_rows(bench.base, group)
            counter.start(f"regions: {title}", total)
            pairs = [references[s.name] for s in group]
            regions[title] = regions_rows(bench, group, pairs)
    return Evaluation(asked, tuning, fusion, regions)


def _groups(
    asked: Asked, mixed: Sequence[Subject], subjects: Mapping[str, Subject]
) -> dict[str, list[Subject]]:
    if len(mixed) < _TOGETHER:
        raise EvaluationError(
            f"a regional picture holds {_TOGETHER} concepts, {len(mixed)} at hand"
        )
    groups = {"different classes": list(mixed[:_TOGETHER])}
    if asked.subjects is None:
        groups["one class"] = [subjects[name] for name in ALIKE]
    return groups


def _wanted(asked: Asked) -> list[str]:
    """Names of the mini world's individuals that the tables need."""
    most = max(asked.counts) if "fusion" in asked.tables else 0
    if "tuning" in asked.tables:
        most = max(most, 6)
    if "regions" in asked.tables:
        most = max(most, _TOGETHER)
    if most > len(MIXED):
        raise EvaluationError(
            f"{most} concepts asked for; the mini world has {len(MIXED)} individuals "
            "for evaluation; pass more with --subjects"
        )
    alike = list(ALIKE) if "regions" in asked.tables else []
    return [*MIXED[:most], *alike]


def _make_subjects(
    asked: Asked, wanted: Sequence[str], out: Path, on_progress: OnProgress
) -> None:
    """Tune what is missing, each concept by a simulated site of its own."""
    made = out / _SUBJECTS
    missing = [n for n in wanted if not (made / n / f"{n}.safetensors").is_file()]
    if not missing:
        return
    sites = {f"{name}-site": name for name in missing}
    pictures = out / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    write_individuals(pictures, sites)
    federation = out / "federation"
    outcome = simulate(
        pictures,
        federation,
        base=asked.base,
        steps=asked.tune_steps,
        on_progress=on_progress,
    )
    for site in outcome.sites:
        name = sites[site.site]
        if not site.concept_file:
            raise EvaluationError(f"site {site.site} tuned nothing: {site.reason}")
        beside = made / f".{name}.part"
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(pictures / site.site, beside)
        source = federation / site.concept_file
        shutil.copyfile(source, beside / f"{name}.safetensors")
        shutil.rmtree(made / name, ignore_errors=True)
        beside.rename(made / name)


def _circumstances(asked: Asked, base: Base, plan: Sampled) -> dict[str, Any]:
    return {
        "base": base.inventory.base,
        "sample": dict(base.defaults.get("sample", {})),
        "fusion": asdict(FusionSettings.for_base(base)),
        "metrics": asked.metrics,
        "plan": asdict(plan),
    }


def _side(base: Base) -> int:
    return int(base.unet.config.sample_size) * int(base.pipeline.vae_scale_factor)


def _keep_grid(path: Path, shown: Mapping[str, Sequence[Image.Image]]) -> None:
    """All pictures of a finding, one row a concept."""
    rows = [np.concatenate([np.asarray(p) for p in row], 1) for row in shown.values()]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part.png")
    Image.fromarray(np.concatenate(rows)).save(beside)
    beside.replace(path)


class _Counter:
    """Counts the pictures of what is being found."""

    def __init__(self, tell: Callable[[str, int, int], None]) -> None:
        self._tell = tell
        self._what, self._done, self._total = "", 0, 1

    def start(self, what: str, total: int) -> None:
        self._what, self._done, self._total = what, 0, total
        self._tell(what, 0, total)

    def drawn(self, count: int) -> None:
        self._done += count
        self._tell(self._what, self._done, self._total)
