"""The gate on a real fusion of the mini base: noise is beyond every limit."""

from dataclasses import replace
from pathlib import Path

import pytest

from mos_model.bases.base import load_base
from mos_model.concepts.concept import Concept, LoraFactors
from mos_server.fusion import FusionSettings, Ledger
from mos_server.fusion.gate import Canary, GateLimits, Plan, excesses
from mos_server.fusion.gate.behaviour import weight
from tests.support.concepts import random_concept


@pytest.mark.slow
def test_noise_within_all_bounds_is_beyond_the_limits_and_quiet_concepts_are_not(
    tmp_path: Path,
) -> None:
    base = load_base("mini")
    settings = replace(FusionSettings.for_base(base), steps=4)
    limits = replace(GateLimits.for_base(base), seeds=2)
    quiet = random_concept(base.inventory, "quiet", strength=0.001)
    other = random_concept(base.inventory, "other", seed=1, strength=0.001)
    noise = random_concept(base.inventory, "noise", seed=2)
    ledger = Ledger(tmp_path, base, settings)
    for concept in (quiet, other, _with_gain(noise, 2.3)):
        ledger.join("north", concept, source=concept.facts.name)
    plan = Plan.of(base, limits, classes=["cat"], kept=["north/quiet"], seed="0")
    canary = Canary(base, plan, limits, ledger.fuse(without={"other", "noise"}).model)
    full, rest = ledger.fuse(), ledger.fuse(without={"noise"})
    whole = canary.behaviour(full.model, full.report)
    assert "generic pictures moved" in {one.what for one in excesses(whole, limits)}
    left = canary.behaviour(rest.model, rest.report)
    assert (left.generic, max(left.words.values())) < (limits.generic, limits.words)
    assert weight(left, limits) < weight(whole, limits)


def _with_gain(concept: Concept, gain: float) -> Concept:
    lora = {
        module: LoraFactors(
            own.down, own.up * (gain * own.up.shape[0] ** 0.5 / own.dense().norm())
        )
        for module, own in concept.lora.items()
    }
    return replace(concept, lora=lora)
