"""Every table that is asked for, finding by finding."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from mos_lab.errors import EvaluationError
from mos_lab.evaluation.config import EvaluationConfig
from mos_lab.evaluation.fusion_table import (
    Bench,
    FusionRow,
    fusion_row,
    single_alignments,
)
from mos_lab.evaluation.methods import METHODS, average, settings_of
from mos_lab.evaluation.plain_lora import plain_subjects
from mos_lab.evaluation.regions_table import (
    RegionsRow,
    pictures_of_rows,
    regions_rows,
)
from mos_lab.evaluation.settings_table import (
    CONCEPTS,
    changes_from,
    changes_of,
    settings_rows,
)
from mos_lab.evaluation.subjects import Reference, Subject, reference
from mos_lab.evaluation.tuning_table import PLAIN, TuningRow, plain_rows, tuning_rows
from mos_zoo.world.individuals import ALIKE

TOGETHER: Final = 3
"""Concepts in a regional picture."""

PLAIN_AVERAGE: Final = "average of plain LoRAs"


@dataclass(frozen=True)
class Evaluation:
    """What came of it."""

    config: EvaluationConfig
    tuning: Sequence[TuningRow] = ()
    fusion: Sequence[FusionRow] = ()
    settings: Sequence[FusionRow] = ()
    regions: Mapping[str, Sequence[RegionsRow]] = field(default_factory=dict)
    """Which concepts -> each way of prompting."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        config = asdict(self.config)
        config["subjects"] = None if self.config.subjects is None else "given"
        return {
            "config": config,
            "tuning": [asdict(r) | {"of_mutual": r.of_mutual} for r in self.tuning],
            "fusion": [asdict(r) | {"kept": r.kept} for r in self.fusion],
            "settings": [asdict(r) | {"kept": r.kept} for r in self.settings],
            "regions": {
                name: [asdict(row) for row in rows]
                for name, rows in self.regions.items()
            },
        }


class Counter:
    """Counts the pictures of what is being found."""

    def __init__(self, tell: Callable[[str, int, int], None]) -> None:
        """Count aloud: what, how many, of how many."""
        self._tell = tell
        self._what, self._done, self._total = "", 0, 1

    def start(self, what: str, total: int) -> None:
        """Something else is being found now."""
        self._what, self._done, self._total = what, 0, total
        self._tell(what, 0, total)

    def drawn(self, count: int) -> None:
        """So many more are there."""
        self._done += count
        self._tell(self._what, self._done, self._total)


class Tables:
    """Finds the tables of one evaluation; what was found before is not sought again."""

    def __init__(
        self,
        config: EvaluationConfig,
        bench: Bench,
        subjects: Sequence[Subject],
        counter: Counter,
        plain_folder: Path,
    ) -> None:
        """Take what is to be judged.

        Args:
            config: Which tables, and how many concepts.
            bench: Measures.
            subjects: All concepts.
            counter: Counts every picture.
            plain_folder: Where plain LoRAs are, or are put.
        """
        self._config, self._bench, self._counter = config, bench, counter
        self._subjects = {subject.name: subject for subject in subjects}
        given = config.subjects is not None
        self._mixed = [s for s in subjects if given or s.name not in ALIKE]
        self._references = {s.name: reference(bench.metrics, s) for s in subjects}
        self._known = self._of(self._mixed)
        self._per_concept = len(bench.plan.prompts) * len(bench.plan.seeds)
        self._plain_folder = plain_folder
        self._single: dict[str, dict[str, float]] = {}
        self._plain: list[Subject] = []
        self._plain_single: dict[str, dict[str, float]] = {}

    def find(self) -> Evaluation:
        """All of it.

        Raises:
            EvaluationError: too few concepts, or a plain LoRA could not be tuned.
        """
        wanted = set(self._config.tables)
        if wanted - {"regions"}:
            count = self._per_concept * len(self._mixed)
            self._counter.start("each concept alone", count)
            self._single = single_alignments(self._bench, self._mixed, self._known)
        if wanted & {"tuning", "fusion"}:
            self._find_plain()
        return Evaluation(
            self._config,
            self._tuning() if "tuning" in wanted else (),
            self._fusion() if "fusion" in wanted else (),
            self._settings() if "settings" in wanted else (),
            self._regions() if "regions" in wanted else {},
        )

    def _of(self, subjects: Sequence[Subject]) -> list[Reference]:
        return [self._references[subject.name] for subject in subjects]

    def _find_plain(self) -> None:
        compared = self._mixed[: self._config.plain]
        self._counter.start("plain LoRAs tuned", len(compared))
        self._plain = plain_subjects(
            compared,
            self._plain_folder,
            base=self._config.base,
            steps=self._config.tune_steps,
            device=self._config.device,
            on_tuned=lambda: self._counter.drawn(1),
        )
        count = self._per_concept * len(self._plain)
        self._counter.start("each plain LoRA alone", count)
        self._plain_single = single_alignments(
            self._bench, self._plain, self._of(self._plain), kind=PLAIN
        )

    def _tuning(self) -> list[TuningRow]:
        count = self._per_concept * (len(self._mixed) + len(self._plain))
        self._counter.start("words alone", count)
        known = self._of(self._plain)
        plain = plain_rows(self._bench, self._plain, known, self._plain_single)
        return tuning_rows(self._bench, self._mixed, self._known, self._single, plain)

    def _fusion(self) -> list[FusionRow]:
        rows = []
        for count in self._config.counts:
            subjects, known = self._mixed[:count], self._known[:count]
            if count > len(self._mixed):
                raise EvaluationError(
                    f"{count} concepts asked for, {len(self._mixed)} available; pass a "
                    "smaller --counts"
                )
            for name in self._config.methods:
                self._start_row(f"{count} fused: {name}", subjects)
                rows.append(
                    fusion_row(
                        self._bench,
                        name,
                        METHODS[name],
                        subjects,
                        known,
                        self._single,
                        settings_of(name, self._bench.base),
                    )
                )
            if "average" in self._config.methods and count <= len(self._plain):
                self._start_row(f"{count} fused: {PLAIN_AVERAGE}", subjects)
                plain = self._plain[:count]
                single = self._plain_single
                rows.append(
                    fusion_row(
                        self._bench, PLAIN_AVERAGE, average, plain, known, single, None
                    )
                )
        return rows

    def _settings(self) -> list[FusionRow]:
        subjects, known = self._mixed[:CONCEPTS], self._known[:CONCEPTS]
        given = self._config.changes
        changes = changes_of(given) if given else changes_from(self._bench.base)
        self._start_row("settings of fusion", subjects, rows=len(changes))
        return settings_rows(self._bench, subjects, known, self._single, changes)

    def _start_row(
        self, what: str, subjects: Sequence[Subject], *, rows: int = 1
    ) -> None:
        words = sorted({subject.class_word for subject in subjects})
        sets = rows * (len(subjects) + len(words))
        if tuple(words) not in self._bench.ordinary:
            sets += len(words)
        self._counter.start(what, self._per_concept * sets)

    def _regions(self) -> dict[str, Sequence[RegionsRow]]:
        found: dict[str, Sequence[RegionsRow]] = {}
        for title, group in self._groups().items():
            total = pictures_of_rows(self._bench.base, group)
            self._counter.start(f"regions: {title}", total)
            found[title] = regions_rows(self._bench, group, self._of(group))
        return found

    def _groups(self) -> dict[str, list[Subject]]:
        if len(self._mixed) < TOGETHER:
            raise EvaluationError(
                f"a regional picture holds {TOGETHER} concepts, {len(self._mixed)} at "
                "hand"
            )
        groups = {"different classes": list(self._mixed[:TOGETHER])}
        if self._config.subjects is None:
            groups["one class"] = [self._subjects[name] for name in ALIKE]
        return groups
