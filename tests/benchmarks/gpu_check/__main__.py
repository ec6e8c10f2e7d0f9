"""What the project does on a GPU: one run, one table, one JSON file.

    python -m tests.benchmarks.gpu_check [--minutes 5] [--out FILE] [SECTION ...]

It needs one CUDA device and no network: bases of the shapes of SD 1.5 and SDXL are made
in memory with random weights. Sections run in the order below, the most wanted first,
each for so many seconds at most; what the time left does not allow is skipped, with the
reason. FILE is rewritten after every figure, so that a run which is stopped keeps what
it has. `--smoke` runs the same code on the processor with tiny shapes.

The exit status is 1 where a section failed; a missed goal is told, not failed.
"""

import argparse
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import diffusers
import torch
import transformers

from tests.benchmarks.gpu_check.bases import UNSUPPORTED
from tests.benchmarks.gpu_check.drawing import measure_regions, measure_throughput
from tests.benchmarks.gpu_check.federating import measure_federation
from tests.benchmarks.gpu_check.fusing import measure_capture, measure_fusion
from tests.benchmarks.gpu_check.machine import Budget, Machine, OutOfTimeError
from tests.benchmarks.gpu_check.numerics import measure_numerics
from tests.benchmarks.gpu_check.report import Report, Row
from tests.benchmarks.gpu_check.tuning import COMPILED, OURS, PLAIN, Way, measure_tuning


@dataclass(frozen=True)
class Section:
    """One part of the run."""

    name: str
    measure: Callable[[Machine, Callable[[Row], None]], None]
    least: float
    """Seconds that must be left for it to begin."""

    most: float
    """Seconds after which it is stopped."""


def _tuning(family: str, batch: int, ways: Sequence[Way]) -> Callable[..., None]:
    return partial(measure_tuning, family=family, batch=batch, ways=ways)


SECTIONS: Final = (
    Section("tuning-sd15", _tuning("sd15", 2, PLAIN), 10, 60),
    Section("regions", measure_regions, 10, 60),
    Section("fusion", measure_fusion, 40, 170),
    Section("throughput", measure_throughput, 10, 40),
    Section("numerics-sd15", partial(measure_numerics, family="sd15"), 5, 20),
    Section("tuning-sdxl", _tuning("sdxl", 1, OURS), 15, 60),
    Section("numerics-sdxl", partial(measure_numerics, family="sdxl"), 10, 30),
    Section("capture", measure_capture, 15, 45),
    Section("compiled-sd15", _tuning("sd15", 2, COMPILED), 45, 120),
    Section("federation", measure_federation, 40, 100),
)


def main(words: list[str] | None = None) -> int:
    """Measure, print, write; the exit status."""
    names = [section.name for section in SECTIONS]
    parser = argparse.ArgumentParser(description="What the project does on a GPU.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(names))
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--out", type=Path, help="the JSON file")
    parser.add_argument("--smoke", action="store_true", help="tiny shapes, on the CPU")
    options = parser.parse_args(words)
    if unknown := sorted(set(options.sections) - set(names)):
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(names)}")
    if not options.smoke and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device; --smoke runs on the processor")
    device = torch.device("cpu") if options.smoke else torch.device("cuda", 0)
    machine = Machine(device, options.smoke)
    report = Report(machine, options.out)
    budget = Budget(60 * options.minutes)
    _silence()
    for section in SECTIONS:
        if not options.sections or section.name in options.sections:
            _measure(section, machine, budget, report)
    if not options.sections:
        for base, reason in UNSUPPORTED.items():
            report.add(Row("all", base, skipped=reason))
    print(f"\n{machine.name}, torch {torch.__version__}: {budget.spent():.0f} s\n")
    print(report.table(), flush=True)
    report.write(seconds=round(budget.spent(), 1))
    return int(any(row.failed for row in report.rows))


def _silence() -> None:
    """The libraries' notes would stand between the rows."""
    warnings.simplefilter("ignore")
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def _measure(
    section: Section, machine: Machine, budget: Budget, report: Report
) -> None:
    """One section, whatever becomes of it; its row says so where it came to nothing."""
    least = 0.0 if machine.smoke else section.least
    if budget.left() <= least:
        reason = f"{max(0.0, budget.left()):.0f} s left, {least:.0f} s needed"
        report.add(Row(section.name, "whole section", skipped=reason))
        return
    begun = budget.spent()
    try:
        with budget.at_most(section.most):
            section.measure(machine, report.add)
    except OutOfTimeError:
        reason = f"stopped after {budget.spent() - begun:.0f} s"
        report.add(Row(section.name, "the rest of it", skipped=reason))
    except Exception as error:
        traceback.print_exc()
        told = (str(error).strip() or type(error).__name__).splitlines()[0]
        told = f"{type(error).__name__}: {told[:200]}"
        report.add(Row(section.name, "the rest of it", failed=told))
    machine.free()


if __name__ == "__main__":
    sys.exit(main())
