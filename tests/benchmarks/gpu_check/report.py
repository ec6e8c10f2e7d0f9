"""Rows of figures: printed as they come, one table at the end, JSON after each."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.gpu_check.machine import Machine


@dataclass(frozen=True)
class Row:
    """One measurement, or why there is none."""

    section: str
    case: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    goal: str = ""
    """What is aimed at, where something is."""

    met: bool | None = None
    """Whether the goal was; None without one, or where it cannot be told."""

    skipped: str = ""
    """Why nothing was measured."""

    failed: str = ""
    """What went wrong, in one line."""


class Report:
    """All rows so far."""

    def __init__(self, machine: Machine, path: Path | None) -> None:
        """Take what is measured, and where the JSON goes."""
        self.rows: list[Row] = []
        self._machine, self._path = machine, path

    def add(self, row: Row) -> None:
        """Keep a row, print it and rewrite the file."""
        self.rows.append(row)
        print("  ".join(_cells(row)), flush=True)
        self.write()

    def write(self, **facts: Any) -> None:
        """Rewrite the JSON file, whole."""
        if self._path is None:
            return
        told = {
            "device": self._machine.name,
            "smoke": self._machine.smoke,
            "versions": _versions(),
            **facts,
            "rows": [asdict(row) for row in self.rows],
        }
        new = self._path.with_name(f"{self._path.name}.new")
        new.write_text(json.dumps(told, indent=1) + "\n")
        new.replace(self._path)

    def table(self) -> str:
        """Every row, in columns."""
        heading = ("section", "case", "figures", "goal")
        lines = [heading, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(heading))]
        widths[-1] = 0
        rule = tuple("-" * len(word) for word in heading)
        return "\n".join(_padded(line, widths) for line in (heading, rule, *lines[1:]))


def _cells(row: Row) -> tuple[str, str, str, str]:
    figures = " ".join(f"{name}={value}" for name, value in row.figures.items())
    if row.skipped:
        figures = f"skipped: {row.skipped}"
    if row.failed:
        figures = f"FAILED: {row.failed}"
    goal = row.goal
    if row.met is not None:
        goal = f"{goal}: {'met' if row.met else 'MISSED'}"
    return row.section, row.case, figures, goal


def _padded(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(cells, widths, strict=True)
    return "  ".join(cell.ljust(width) for cell, width in pairs).rstrip()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("diffusers", "transformers", "peft", "flwr"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
