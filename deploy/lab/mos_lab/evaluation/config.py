"""What an evaluation is asked to find."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mos_lab.errors import EvaluationError
from mos_lab.evaluation.methods import METHODS
from mos_lab.evaluation.settings_table import changes_of
from mos_model.metrics import OWN_METRICS

TABLES: Final = ("tuning", "fusion", "settings", "regions")
DEFAULT_TABLES: Final = ("tuning", "fusion", "regions")
COUNTS: Final = (1, 2, 4, 8, 16)
DEFAULT_METHODS: Final = ("gradient", "published", "average", "sum")


@dataclass(frozen=True)
class EvaluationConfig:
    """What an evaluation is to find."""

    base: str = "mini"
    metrics: str = OWN_METRICS
    subjects: Path | None = None
    """A folder as `subjects.read_subjects` takes it; made on the mini world where
    None."""

    tables: tuple[str, ...] = DEFAULT_TABLES
    counts: tuple[int, ...] = COUNTS
    methods: tuple[str, ...] = DEFAULT_METHODS
    seeds: int = 2
    """Pictures of every prompt."""

    steps: int | None = None
    """Sampling steps; the base's own number by default."""

    tune_steps: int | None = None
    """Optimiser steps of everything that is tuned."""

    device: str = "auto"
    """Where pictures are drawn and inputs captured, see `mos_model.devices`."""

    changes: tuple[str, ...] = ()
    """Changes of the table `settings`, see `settings_table.changes_of`; its own by
    default."""

    plain: int = 8
    """How many concepts are tuned as plain LoRA as well, to compare with."""

    def __post_init__(self) -> None:
        """Refuse what cannot be found.

        Raises:
            EvaluationError: an unknown table, method or setting, or a number below 1.
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
        changes_of(self.changes)
        if self.plain < 0:
            raise EvaluationError(f"{self.plain} plain LoRAs: 0 or more")
