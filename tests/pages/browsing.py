"""A real Chromium, and pages in it that may ask nobody but their own server."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import pytest

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
AXE = Path(__file__).parent / "axe" / "axe.min.js"
SERIOUS = ("serious", "critical")


class Visited(Protocol):
    """A page in a browser, and all that it asked for."""

    page: Any
    requested: list[str]
    problems: list[str]


V = TypeVar("V", bound=Visited)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; skips where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is missing")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with api.sync_playwright() as started:
        found = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield found
        found.close()


@contextmanager
def visits(browser: Any, kind: Callable[[Any], V]) -> Iterator[Callable[..., V]]:
    """Makes pages; at the end none may have asked another machine, or broken down."""
    contexts, made = [], list[V]()

    def visit(width: int = 1440, height: int = 900, **options: Any) -> V:
        context = browser.new_context(
            viewport={"width": width, "height": height}, **options
        )
        contexts.append(context)
        one = kind(context.new_page())
        # From the start: a key that opens a dialog may be faster than a later listener.
        one.page.on("filechooser", lambda chooser: None)
        one.page.on("request", lambda request: one.requested.append(request.url))
        one.page.on("pageerror", lambda error: one.problems.append(str(error)))
        made.append(one)
        return one

    yield visit
    for context in contexts:
        context.close()
    for one in made:
        hosts = {urlsplit(url).hostname for url in one.requested} - {None}
        assert hosts <= {"127.0.0.1"}, hosts
        assert one.requested
        assert one.problems == []


def serious_faults(page: Any) -> list[tuple[str, list[Any]]]:
    """What axe-core finds of serious or critical faults of access."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run(document).then(all => all.violations)")
    return [
        (each["id"], [node["target"] for node in each["nodes"]])
        for each in found
        if each["impact"] in SERIOUS
    ]


def width_of(page: Any) -> int:
    """How wide the page is laid out; wider than the window, it scrolls sideways."""
    return int(page.evaluate("document.documentElement.scrollWidth"))


CUT_OFF = """() => {
  const sideways = (one) => one.closest(".scroll, .gallery, .tools, svg, textarea");
  const beyond = (one) => one.getBoundingClientRect().right > innerWidth + 1;
  const scrolls = (one) =>
    one.scrollWidth > one.clientWidth + 1 &&
    /auto|scroll/.test(getComputedStyle(one).overflowX);
  return [...document.querySelectorAll("body *")]
    .filter((one) => one.checkVisibility() && !sideways(one))
    .filter((one) => beyond(one) || scrolls(one))
    .map((one) => one.id || one.className || one.tagName);
}"""


def cut_off(page: Any) -> list[str]:
    """What reaches beyond the window, or hides a part of itself at the right.

    Tables, the gallery and the tools may be scrolled sideways.
    """
    return list(page.evaluate(CUT_OFF))
