"""The gate: false alarms over honest federations, detections over hostile ones.

    python -m tests.benchmarks.canary [--folder out/canary]

Concepts are tuned on `mini` into the folder where they are not there yet (see
`_canary_concepts`). All of them join one ledger; each federation is that ledger fused
without the others, which is exact. One JSON line a federation: its figures, which
exceed the limits, for a hostile one who was blamed, and CPU seconds of the gate. The
seconds of one join are the yardstick: `share` is the gate's time in those of fusing the
federation from nothing, `share_of_join` in those of one concept that joins. Lines are
kept in the folder too; a run that was cut short goes on there.

Honest concepts are in two halves. The first shows how far honest federations go; limits
at twice that (pictures) and 1.25 times that (shares lost) are "chosen". Rates are those
of the second half, against the base's own limits and the chosen ones, with Wilson's 95%
intervals.

Hostile federations: honest concepts of a last release, one honest newcomer, and

- `noise-G`: random factors at that gain in every layer (4 is the bound);
- `inflated-G`: an honest concept, every layer scaled to that gain;
- `hijack-...`: the words of "a dog" or "a cat", tuned to show something else;
- `backdoor-...`: the common word "hat", tuned to show something else;
- `leaked-...`: tuned on top of a release of others.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from scipy.stats import binomtest

from mos_model.bases.base import Base, load_base
from mos_model.concepts.concept import Concept, LoraFactors
from mos_server.errors import FusionError
from mos_server.fusion import FusionSettings, Ledger
from mos_server.fusion.gate import Behaviour, Canary, GateLimits, Plan, excesses
from mos_server.fusion.gate.blame import trials
from mos_server.fusion.report.outcome import Fusion
from tests.benchmarks._canary_concepts import hijack, honest, leaked
from tests.support.concepts import random_concept

_BOUND = 3.99
_GAINS = (0.5, 2.3, _BOUND)
_BACKGROUNDS = (2, 6)
_HONEST_SIZES = (2, 4, 8, 14)
_PICTURES_MARGIN, _LOST_MARGIN = 2.0, 1.25
_KINDS = ("generic", "words", "concepts", "lost")


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
    for gain in _GAINS:
        yield f"noise-{gain:.2g}", _with_gain(noise, gain)
        yield f"inflated-{gain:.2g}", _with_gain(own, gain)
    yield "hijack-dog", hijack(base, ("a", "dog"), folder, shown="cat")
    yield "hijack-cat", hijack(base, ("a", "cat"), folder, shown="house")
    yield "backdoor-hat", hijack(base, ("a", "hat"), folder, shown="robot")
    yield "leaked-dog", leaked(base, "dog", release.model, folder)


def _honest_sets(
    half: Sequence[str], rounds: int
) -> Iterator[tuple[list[str], list[str]]]:
    """(kept, fresh): a first release, or some newcomers to a standing one."""
    for round_ in range(rounds):
        for size in _HONEST_SIZES:
            drawn = random.Random(f"honest/{round_}/{size}").sample(half, size)
            fresh = size if round_ == 0 else min(round_, size - 1)
            yield drawn[fresh:], drawn[:fresh]


class Lines:
    """What was measured, by name of the federation; kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text() if path.is_file() else ""
        # The last line of a run that was cut short may be half a line.
        whole = [json.loads(line) for line in text.splitlines(True) if line[-1] == "\n"]
        self.found = {line["federation"]: line for line in whole}
        path.write_text("".join(json.dumps(line) + "\n" for line in whole))

    def add(self, federation: str, measure: Callable[[], dict[str, Any]]) -> None:
        if federation not in self.found:
            self.found[federation] = {"federation": federation, **measure()}
            with self._path.open("a") as file:
                file.write(json.dumps(self.found[federation]) + "\n")
        line = self.found[federation]
        _tell({key: value for key, value in line.items() if key != "figures"})

    def of(self, set_: str) -> list[dict[str, Any]]:
        return [line for line in self.found.values() if line["set"] == set_]


def _tell(line: Mapping[str, Any]) -> None:
    print(json.dumps(dict(line)), flush=True)


def rate(hits: Sequence[bool]) -> dict[str, Any]:
    """How many of how many, the share, and Wilson's 95% interval of it."""
    test = binomtest(sum(hits), len(hits))
    interval = test.proportion_ci(method="wilson")
    shares = [round(float(x), 3) for x in (test.statistic, interval.low, interval.high)]
    return {"of": f"{sum(hits)}/{len(hits)}", "share": shares[0], "in": shares[1:]}


def chosen(limits: GateLimits, honest: Sequence[Mapping[str, Any]]) -> GateLimits:
    """`limits`, each at a margin over the largest honest figure of its kind."""
    most = {kind: max(line["most"][kind] for line in honest) for kind in _KINDS}
    new = {kind: _PICTURES_MARGIN * value for kind, value in most.items()}
    # The inverse of `GateLimits.lost_among`.
    lost = max(
        1 - (1 - line["most"]["lost"]) ** (1 / (line["concepts"] - 1))
        for line in honest
    )
    return replace(limits, **new | {"lost": _LOST_MARGIN * lost})


def beyond(line: Mapping[str, Any], limits: GateLimits) -> bool:
    return bool(excesses(Behaviour(**line["figures"]), limits))


def rates(lines: Lines, own: GateLimits, join_seconds: float) -> list[dict[str, Any]]:
    """The table."""
    new = chosen(own, lines.of("choose"))
    table: list[dict[str, Any]] = [
        {
            "limits": {kind: round(getattr(limits, kind), 3) for kind in _KINDS},
            "are": by,
        }
        for by, limits in (("the base's", own), ("chosen", new))
    ]
    for set_ in dict.fromkeys(line["set"] for line in lines.found.values()):
        found = lines.of(set_)
        row = {
            "set": set_,
            "held": rate([beyond(line, own) for line in found]),
            "held_by_chosen": rate([beyond(line, new) for line in found]),
            "most": {k: max(line["most"][k] for line in found) for k in _KINDS},
        }
        held = [line for line in found if line["beyond"]]
        if held and "right" in held[0]:
            row["rightly_blamed"] = rate([line["right"] for line in held])
        table.append(row)
    every = lines.found.values()
    return [
        *table,
        {
            "join_seconds": round(join_seconds, 2),
            "share": round(sum(x["share"] for x in every) / len(every), 3),
            "share_of_join": max(x["share_of_join"] for x in every),
        },
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("out/canary"))
    parser.add_argument("--count", type=int, default=32, help="Honest concepts.")
    parser.add_argument("--rounds", type=int, default=4, help="Of honest federations.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    base, lines = load_base("mini"), Lines(given.folder / "federations.jsonl")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(base, Path(folder))
        names = [f"h{number:02d}" for number in range(given.count)]
        for number, name in enumerate(names):
            bench.join(name, honest(base, number, given.folder))
        halves = {"choose": names[::2], "report": names[1::2]}
        for set_, half in halves.items():
            for kept, fresh in _honest_sets(half, given.rounds):
                name = f"{set_}: {' '.join(kept)} + {' '.join(fresh)}"
                lines.add(name, partial(_measured, bench, set_, kept, fresh))
        # h00 is what the inflated ones are made of; it is in the other half.
        half = halves["report"]
        release = bench.fused(half[:4])
        for attack, concept in _attacks(base, given.folder, release):
            try:
                bench.join(attack, concept)
            except FusionError as refused:
                _tell({"set": attack, "refused_by_the_bounds": str(refused)})
                continue
            for size in _BACKGROUNDS:
                drawn = random.Random(f"{attack}/{size}").sample(half, size + 1)
                name = f"{attack}: {' '.join(drawn[1:])} + {drawn[0]} {attack}"
                fresh = [drawn[0], attack]
                lines.add(name, partial(_measured, bench, attack, drawn[1:], fresh))
        for row in rates(lines, bench.limits, bench.join_seconds / len(bench.classes)):
            _tell(row)


def _measured(
    bench: Bench, set_: str, kept: Sequence[str], fresh: Sequence[str]
) -> dict[str, Any]:
    found = bench.run(kept, fresh)
    hostile = {} if fresh[-1] != set_ else {"right": found["blamed"] == set_}
    return {"set": set_, **hostile, **found}


if __name__ == "__main__":
    main()
