"""A tuning step of ours beside the paper's, written out plainly, and diffusers'.

    python -m tests.benchmarks.tune [--base mini] [--turns 2] [--steps 3]

One JSON line for each base: `mini` on the processor, and where there is a CUDA device
Stable Diffusion 1.5 in full size with random weights in bfloat16. All run at equal
batch, rank, precision and adapters, in turns in one run. `ratio` is ours over the
naive step's (see `_other_tuning`) in steps per second, `to_lora` ours over diffusers'
text-to-image LoRA, which trains no words and neither tunes nor unfolds the text
encoder. Times are medians over all steps but each turn's first.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from mos_client.pictures import Picture, read_folder
from mos_client.tuning import RunOptions, TuneProgress, TuneSettings, tune_concept
from mos_client.tuning.data.latents import working_side
from mos_model.bases.base import Base, load_base
from tests.benchmarks._other_tuning import naive_edlora, text_to_image_lora
from tests.benchmarks._sd15 import save_sd15
from tests.support.pictures import save_pictures

PICTURES: Final = 4
MIB: Final = 2**20


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description="Tuning steps compared.")
    parser.add_argument("--base", default="mini")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    base = load_base(options.base)
    print(json.dumps(_compare(base, options.base, options.turns, options.steps)))
    large = "Stable Diffusion 1.5, random weights"
    if not torch.cuda.is_available():
        line = {"benchmark": "tune", "base": large, "skipped": "no CUDA device here"}
        print(json.dumps(line))
        return
    with tempfile.TemporaryDirectory() as folder:
        saved = str(save_sd15(Path(folder)))
        base = load_base(saved, device="cuda", dtype=torch.bfloat16)
    print(json.dumps(_compare(base, large, options.turns, 5 * options.steps)))


def _compare(base: Base, label: str, turns: int, steps: int) -> dict[str, Any]:
    settings = TuneSettings.for_base(base, steps=steps + 1)
    side = working_side(base)
    with tempfile.TemporaryDirectory() as folder:
        saved = save_pictures(Path(folder), count=PICTURES, side=side)
        pictures = list(read_folder(saved, min_side=side).pictures)
    images = [picture.image for picture in pictures]

    def naive() -> list[float]:
        with naive_edlora(base, images, settings) as step:
            return _timed(step, steps)

    def lora() -> list[float]:
        with text_to_image_lora(base, images, settings) as step:
            return _timed(step, steps)

    ways: dict[str, Callable[[], list[float]]] = {
        "ours": lambda: _ours(base, pictures, settings),
        "naive": naive,
        "text_to_image_lora": lora,
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    peaks: dict[str, int] = {}
    for _ in range(turns):
        for way, run in ways.items():
            with _peak(base, way, peaks):
                times[way] += run()
    rates = {way: 1 / statistics.median(found) for way, found in times.items()}
    return {
        "benchmark": "tune",
        "base": label,
        "device": str(base.device),
        "precision": str(base.unet.dtype).removeprefix("torch."),
        "batch": settings.batch_size,
        "steps_per_second": {way: round(rate, 3) for way, rate in rates.items()},
        "ratio": round(rates["ours"] / rates["naive"], 2),
        "to_lora": round(rates["ours"] / rates["text_to_image_lora"], 2),
        **({"peak_mib": peaks} if peaks else {}),
        "threads": torch.get_num_threads(),
    }


def _ours(base: Base, pictures: list[Picture], settings: TuneSettings) -> list[float]:
    """Seconds of each step but the first, between one report and the next."""
    ends: list[float] = []

    def note(progress: TuneProgress) -> None:
        ends.append(time.perf_counter())

    tune_concept(
        pictures,
        base=base,
        name="rex",
        class_word="cat",
        settings=settings,
        run=RunOptions(on_progress=note),
    )
    return [after - before for before, after in itertools.pairwise(ends)]


def _timed(step: Callable[[], None], steps: int) -> list[float]:
    step()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


@contextmanager
def _peak(base: Base, way: str, peaks: dict[str, int]) -> Iterator[None]:
    """Note the most memory in MiB that a way held on a CUDA device."""
    if base.device.type != "cuda":
        yield
        return
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    yield
    peaks[way] = max(peaks.get(way, 0), torch.cuda.max_memory_allocated() // MIB)


if __name__ == "__main__":
    main()
