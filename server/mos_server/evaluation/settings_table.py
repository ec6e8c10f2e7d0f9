"""What every setting of fusion changes: one at a time, all else as the base has it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mos_server.evaluation.fusion_table import Bench, FusionRow, fusion_row
from mos_server.evaluation.methods import Method
from mos_server.evaluation.subjects import Reference, Subject
from mos_server.fusion import FusionSettings, fuse_concepts
from mos_shared.base import Base
from mos_shared.concept import FusedModel

CHANGES: Final[Mapping[str, Mapping[str, Any]]] = {
    "as it is": {},
    "inputs chained": {"inputs": "chained"},
    "ridge 0.0001": {"ridge": 1e-4},
    "ridge 0.001": {"ridge": 1e-3},
    "ridge 0.1": {"ridge": 0.1},
    "prior 0": {"prior": 0.0},
    "prior 0.1": {"prior": 0.1},
    "prior 1": {"prior": 1.0},
    "not balanced": {"balance": False},
    "all cells alike": {"focus": False},
    "concept's tokens alone": {"positions": "concept"},
    "one scene": {"scenes": ("",)},
}
"""By the row's name: what differs from the base's own settings."""

CONCEPTS: Final = 8
"""How many are fused, where so many are at hand."""


def settings_rows(
    bench: Bench,
    subjects: Sequence[Subject],
    references: Sequence[Reference],
    single: Mapping[str, Mapping[str, float]],
) -> list[FusionRow]:
    """One row a change."""
    return [
        fusion_row(bench, name, _method(changes), subjects, references, single)
        for name, changes in CHANGES.items()
    ]


def _method(changes: Mapping[str, Any]) -> Method:
    def fuse(base: Base, subjects: Sequence[Subject]) -> FusedModel:
        settings = FusionSettings.for_base(base, **changes)
        pairs = [("", subject.concept) for subject in subjects]
        return fuse_concepts(base, pairs, settings=settings).model

    return fuse
