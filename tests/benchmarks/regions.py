"""What regions cost: one wide picture with and without them.

    python -m tests.benchmarks.regions [--base mini] [--regions 3]

One JSON line. `ratio` is a regional picture's time over that of a picture of equal
size from one prompt, measured in turns in one run; `separate_ratio` is the time of one
whole picture for each region, which is what pasting them together would take.
"""

import argparse
import json
import statistics
import time
from typing import Final

import torch

from mos_shared.base import load_base
from mos_shared.sampling import Layout, Region, Sampler, sampling

TURNS: Final = 3
STEPS: Final = 10


def main() -> None:
    """Print the line."""
    parser = argparse.ArgumentParser(description="What regions cost.")
    parser.add_argument("--base", default="mini")
    parser.add_argument("--regions", type=int, default=3)
    options = parser.parse_args()
    base, count = load_base(options.base), options.regions
    side = int(base.unet.config.sample_size) * int(base.pipeline.vae_scale_factor)
    width = side * count
    regions = tuple(
        Region("a photo of a cat", (index / count, 0, (index + 1) / count, 1))
        for index in range(count)
    )
    plain = Layout("a photo of a cat", width, side)
    regional = Layout("a photo", width, side, regions=regions)
    times: dict[str, list[float]] = {"plain": [], "regional": []}
    with sampling(base) as sampler:
        _seconds(sampler, plain)
        for _ in range(TURNS):
            times["plain"].append(_seconds(sampler, plain))
            times["regional"].append(_seconds(sampler, regional))
    one, ours = (statistics.median(times[kind]) for kind in ("plain", "regional"))
    print(
        json.dumps(
            {
                "benchmark": "regions",
                "base": options.base,
                "size": f"{width}x{side}",
                "regions": count,
                "steps": STEPS,
                "seconds": round(ours, 3),
                "ratio": round(ours / one, 3),
                "separate_ratio": round(count * one / ours, 3),
                "threads": torch.get_num_threads(),
            }
        )
    )


def _seconds(sampler: Sampler, layout: Layout) -> float:
    start = time.perf_counter()
    sampler.sample(layout, seeds=[0], steps=STEPS)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
