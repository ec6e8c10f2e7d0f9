"""The studio's page in a real Chromium, on `mini`: how long a person waits.

    python -m tests.benchmarks.studio [--turns 5]

Three JSON lines. `first_picture`: seconds from opening the page until its picture of
two regions is shown, with the base's own settings; `cold` the base is not loaded when
the page is opened, `loaded` it is. `preview`: seconds from the end of the step that a
preview shows until the page has it on the screen. `overhead`: what previews at the
studio's own pace add to the seconds of sampling, in turns with orders that have none;
the page is open and watches both.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from mos_client.studio import Studio
from mos_client.studio.app import studio_app
from mos_client.studio.order import Order
from mos_client.studio.worker import Worker
from mos_model.sampling.sampler import Sampler
from mos_pages import Keys, Page, serve
from tests.pages.browsing import CHROMIUM, chromium
from tests.studio.conftest import Visit
from tests.support.homes import home_with_release

CONCEPTS: Final = [("north", "rex"), ("south", "miso")]
PREVIEW_EVERY: Final = Order({}).preview_every
NEVER: Final = 1000
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
    options = parser.parse_args()
    if CHROMIUM is None:
        _print("all", {"skipped": "no Chromium here"})
        return
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        studio = Studio(home_with_release(Path(folder), "mini", CONCEPTS).folder)
        address, spent = _served(studio)
        _print("first_picture", _first_pictures(browser, address, options.turns))
        visit = _opened(browser, address)
        _print("preview", _latencies(visit, options.turns))
        _print("overhead", _overhead(visit, spent, options.turns))


def _print(what: str, figures: dict[str, Any]) -> None:
    line = {"benchmark": "studio", "base": "mini", "what": what, **figures}
    print(json.dumps(line | {"threads": torch.get_num_threads()}), flush=True)


def _served(studio: Studio) -> tuple[str, list[float]]:
    """Serve the page from a thread; its address, and the seconds of each drawing."""
    ready, found, spent = threading.Event(), list[Keys](), list[float]()
    draw = studio.draw

    def timed(*given: Any) -> Any:
        start = time.perf_counter()
        result = draw(*given)
        spent.append(time.perf_counter() - start)
        return result

    studio.draw = timed  # type: ignore[assignment,method-assign]

    def tell(keys: Keys) -> None:
        found.append(keys)
        ready.set()

    def run() -> None:
        serve(
            Page("Studio", "mos-client studio", "127.0.0.1", 0),
            lambda keys: studio_app(studio, keys, worker=Worker(studio)),
            lock=studio.home.studio / ".lock",
            ready=tell,
        )

    threading.Thread(target=run, daemon=True).start()
    ready.wait()
    return found[0].address, spent


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


def _latencies(visit: Visit, turns: int) -> dict[str, Any]:
    visit.page.evaluate(NOTE_PREVIEWS)
    decoded, seconds, made = Sampler.decoded, list[float](), 0
    ends: list[float] = []

    def noted(self: Sampler, latents: torch.Tensor) -> Any:
        ends.append(time.time())
        return decoded(self, latents)

    Sampler.decoded = noted  # type: ignore[method-assign]
    try:
        for _ in range(turns):
            ends.clear()
            visit.page.evaluate("() => { window.previews.length = 0; }")
            _ordered(visit, PREVIEW_EVERY)
            made += len(ends)
            for step, shown in visit.page.evaluate("window.previews"):
                seconds.append(shown / 1000 - ends[step // PREVIEW_EVERY - 1])
    finally:
        Sampler.decoded = decoded  # type: ignore[method-assign]
    return {
        "seconds": {
            "median": round(statistics.median(seconds), 3),
            "most": round(max(seconds), 3),
        },
        "shown": len(seconds),
        "made": made,
        "every": PREVIEW_EVERY,
    }


def _overhead(visit: Visit, spent: Sequence[float], turns: int) -> dict[str, Any]:
    times: dict[str, list[float]] = {"with": [], "without": []}
    for turn in range(turns):
        pairs = [("with", PREVIEW_EVERY), ("without", NEVER)]
        for kind, every in pairs if turn % 2 else reversed(pairs):
            _ordered(visit, every)
            times[kind].append(spent[-1])
    seconds = {kind: statistics.median(found) for kind, found in times.items()}
    return {
        "seconds": {kind: round(found, 3) for kind, found in seconds.items()},
        "share": round(seconds["with"] / seconds["without"] - 1, 3),
        "steps": int(visit.page.input_value("#set-steps")),
        "every": PREVIEW_EVERY,
        "turns": turns,
    }


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
