"""Sampling: regions beside the stock pipeline, and pictures a second."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

import torch
from diffusers import DPMSolverMultistepScheduler

from mos_model.bases.base import Base
from mos_model.sampling import Layout, Region, sampling
from tests.benchmarks.gpu_check.bases import random_base
from tests.benchmarks.gpu_check.machine import Machine
from tests.benchmarks.gpu_check.report import Row
from tests.benchmarks.regions import boxes_of, taken_in_turns

Add = Callable[[Row], None]

BATCHES: Final = (1, 4)
PROMPTS: Final = ("a photo of a cat", "a photo of a dog", "a photo of a robot")
GUIDANCE: Final = 7.5
MOST_RATIO: Final = 1.15
"""The goal: what three regions may cost beside none."""


def measure_regions(machine: Machine, add: Add) -> None:
    """Three regions and the stock pipeline with one prompt, in turns.

    Whole pictures: text encoding and decoding included, equal size, steps, scheduler
    and noise. `ratio` is the median of each turn's own.
    """
    base = random_base(machine, "sd15", torch.bfloat16)
    steps, turns = (2, 1) if machine.smoke else (20, 5)
    side = _side(base)
    parts = zip(PROMPTS, boxes_of(len(PROMPTS)), strict=True)
    regions = tuple(Region(prompt, box) for prompt, box in parts)
    layout = Layout("a photo", side, side, regions=regions)
    with sampling(base) as sampler:
        for batch in BATCHES:
            machine.free()
            seeds = range(batch)

            def ours(seeds: range = seeds) -> None:
                sampler.sample(
                    layout,
                    seeds=seeds,
                    steps=steps,
                    guidance=GUIDANCE,
                    lead=0.0,
                    isolation=0.0,
                )

            ways = {"stock": _stock(base, batch, steps), "regions": ours}
            times = taken_in_turns(ways, turns, time.perf_counter)
            pairs = zip(times["regions"], times["stock"], strict=True)
            ratios = [own / stock for own, stock in pairs]
            ratio = median(ratios)
            figures = {
                "ratio": round(ratio, 3),
                "ratio_min": round(min(ratios), 3),
                "ratio_max": round(max(ratios), 3),
                "seconds": round(median(times["regions"]), 3),
                "stock_seconds": round(median(times["stock"]), 3),
                "steps": steps,
                "side": side,
            }
            goal = f"ratio <= {MOST_RATIO}"
            met = ratio <= MOST_RATIO if machine.on_gpu else None
            add(Row("regions", f"3 regions, batch {batch}", figures, goal, met))


def measure_throughput(machine: Machine, add: Add) -> None:
    """Pictures a second of our sampler without regions, and of the stock pipeline."""
    steps, turns = (2, 1) if machine.smoke else (25, 3)
    base = random_base(machine, "sd15", torch.bfloat16)
    side = _side(base)
    layout = Layout(PROMPTS[0], side, side)
    with sampling(base) as sampler:
        for batch in BATCHES:
            machine.free()
            machine.reset_peak()
            seeds = range(batch)

            def ours(seeds: range = seeds) -> None:
                sampler.sample(layout, seeds=seeds, steps=steps, guidance=GUIDANCE)

            ways = {"ours": ours, "stock": _stock(base, batch, steps)}
            times = taken_in_turns(ways, turns, time.perf_counter)
            figures: dict[str, Any] = {
                "images_per_second": round(batch / median(times["ours"]), 3),
                "stock_images_per_second": round(batch / median(times["stock"]), 3),
                "steps": steps,
                "side": side,
                **machine.peak(),
            }
            add(Row("throughput", f"sd15 bfloat16, batch {batch}", figures))


def _stock(base: Base, batch: int, steps: int) -> Callable[[], None]:
    """diffusers' own call, with the scheduler that our sampler takes by default."""
    pipeline, side = base.pipeline, _side(base)

    @torch.no_grad()
    def draw() -> None:
        kept = pipeline.scheduler
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(kept.config)
        try:
            pipeline(
                prompt=[PROMPTS[0]] * batch,
                negative_prompt=[""] * batch,
                height=side,
                width=side,
                num_inference_steps=steps,
                guidance_scale=GUIDANCE,
                generator=[torch.Generator().manual_seed(n) for n in range(batch)],
            )
        finally:
            pipeline.scheduler = kept

    return draw


def _side(base: Base) -> int:
    return int(base.unet.config.sample_size) * int(base.pipeline.vae_scale_factor)
