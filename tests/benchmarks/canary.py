"""The gate: false alarms over honest federations, detections over hostile ones.

    python -m tests.benchmarks.canary --concepts FOLDER [--out FILE.jsonl]

Concepts are tuned on `mini` into FOLDER where they are not there yet (see
`_canary_concepts`). All of them join one ledger; each federation is that ledger fused
without the others, which is exact. One JSON line a federation: its figures, which
exceed the limits, for a hostile one who was blamed, and CPU seconds of the gate. The
seconds of one join are the yardstick: `share` is the gate's time in those of fusing the
federation from nothing, `share_of_join` in those of one concept that joins.
A last line has the rates, and the largest honest figure of each kind.

Hostile federations: honest concepts of a last release, one honest newcomer, and

- `noise-2.3`, `noise-4`: random factors at that gain in every layer (4 is the bound);
- `inflated-2.3`, `inflated-4`: an honest concept, every layer scaled to that gain;
- `hijack-...`: the words of "a dog" or "a cat", tuned to show something else;
- `backdoor-...`: the common word "hat", tuned to show something else;
- `leaked-...`: tuned on top of a release of others.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from mos_model.bases.base import Base, load_base
from mos_model.concepts.concept import Concept, LoraFactors
from mos_server.fusion import FusionSettings, Ledger
from mos_server.fusion.gate import Behaviour, Canary, GateLimits, Plan, excesses
from mos_server.fusion.gate.blame import trials
from mos_server.fusion.report.outcome import Fusion
from tests.benchmarks._canary_concepts import hijack, honest, leaked
from tests.support.concepts import random_concept

_BOUND = 3.99
_BACKGROUNDS = (6,)
_HONEST_SIZES = (2, 4, 8, 16)
_ROUNDS = 2


class Bench:
    """One ledger of all concepts, and federations of some."""

    def __init__(self, base: Base, folder: Path) -> None:
        self.base, self.limits = base, GateLimits.for_base(base)
        settings = FusionSettings.for_base(base)
        self._ledger = Ledger(folder, base, settings)
        self.classes: dict[str, str] = {}
        self.join_seconds = 0.0

    def join(self, name: str, concept: Concept) -> None:
        renamed = replace(concept, facts=replace(concept.facts, name=name))
        began = time.process_time()
        self._ledger.join("s", renamed, source=name)
        self.join_seconds += time.process_time() - began
        self.classes[name] = concept.facts.class_word

    def fused(self, names: Sequence[str]) -> Fusion:
        return self._ledger.fuse(compact=True, without=set(self.classes) - {*names})

    def run(self, kept: Sequence[str], fresh: Sequence[str]) -> dict[str, Any]:
        """Measure `kept` and `fresh` against a last release of `kept`."""
        names = [*kept, *fresh]
        began = time.process_time()
        fusion = self.fused(names)
        fusing = time.process_time() - began
        last = self.fused(kept).model if kept else None
        began = time.process_time()
        plan = Plan.of(
            self.base,
            self.limits,
            classes=[self.classes[name] for name in (*fresh, *kept)],
            kept=[f"s/{name}" for name in kept],
            seed=json.dumps(names),
        )
        canary = Canary(self.base, plan, self.limits, last)
        found = canary.behaviour(fusion.model, fusion.report)
        seconds = time.process_time() - began
        join = self.join_seconds / len(self.classes)
        beyond = excesses(found, self.limits)
        blamed = ""
        if beyond:

            def without(gone: str) -> Behaviour:
                rest = self.fused([name for name in names if name != gone])
                return canary.behaviour(rest.model, rest.report)

            blamed = trials([fresh, kept], without, self.limits)[0].gone
        return {
            "concepts": len(names),
            "beyond": [str(one) for one in beyond[:4]],
            "blamed": blamed,
            "most": _most(found),
            "seconds": round(seconds, 2),
            "share": round(seconds / (join * len(names) + fusing), 3),
            "share_of_join": round(seconds / (join + fusing), 3),
            "figures": asdict(found),
        }


def _most(found: Behaviour) -> dict[str, float]:
    kinds = ("words", "concepts", "lost")
    most = {k: max(getattr(found, k).values(), default=0.0) for k in kinds}
    return {k: round(v, 4) for k, v in {"generic": found.generic, **most}.items()}


def _with_gain(concept: Concept, gain: float) -> Concept:
    """Every layer scaled to `gain` times the norm of a layer of unit gain."""
    lora = {}
    for module, own in concept.lora.items():
        unit = own.dense().norm() / own.up.shape[0] ** 0.5
        lora[module] = LoraFactors(own.down, own.up * (gain / unit))
    return replace(concept, lora=lora)


def _attacks(
    base: Base, folder: Path, release: Fusion
) -> Iterator[tuple[str, Concept]]:
    noise = random_concept(base.inventory, "noise")
    own = honest(base, 0, folder)
    for gain in (2.3, _BOUND):
        yield f"noise-{gain:.2g}", _with_gain(noise, gain)
        yield f"inflated-{gain:.2g}", _with_gain(own, gain)
    yield "hijack-dog", hijack(base, ("a", "dog"), folder, shown="cat")
    yield "hijack-cat", hijack(base, ("a", "cat"), folder, shown="house")
    yield "backdoor-hat", hijack(base, ("a", "hat"), folder, shown="robot")
    yield "leaked-dog", leaked(base, "dog", release.model, folder)


def _honest_sets(names: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """(kept, fresh): a first release, and one or two newcomers to a standing one."""
    for round_ in range(_ROUNDS):
        for size in _HONEST_SIZES:
            drawn = random.Random(f"honest/{round_}/{size}").sample(names, size)
            fresh = size if round_ == 0 else min(round_, size - 1)
            yield drawn[fresh:], drawn[:fresh]
    yield list(names[1:]), [names[0]]


def _tell(line: Mapping[str, Any], out: Path | None) -> None:
    short = {key: value for key, value in line.items() if key != "figures"}
    print(json.dumps(short), flush=True)
    if out is not None:
        with out.open("a") as file:
            file.write(json.dumps(dict(line)) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=Path, required=True)
    parser.add_argument("--count", type=int, default=30, help="Honest concepts.")
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    torch.set_num_threads(1)
    base = load_base("mini")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(base, Path(folder))
        names = [f"h{number:02d}" for number in range(given.count)]
        for number, name in enumerate(names):
            bench.join(name, honest(base, number, given.concepts))
        release = bench.fused(names[1:5])
        attacks = dict(_attacks(base, given.concepts, release))
        lines: list[dict[str, Any]] = []
        for kept, fresh in _honest_sets(names):
            lines.append({"set": "honest", **bench.run(kept, fresh)})
            _tell(lines[-1], given.out)
        for attack, concept in attacks.items():
            bench.join(attack, concept)
            for size in _BACKGROUNDS:
                # h00 is what the inflated ones were made of.
                drawn = random.Random(f"hostile/{size}").sample(names[1:], size + 1)
                found = bench.run(drawn[1:], [drawn[0], attack])
                lines.append(
                    {"set": attack, "right": found["blamed"] == attack} | found
                )
                _tell(lines[-1], given.out)
    calm = [line for line in lines if line["set"] == "honest"]
    rest = [line for line in lines if line["set"] != "honest"]
    rates = {
        "honest": len(calm),
        "false_alarms": sum(bool(line["beyond"]) for line in calm),
        "most": {k: max(one["most"][k] for one in calm) for k in calm[0]["most"]},
        "hostile": len(rest),
        "detected": sum(bool(line["beyond"]) for line in rest),
        "rightly_blamed": sum(line["right"] for line in rest),
        "join_seconds": round(bench.join_seconds / len(bench.classes), 2),
        "share_of_join": max(line["share_of_join"] for line in lines),
    }
    _tell(rates, given.out)


if __name__ == "__main__":
    main()
