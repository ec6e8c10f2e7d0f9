"""The closed form against L-BFGS as published, on inputs captured from a base.

    python -m tests.benchmarks.fuse [--base mini] [--concepts 3]

One JSON line a layer, one for each kind of input, and one for all of them. Both
methods minimise the paper's objective in the same run; `ratio` says how many times
longer L-BFGS took, `objective` how its result compares with the closed form's (above
1: worse). L-BFGS is given the second moments too, where the reference runs it on the
inputs themselves. Random concepts stand in for tuned ones: times depend on sizes alone,
and the inputs are the base's own.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch

from mos_server.fusion.baselines import (
    TEXT_ITERATIONS,
    UNET_ITERATIONS,
    lbfgs_update,
    objective,
    weight_average,
)
from mos_server.fusion.capture import capture
from mos_server.fusion.moments import TEXT, Gram, input_of, scaled, stage_of
from mos_server.fusion.settings import FusionSettings
from mos_server.fusion.solve import ConceptTerm, fused_factors, regularised_gram
from mos_shared.base import Base, load_base
from mos_shared.concept import Concept, LoraFactors
from tests.support.concepts import random_concept

SETTINGS: Final = FusionSettings(
    steps=5, ridge=1e-6, prior=0.0, scenes=("", "in the snow")
)
"""A ridge that is there for the solver alone: the paper's objective has none."""

REPEATS: Final = 5


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description="Closed form against L-BFGS.")
    parser.add_argument("--base", default="mini")
    parser.add_argument("--concepts", type=int, default=3)
    options = parser.parse_args()
    base = load_base(options.base)
    concepts = [
        random_concept(base.inventory, f"c{i}", seed=i) for i in range(options.concepts)
    ]
    moments = [_moments(base, concept) for concept in concepts]
    lines = [
        _compare(module, _terms(module, concepts, moments)) for module in _layers(base)
    ]
    for line in lines:
        print(json.dumps(line))
    ratios = [line["ratio"] for line in lines]
    worst = max(line["objective"] for line in lines)
    print(
        json.dumps(
            {
                "benchmark": "fuse",
                "base": options.base,
                "concepts": options.concepts,
                "layers": len(lines),
                "median_ratio": round(statistics.median(ratios), 1),
                "lbfgs_worst_objective": worst,
                "threads": torch.get_num_threads(),
            }
        )
    )


def _moments(base: Base, concept: Concept) -> dict[str, Gram]:
    name = concept.facts.name
    words = {name: concept.embeddings}
    prompts = SETTINGS.concept_prompts(name)
    captured = capture(base, concept.lora, words, prompts, SETTINGS)
    return scaled(captured, balance=True)


def _layers(base: Base) -> list[str]:
    """The widest projection for each kind of input."""
    widest: dict[tuple[str, bool, str], tuple[int, str]] = {}
    for module, (_, d_in) in base.inventory.projections.items():
        component, kind = module.partition(".")[0], input_of(module).rpartition(".")[2]
        key = (component, "attn2" in module, kind)
        widest[key] = max(widest.get(key, (0, "")), (d_in, module))
    return [module for _, module in widest.values()]


def _terms(
    module: str, concepts: Sequence[Concept], moments: Sequence[Mapping[str, Gram]]
) -> list[ConceptTerm]:
    return [
        ConceptTerm(
            LoraFactors(c.lora[module].down.double(), c.lora[module].up.double()),
            own[input_of(module)],
        )
        for c, own in zip(concepts, moments, strict=True)
    ]


def _compare(module: str, terms: Sequence[ConceptTerm]) -> dict[str, Any]:
    """Both methods on one layer; L-BFGS in float32, as the reference runs it."""
    iterations = TEXT_ITERATIONS if stage_of(module) == TEXT else UNET_ITERATIONS
    narrow = [
        ConceptTerm(
            LoraFactors(t.factors.down.float(), t.factors.up.float()), t.gram.float()
        )
        for t in terms
    ]

    def closed() -> torch.Tensor:
        gram = regularised_gram([t.gram for t in terms], None, SETTINGS)
        return fused_factors(gram, terms, layer=module).dense()

    ours, seconds = _timed(closed, REPEATS)
    theirs, lbfgs_seconds = _timed(
        lambda: lbfgs_update(narrow, iterations=iterations), 1
    )
    mean = weight_average([{module: t.factors} for t in terms])[module].dense()
    best = float(objective(ours, terms))
    return {
        "layer": module,
        "d_in": ours.shape[1],
        "d_out": ours.shape[0],
        "seconds": round(seconds, 6),
        "lbfgs_seconds": round(lbfgs_seconds, 4),
        "ratio": round(lbfgs_seconds / seconds, 1),
        "objective": round(float(objective(theirs.double(), terms)) / best, 6),
        "average_objective": round(float(objective(mean, terms)) / best, 3),
    }


def _timed(
    work: Callable[[], torch.Tensor], repeats: int
) -> tuple[torch.Tensor, float]:
    """The result, and the median of its wall times in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return result, statistics.median(times)


if __name__ == "__main__":
    main()
