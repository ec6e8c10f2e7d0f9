"""Fusion: the closed form against L-BFGS as published, joins, memory, a GPU.

    python -m tests.benchmarks.fusion [--base mini] [--concepts 3] [SECTION ...]

One JSON line a figure. Sections, all by default:

- `solve`: every layer of the base, both methods on identical inputs: the reference's
  prompt pair, all cells alike, no prior. L-BFGS runs on the inputs themselves, as the
  reference does, and once more on their second moments, as a favour to it. `ratio` is
  of the solves, `end_to_end` of capture and solve. `missed` is the share of the
  concepts' changes that a method's result leaves out, over all layers.
- `join`: one more concept with 0, 1, 4, 16 and 64 present, at the base's own settings:
  its capture, the ledger's writes and the solve of the release. The ledgers take turns,
  so that a slow minute of the machine slows all alike; `times_of_one_present` is the
  median of the turns' ratios. The report, which looks at every concept, is told apart.
  Memory is of one join in a process of its own: `peak_mib` is what it grew by at most,
  `own_mib` the same without pages of mapped files, which the kernel drops when memory
  is short.
- `gpu`: shapes of Stable Diffusion 1.5 with random weights, 3 and 14 concepts, the
  whole fusion, beside the 15 to 50 minutes of the reference.

Random concepts stand in for tuned ones: times depend on sizes alone. Times are of the
processor, not of the clock, so that other work on the machine does not blur them; on a
GPU they are of the clock.
"""

import argparse
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeVar
from unittest.mock import patch

import torch
from torch import Tensor

from mos_model.bases.base import Base, load_base
from mos_model.concepts.applying import applied
from mos_model.concepts.concept import Concept, FusedModel, LoraFactors
from mos_model.prompts.encoder import PromptEncoder
from mos_server.fusion import FusionSettings, Ledger, fuse_concepts
from mos_server.fusion.baselines import (
    ConceptTerm,
    lbfgs_update,
    objective,
    published_iterations,
    published_update,
)
from mos_server.fusion.gradient_fusion import capture, moment_sum, solve, stacked
from mos_server.fusion.moments import CROSS, by_input, input_of, stage_of
from tests.benchmarks._sd15 import save_sd15
from tests.support.concepts import random_concept

PUBLISHED: Final = FusionSettings(
    ridge=1e-6,
    prior=0.0,
    positions="concept",
    focus=False,
    balance=False,
    scenes=("",),
    guidance=1.0,
)
"""The reference's inputs; a ridge that is there for the solver alone."""

PRESENT: Final = (0, 1, 4, 16, 64)
SECTIONS: Final = ("solve", "join", "gpu")

Result = TypeVar("Result")


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description="Fusion, in figures.")
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    parser.add_argument("--base", default="mini")
    parser.add_argument("--concepts", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="of the reference's runs")
    parser.add_argument("--turns", type=int, default=5, help="joins of each number")
    options = parser.parse_args()
    wanted = options.sections or SECTIONS
    if not set(wanted) <= set(SECTIONS):
        parser.error(f"sections are {', '.join(SECTIONS)}")
    if "solve" in wanted:
        settings = replace(PUBLISHED, steps=options.steps)
        compare_solves(load_base(options.base), options.concepts, settings)
    if "join" in wanted:
        time_joins(load_base(options.base), options.turns)
    if "gpu" in wanted:
        time_on_gpu()


def say(benchmark: str, **figures: Any) -> None:
    """Print one line."""
    print(json.dumps({"benchmark": f"fusion-{benchmark}", **figures}), flush=True)


# Solves


def _closed_form(
    wide: list[dict[str, LoraFactors]],
    grams: list[dict[str, torch.Tensor]],
    settings: FusionSettings,
) -> dict[str, LoraFactors]:
    fused: dict[str, LoraFactors] = {}
    for name, modules in by_input(sorted(wide[0])).items():
        own = [one[name] for one in grams]
        terms = {m: stacked([lora[m] for lora in wide], own) for m in modules}
        fused |= solve(moment_sum(own, None, settings), terms, settings)
    return fused


@dataclass
class Tally:
    """What one method took and left, over layers."""

    seconds: float = 0.0
    missed: float = 0.0


def compare_solves(base: Base, count: int, settings: FusionSettings) -> None:
    """Both methods on every layer of the base."""
    concepts = [random_concept(base.inventory, f"c{i}", seed=i) for i in range(count)]
    captured = [_captured(base, concept, settings) for concept in concepts]
    capture_seconds = sum(one.seconds for one in captured)
    grams = [
        {n: x.double().T @ x.double() for n, x in c.rows.items()} for c in captured
    ]
    wide = [_cast(concept.lora, torch.float64) for concept in concepts]
    modules = sorted(wide[0])
    ours, seconds = timed(lambda: _closed_form(wide, grams, settings))
    closed, rows, moments = Tally(seconds), Tally(), Tally()
    size = 0.0
    for module in modules:
        key, iterations = input_of(module), published_iterations(module)
        exact = [
            ConceptTerm(lora[module], own[key])
            for lora, own in zip(wide, grams, strict=True)
        ]
        narrow = [
            ConceptTerm(concept.lora[module], term.gram.float())
            for concept, term in zip(concepts, exact, strict=True)
        ]
        inputs = [one.rows[key] for one in captured]
        factors = [concept.lora[module] for concept in concepts]
        weight = base.projections[module].weight
        on_rows, row_seconds = timed(
            partial(published_update, inputs, factors, weight, iterations=iterations)
        )
        on_moments, moment_seconds = timed(
            partial(lbfgs_update, narrow, iterations=iterations)
        )
        rows.seconds += row_seconds
        moments.seconds += moment_seconds
        for tally, update in (
            (closed, ours[module].dense()),
            (rows, on_rows),
            (moments, on_moments),
        ):
            tally.missed += float(objective(update.double(), exact))
        size += float(objective(torch.zeros_like(ours[module].dense()), exact))
    for name, theirs in (("inputs", rows), ("second moments", moments)):
        say(
            "solve",
            base=base.name,
            concepts=count,
            layers=len(modules),
            input_vectors=sum(len(x) for one in captured for x in one.rows.values()),
            lbfgs_on=name,
            capture_seconds=round(capture_seconds, 2),
            seconds=round(closed.seconds, 3),
            lbfgs_seconds=round(theirs.seconds, 2),
            ratio=round(theirs.seconds / closed.seconds, 1),
            end_to_end=round(
                (capture_seconds + theirs.seconds) / (capture_seconds + closed.seconds),
                1,
            ),
            missed=round(closed.missed / size, 5),
            lbfgs_missed=round(theirs.missed / size, 5),
            threads=torch.get_num_threads(),
        )


@dataclass(frozen=True)
class Captured:
    """One concept's inputs."""

    seconds: float
    """Of the capture of moments alone, as fusion does it."""

    rows: Mapping[str, Tensor]
    """Input name -> X, float32, one input vector a row."""


def _captured(base: Base, concept: Concept, settings: FusionSettings) -> Captured:
    name = concept.facts.name
    words = {name: concept.embeddings}
    prompts = settings.concept_prompts(name)

    def run() -> dict[str, Tensor]:
        return capture(base, concept.lora, words, prompts, settings)

    _, seconds = timed(run)
    with keeping_rows(base) as rows:
        run()
    # K and V read text features, which the capture takes once, not at every step.
    with applied(base, concept.lora), torch.no_grad():
        encoder = PromptEncoder(base, words)
        hidden = encoder.encode(prompts).hidden
    places = [encoder.tokenize(prompt) for prompt in prompts]
    for layer, block in enumerate(base.inventory.cross_attention_modules()):
        kept = [
            hidden[row, layer, [*place.concept_positions(), place.end]]
            for row, place in enumerate(places)
        ]
        rows[f"{block}.kv"] = torch.cat(kept)
    return Captured(seconds, rows)


@contextmanager
def keeping_rows(base: Base) -> Iterator[dict[str, Tensor]]:
    """Keep every input vector of text and spatial layers, as the reference does."""
    seen: dict[str, list[Tensor]] = {}

    def keeper(name: str) -> Callable[..., None]:
        def keep(module: Any, args: tuple[Any, ...]) -> None:
            rows = args[0].detach().reshape(-1, args[0].shape[-1])
            seen.setdefault(name, []).append(rows.clone())

        return keep

    readers = {
        input_of(module): layer
        for module, layer in base.projections.items()
        if stage_of(module) != CROSS
    }
    handles = [
        layer.register_forward_pre_hook(keeper(name)) for name, layer in readers.items()
    ]
    rows: dict[str, Tensor] = {}
    try:
        yield rows
    finally:
        for handle in handles:
            handle.remove()
    rows.update({name: torch.cat(parts) for name, parts in seen.items()})


# Joins


def time_joins(base: Base, turns: int) -> None:
    """One more concept, however many there are."""
    settings = FusionSettings.for_base(base)
    newcomer = _newcomer(base)
    with tempfile.TemporaryDirectory() as kept:
        folders = {count: Path(kept) / str(count) for count in PRESENT}
        empty = Ledger(folders[0], base, settings)
        empty.join("s", newcomer)  # captures the prior
        empty.withdraw("s/newcomer")
        for count in PRESENT[1:]:
            shutil.copytree(folders[0], folders[count])
        ledgers = {n: Ledger(folder, base, settings) for n, folder in folders.items()}
        _fill(ledgers, base, settings)
        took: dict[int, list[float]] = {count: [] for count in PRESENT}
        for _ in range(turns):
            for count, ledger in ledgers.items():
                _, seconds = timed(partial(_join, ledger, newcomer))
                took[count].append(seconds)
                ledger.withdraw("s/newcomer")
        for count, ledger in ledgers.items():
            ratios = [own / one for own, one in zip(took[count], took[1], strict=True)]
            with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
                memory = fresh.submit(_join_memory, base.name, folders[count]).result()
            say(
                "join",
                base=base.name,
                present=count,
                turns=turns,
                seconds=round(median(took[count]), 2),
                times_of_one_present=round(median(ratios), 2),
                **memory,
                report_seconds=round(timed(ledger.fuse)[1], 2),
                threads=torch.get_num_threads(),
            )


def _newcomer(base: Base) -> Concept:
    return random_concept(base.inventory, "newcomer", seed=10**6)


def _join(ledger: Ledger, newcomer: Concept) -> FusedModel:
    ledger.join("s", newcomer)
    return ledger.model()


def _join_memory(name: str, folder: Path) -> dict[str, float]:
    """What one join takes in this process; the newcomer stays."""
    base = load_base(name)
    ledger = Ledger(folder, base, FusionSettings.for_base(base))
    with watched_memory() as grown:
        model = _join(ledger, _newcomer(base))
    return grown | {"factors_mib": round(len(model.to_bytes()) / 2**20, 1)}


def _fill(ledgers: Mapping[int, Ledger], base: Base, settings: FusionSettings) -> None:
    """Have so many concepts present; they share one capture, which no join looks at."""
    one = random_concept(base.inventory, "p0")
    words = {"p0": one.embeddings}
    shared = capture(base, one.lora, words, settings.concept_prompts("p0"), settings)
    with patch(
        "mos_server.fusion.ledger.ledger.capture", lambda *_, **__: dict(shared)
    ):
        for count, ledger in ledgers.items():
            for place in range(count):
                concept = random_concept(base.inventory, f"p{place}", seed=place)
                ledger.join("s", concept)


# A GPU


def time_on_gpu() -> None:
    """A whole fusion at the size that users have."""
    if not torch.cuda.is_available():
        say("gpu", skipped="torch sees no CUDA device here")
        return
    with tempfile.TemporaryDirectory() as folder:
        base = load_base(str(save_sd15(Path(folder))), device="cuda")
        for count in (3, 14):
            concepts = [
                ("s", random_concept(base.inventory, f"c{i}", seed=i))
                for i in range(count)
            ]
            torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            fuse_concepts(base, concepts, settings=FusionSettings())
            seconds = time.perf_counter() - start
            say(
                "gpu",
                base="random sd15, float32",
                device=torch.cuda.get_device_name(),
                concepts=count,
                seconds=round(seconds, 1),
                device_gib=round(torch.cuda.max_memory_allocated() / 2**30, 2),
                host_gib=round(memory_mib("VmHWM") / 2**10, 2),
                published_seconds=[15 * 60, 50 * 60],
            )


# Measuring


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """The result, and the processor's seconds that it took."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


@contextmanager
def watched_memory() -> Iterator[dict[str, float]]:
    """What memory grows by at most meanwhile, MiB: filled in at the end; Linux."""
    grown: dict[str, float] = {}
    own = memory_mib("RssAnon")
    before, peak, ended = memory_mib("VmRSS"), own, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.002):
            peak = max(peak, memory_mib("RssAnon"))

    watcher = threading.Thread(target=watch)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    watcher.start()
    try:
        yield grown
    finally:
        ended.set()
        watcher.join()
    grown["peak_mib"] = round(memory_mib("VmHWM") - before, 1)
    grown["own_mib"] = round(peak - own, 1)


def memory_mib(name: str) -> float:
    """A line of this process's status, for instance its peak, VmHWM; Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {name} in /proc/self/status")


def _moments(rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: x.double().T @ x.double() for name, x in rows.items()}


def _cast(
    lora: Mapping[str, LoraFactors], dtype: torch.dtype
) -> dict[str, LoraFactors]:
    return {m: LoraFactors(f.down.to(dtype), f.up.to(dtype)) for m, f in lora.items()}


if __name__ == "__main__":
    main()
