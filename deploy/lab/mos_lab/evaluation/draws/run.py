"""All draws of a range, side by side in processes of their own, and their summary.

The draws with the most concepts begin first. The summary is written anew after every
draw, from what each has written so far.
"""

import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mos_lab.evaluation.draws.config import DrawsConfig
from mos_lab.evaluation.draws.one_draw import FILE, find_draw
from mos_lab.evaluation.draws.report import markdown
from mos_lab.evaluation.draws.summary import summary_of
from mos_runtime.files import write_atomically

JSON_FILE: Final = "draws.json"
PAGE_FILE: Final = "draws.md"


def evaluate_draws(
    config: DrawsConfig,
    out: Path,
    *,
    on_draw: Callable[[int, int], None] = lambda _done, _total: None,
) -> Path:
    """Find all draws, or go on where an earlier run stopped.

    Args:
        config: Which draws, and what is found of each.
        out: The folder for everything.
        on_draw: Called after each with the draws done and the draws of all.

    Returns:
        The Markdown page; the figures are in `JSON_FILE` next to it.

    Raises:
        MosError: the base, the metrics or the concepts cannot be used.
    """
    numbers = range(config.draws)
    folders = {n: out / f"{config.range_name}-{n}" for n in numbers}
    jobs = min(config.jobs, config.draws)
    if jobs == 1:
        for done, number in enumerate(numbers, 1):
            find_draw(config, number, folders[number])
            write_summary(config, out)
            on_draw(done, config.draws)
        return write_summary(config, out)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    # Forked children of a process that has used CUDA cannot use it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        running = [
            pool.submit(find_draw, config, number, folders[number], threads)
            for number in numbers
        ]
        for done, finished in enumerate(as_completed(running), 1):
            finished.result()
            write_summary(config, out)
            on_draw(done, config.draws)
    return write_summary(config, out)


def write_summary(config: DrawsConfig, out: Path) -> Path:
    """Write the summary of what the draws of a folder have so far; its page."""
    found: list[dict[str, Any]] = []
    for number in range(config.draws):
        path = out / f"{config.range_name}-{number}" / FILE
        if path.is_file():
            found.append(json.loads(path.read_text("utf-8")))
    summary = summary_of(found)
    text = json.dumps({"config": asdict(config), **summary}, indent=1, sort_keys=True)
    write_atomically(out / JSON_FILE, f"{text}\n".encode())
    page = out / PAGE_FILE
    write_atomically(page, markdown(config, summary).encode())
    return page
