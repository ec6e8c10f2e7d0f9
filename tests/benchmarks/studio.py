"""The studio's page in a real Chromium, on `mini`: how long a person waits.

    python -m tests.benchmarks.studio [--turns 5]

Three JSON lines. `first_picture`: seconds from opening the page until its picture of
two regions is shown, with the base's own settings; `cold` the base is not loaded when
the page is opened, `loaded` it is. `preview`: seconds from the end of the step that a
preview shows until the page has it on the screen. `overhead`: the seconds that the
sampling thread spends on previews at the studio's own pace, as a share of all its
others; and the seconds of a picture with previews and, in turns, without.

`load` is the machine's in the last minute, this benchmark's own part included: times
mean little where it is far above the number of cores.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import torch

from mos_client.sampling import SamplingStep
from mos_client.studio import Studio
from mos_client.studio.app import studio_app
from mos_client.studio.job import Job
from mos_client.studio.order import Order
from mos_client.studio.worker import Worker
from mos_model.sampling.sampler import Sampler
from mos_pages import Page, serve
from tests.pages.browsing import CHROMIUM, chromium
from tests.studio.conftest import Visit
from tests.support.homes import home_with_release

CONCEPTS: Final = [("north", "rex"), ("south", "miso")]
PREVIEW_EVERY: Final = Order({}).preview_every
NEVER: Final = 1000
NOTES: Final = "notes.jsonl"
NOTE_PREVIEWS: Final = """() => {
  window.previews = [];
  document.getElementById("paper").addEventListener("load", (event) => {
    const step = /preview\\?step=(\\d+)/.exec(event.target.src);
    if (step) requestAnimationFrame(() => previews.push([Number(step[1]), Date.now()]));
  }, true);
}"""
ORDER: Final = """(order) => import("/shared/api.js")
  .then((api) => api.post("/api/jobs", order)).then((made) => made.id)"""
STATE: Final = """(id) => fetch("/api/jobs").then((answer) => answer.json())
  .then((now) => now.jobs.find((job) => job.id === id).state)"""


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description="The studio's page, timed.")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        _serve(options.serve)
        return
    if CHROMIUM is None:
        _print("all", {"skipped": "no Chromium here"})
        return
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        home = home_with_release(Path(folder), "mini", CONCEPTS).folder
        with _served(home) as address:
            _print("first_picture", _first_pictures(browser, address, options.turns))
            visit = _opened(browser, address)
            _print("preview", _latencies(visit, home / NOTES, options.turns))
            _print("overhead", _overhead(visit, home / NOTES, options.turns))
            visit.page.context.close()


def _print(what: str, figures: dict[str, Any]) -> None:
    line = {"benchmark": "studio", "base": "mini", "what": what, **figures}
    load = round(os.getloadavg()[0], 1)
    print(
        json.dumps(line | {"threads": torch.get_num_threads(), "load": load}),
        flush=True,
    )


class Watched(Worker):
    """The studio's worker, which notes when previews begin and how long all takes."""

    def __init__(self, studio: Studio, notes: Path) -> None:
        """See `Worker`."""
        super().__init__(studio)
        self._notes = notes
        self._begun = self._previews = 0.0
        draw, decoded = studio.draw, Sampler.decoded

        def timed_draw(*given: Any) -> Any:
            start, self._previews = time.time(), 0.0
            result = draw(*given)
            self._note(drawing=time.time() - start, previews=self._previews)
            return result

        def timed_decoded(sampler: Sampler, latents: torch.Tensor) -> Any:
            self._begun = time.time()
            return decoded(sampler, latents)

        studio.draw = timed_draw  # type: ignore[assignment,method-assign]
        Sampler.decoded = timed_decoded  # type: ignore[assignment,method-assign]

    def _progress(self, job: Job, now: SamplingStep) -> None:
        super()._progress(job, now)
        if now.previews:
            self._previews += time.time() - self._begun
            self._note(step=now.step, begun=self._begun)

    def _note(self, **facts: float) -> None:
        with self._notes.open("a") as notes:
            notes.write(json.dumps(facts) + "\n")


def _serve(home: Path) -> None:
    """Serve the page as `mos-client studio` does, with a worker that is watched."""
    studio = Studio(home)
    worker = Watched(studio, home / NOTES)
    with suppress(KeyboardInterrupt):
        serve(
            Page("Studio", "mos-client studio", "127.0.0.1", 0),
            lambda keys: studio_app(studio, keys, worker=worker),
            lock=studio.home.studio / ".lock",
            ready=lambda keys: print(keys.address, flush=True),
        )


@contextmanager
def _served(home: Path) -> Iterator[str]:
    """The address of the page, served by a process of its own."""
    command = [sys.executable, "-m", __spec__.name, "--serve", str(home)]
    # As every command of `mos-client` has it (`mos_runtime.console`).
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def _opened(browser: Any, address: str) -> Visit:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    return Visit(context.new_page()).open(address)


def _first_pictures(browser: Any, address: str, turns: int) -> dict[str, Any]:
    cold, *loaded = [_first_picture(browser, address) for _ in range(turns + 1)]
    return {
        "seconds": {
            "cold": round(cold[1], 2),
            "loaded": round(statistics.median(one[1] for one in loaded), 2),
            "most": round(max(one[1] for one in loaded), 2),
        },
        "open_seconds": round(statistics.median(one[0] for one in loaded), 2),
        "turns": turns,
    }


def _first_picture(browser: Any, address: str) -> tuple[float, float]:
    """Seconds until the page is open, and until its picture is shown."""
    start = time.perf_counter()
    visit = _opened(browser, address)
    opened = time.perf_counter() - start
    page = visit.page
    for left, name in ((0.05, "rex"), (0.55, "miso")):
        page.click("#tool-box")
        visit.drag((left, 0.05), (left + 0.4, 0.95))
        page.fill("#region-prompt", f"a photo of <{name}>")
    page.fill("#prompt", "a photo on the beach")
    page.click("#sample")
    page.wait_for_selector("#shown:not([hidden])", timeout=300_000)
    seconds = time.perf_counter() - start
    page.context.close()
    return opened, seconds


def _latencies(visit: Visit, notes: Path, turns: int) -> dict[str, Any]:
    visit.page.evaluate(NOTE_PREVIEWS)
    seconds, made = list[float](), 0
    for _ in range(turns):
        visit.page.evaluate("() => { window.previews.length = 0; }")
        begun = {one["step"]: one["begun"] for one in _noted(visit, notes)[:-1]}
        made += len(begun)
        for step, shown in visit.page.evaluate("window.previews"):
            seconds.append(shown / 1000 - begun[step])
    return {
        "seconds": {
            "median": round(statistics.median(seconds), 3),
            "most": round(max(seconds), 3),
        },
        "shown": len(seconds),
        "made": made,
        "every": PREVIEW_EVERY,
    }


def _overhead(visit: Visit, notes: Path, turns: int) -> dict[str, Any]:
    times: dict[str, list[float]] = {"with": [], "without": []}
    shares: list[float] = []
    for turn in range(turns):
        pairs = [("with", PREVIEW_EVERY), ("without", NEVER)]
        for kind, every in pairs if turn % 2 else reversed(pairs):
            last = _noted(visit, notes, every)[-1]
            times[kind].append(last["drawing"])
            if kind == "with":
                rest = last["drawing"] - last["previews"]
                shares.append(last["previews"] / rest)
    return {
        "share": round(statistics.median(shares), 3),
        "most": round(max(shares), 3),
        "seconds": {
            k: round(statistics.median(found), 3) for k, found in times.items()
        },
        "steps": int(visit.page.input_value("#set-steps")),
        "every": PREVIEW_EVERY,
        "turns": turns,
    }


def _noted(
    visit: Visit, notes: Path, every: int = PREVIEW_EVERY
) -> list[dict[str, float]]:
    """What is noted of one order: each preview, and the drawing as a whole at last."""
    notes.write_text("")
    _ordered(visit, every)
    return [json.loads(line) for line in notes.read_text().splitlines()]


def _ordered(visit: Visit, every: int) -> None:
    """Order a picture of two regions through the page, and wait until it is done."""
    regions = [
        {"prompt": f"a photo of <{name}>", "box": [left, 0.05, left + 0.4, 0.95]}
        for left, name in ((0.05, "rex"), (0.55, "miso"))
    ]
    width, height = (int(visit.page.input_value(id_)) for id_ in ("#width", "#height"))
    order = {
        "layout": {
            "prompt": "a photo on the beach",
            "width": width,
            "height": height,
            "regions": regions,
        },
        "preview_every": every,
    }
    id_ = visit.page.evaluate(ORDER, order)
    while (state := visit.page.evaluate(STATE, id_)) in ("queued", "running"):
        time.sleep(0.1)
    if state != "done":
        raise RuntimeError(f"the order ended as {state}")


if __name__ == "__main__":
    main()
