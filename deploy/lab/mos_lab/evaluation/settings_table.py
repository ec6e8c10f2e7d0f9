"""What every setting of fusion changes: one at a time, all else as the base has it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from mos_lab.errors import EvaluationError
from mos_lab.evaluation.fusion_table import Bench, FusionRow, fusion_row
from mos_lab.evaluation.methods import Method
from mos_lab.evaluation.subjects import Reference, Subject
from mos_model.bases.base import Base
from mos_model.concepts.concept import FusedModel
from mos_server.fusion import FusionSettings, fuse_concepts

CHANGES: Final[Mapping[str, Mapping[str, Any]]] = {
    "as it is": {},
    "inputs chained": {"inputs": "chained"},
    "ridge 0.00001": {"ridge": 1e-5},
    "ridge 0.0001": {"ridge": 1e-4},
    "ridge 0.001": {"ridge": 1e-3},
    "ridge 0.01": {"ridge": 0.01},
    "ridge 0.1": {"ridge": 0.1},
    "prior 0": {"prior": 0.0},
    "prior 0.3": {"prior": 0.3},
    "prior 1": {"prior": 1.0},
    "prior 4": {"prior": 4.0},
    "not balanced": {"balance": False},
    "all cells alike": {"focus": False},
    "concept's tokens alone": {"positions": "concept"},
    "one scene": {"scenes": ("",)},
}
"""By the row's name: what differs from the base's own settings."""

CONCEPTS: Final = 8
"""How many are fused, where so many are available."""


def changes_from(base: Base) -> dict[str, Mapping[str, Any]]:
    """`CHANGES` less those that ask for what `base` has anyway."""
    usual = FusionSettings.for_base(base)
    return {
        name: changed
        for name, changed in CHANGES.items()
        if not changed or replace(usual, **changed) != usual
    }


def changes_of(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Changes written as `ridge=0.001`, or `ridge=0.001&prior=1` for two at once.

    Returns:
        By their own text; what they change, before it the row without any change.

    Raises:
        EvaluationError: no setting has this name, or its value is of another type.
    """
    read: dict[str, dict[str, Any]] = {"as it is": {}}
    for text in texts:
        pairs = [part.partition("=") for part in text.split("&")]
        read[text] = {name: _value(text, name, written) for name, _, written in pairs}
    return read


def _value(text: str, name: str, written: str) -> Any:
    kinds = {
        field.name: type(field.default)
        for field in fields(FusionSettings)
        if isinstance(field.default, bool | int | float | str)
    }
    if name not in kinds:
        raise EvaluationError(
            f"--change {text!r}: the settings of fusion are {', '.join(sorted(kinds))}"
        )
    value: Any = written
    if kinds[name] is not str:
        try:
            value = json.loads(written.lower())
        except ValueError as error:
            raise EvaluationError(f"--change {text!r}: {written!r}?") from error
        if kinds[name] is float and type(value) is int:
            value = float(value)
    if type(value) is not kinds[name]:
        raise EvaluationError(
            f"--change {text!r}: {written!r} is no {kinds[name].__name__}"
        )
    return value


def settings_rows(
    bench: Bench,
    subjects: Sequence[Subject],
    references: Sequence[Reference],
    single: Mapping[str, Mapping[str, float]],
    changes: Mapping[str, Mapping[str, Any]],
) -> list[FusionRow]:
    """One row a change."""
    rows = []
    for name, changed in changes.items():
        settings = FusionSettings.for_base(bench.base, **changed)
        method = method_with(settings)
        rows.append(
            fusion_row(bench, name, method, subjects, references, single, settings)
        )
    return rows


def method_with(settings: FusionSettings) -> Method:
    """Gradient fusion with these settings."""

    def fuse(base: Base, subjects: Sequence[Subject]) -> FusedModel:
        pairs = [("", subject.concept) for subject in subjects]
        return fuse_concepts(base, pairs, settings=settings).model

    return fuse
