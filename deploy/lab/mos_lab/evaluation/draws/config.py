"""What an evaluation over draws finds."""

from dataclasses import dataclass
from typing import Final

from mos_lab.errors import EvaluationError
from mos_lab.evaluation.config import DEFAULT_METHODS
from mos_lab.evaluation.draws.ranges import RANGES
from mos_lab.evaluation.methods import METHODS
from mos_lab.evaluation.regions_table import LAYOUTS
from mos_lab.evaluation.settings_table import changes_of
from mos_model.metrics import OWN_METRICS
from mos_zoo.world.individuals import MIXED

LEAST: Final = 3
"""Concepts of a draw: a regional picture holds three."""


@dataclass(frozen=True)
class DrawsConfig:
    """How many draws, and what is found of each."""

    range_name: str = "choose"
    draws: int = 6
    counts: tuple[int, ...] = (8, 16)
    """Numbers of concepts to fuse. Every draw holds the smallest."""

    large_draws: int = 3
    """How many of the draws hold the other numbers as well."""

    methods: tuple[str, ...] = DEFAULT_METHODS
    changes: tuple[str, ...] = ()
    """Changed settings of gradient fusion, each a further method; see
    `settings_table.changes_of`."""

    seeds: int = 2
    """Pictures of every prompt."""

    layouts: int = LAYOUTS
    """Regional pictures of three concepts."""

    plain: int = 8
    """How many concepts of a draw are tuned as plain LoRA as well."""

    steps: int | None = None
    """Sampling steps; the base's own number by default."""

    tune_steps: int | None = None
    """Optimiser steps; the base's own number by default."""

    base: str = "mini"
    metrics: str = OWN_METRICS
    device: str = "auto"
    jobs: int = 1
    """Draws at a time, each in a process of its own."""

    def __post_init__(self) -> None:
        """Refuse what cannot be found.

        Raises:
            EvaluationError: an unknown range, method or setting, or a number out of
                bounds.
        """
        if self.range_name not in RANGES:
            raise EvaluationError(
                f"range {self.range_name!r}: the ranges are {', '.join(RANGES)}"
            )
        unknown = sorted(set(self.methods) - set(METHODS))
        if unknown:
            raise EvaluationError(
                f"method {unknown[0]!r}: the methods are {', '.join(METHODS)}"
            )
        changes_of(self.changes)
        if not self.counts or not min(self.counts) >= LEAST:
            raise EvaluationError(f"a draw holds at least {LEAST} concepts")
        if max(self.counts) > len(MIXED):
            raise EvaluationError(f"a draw holds at most {len(MIXED)} concepts")
        if min(self.draws, self.jobs, self.seeds, self.layouts) < 1:
            raise EvaluationError("draws, jobs, seeds and layouts are at least 1")

    def counts_of(self, number: int) -> tuple[int, ...]:
        """Numbers of concepts that draw `number` fuses, from the smallest."""
        counts = tuple(sorted(set(self.counts)))
        return counts if number < self.large_draws else counts[:1]
