"""A simulation's progress as plain lines, where standard error is no terminal.

A pipe or a log shows nothing of a moving bar; it gets a line at every change of state
and, in between, one every few seconds.
"""

import time
from typing import TYPE_CHECKING, Final

from mos_runtime.console import console

if TYPE_CHECKING:
    from mos_lab.simulation.progress import SimulationProgress, SiteProgress

EVERY_SECONDS: Final = 5.0
MOST_SITES: Final = 16
"""Of more sites, only the number is shown."""

JUDGED: Final = ("accepted", "refused", "failed", "delivered")


class ProgressLines:
    """Does what `SimulationDisplay` does, line by line."""

    def __init__(self, *, every_seconds: float = EVERY_SECONDS) -> None:
        """Nothing is shown before it is entered.

        Args:
            every_seconds: Between two lines on the same piece of work.
        """
        self._every = every_seconds
        self._states: dict[str, str] = {}
        self._said: dict[str, float] = {}
        self._begun = time.monotonic()

    def __enter__(self) -> "ProgressLines":
        """Say that it starts."""
        self._say("starting Flower")
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""

    def show(self, now: "SimulationProgress") -> None:
        """Say where the simulation stands, where that is news."""
        if now.started:
            self._change("centre", "centre: ready")
        many = len(now.sites) > MOST_SITES
        if many:
            done = sum(site.state in JUDGED for site in now.sites.values())
            self.count("bundles judged", done, len(now.sites))
        for name, site in () if many else now.sites.items():
            if site.state == "tuning" and site.step:
                self._now_and_then(name, _tuning(name, site))
            elif site.state != "waiting":
                self._change(name, _state(name, site))
        if now.release:
            self._change("release", f"centre: release {now.release} is published")
        elif now.fusing:
            line = f"centre: fusing {now.fusing:.0%}, {now.fusing_what}"
            self._now_and_then("fusing", line)

    def count(self, title: str, done: int, total: int, note: str = "") -> None:
        """Say how far another piece of work is."""
        line = f"{title}: {done}/{total} {note}"
        if done == total:
            self._change(title, line)
        else:
            self._now_and_then(title, line)

    def _change(self, key: str, line: str) -> None:
        if self._states.get(key) != line:
            self._states[key] = line
            self._say(line)

    def _now_and_then(self, key: str, line: str) -> None:
        moment = time.monotonic()
        if key not in self._said or moment - self._said[key] >= self._every:
            self._said[key] = moment
            self._say(line)

    def _say(self, line: str) -> None:
        seconds = time.monotonic() - self._begun
        console.print(f"{seconds:4.0f} s  {line}", markup=False, soft_wrap=True)


def _state(name: str, site: "SiteProgress") -> str:
    concept = f"<{site.concept}> " if site.concept else ""
    reason = f": {site.reason}" if site.reason else ""
    return f"{name}: {concept}{site.state}{reason}"


def _tuning(name: str, site: "SiteProgress") -> str:
    loss = "" if site.loss is None else f", loss {site.loss:.4f}"
    return f"{name}: <{site.concept}> tuning {site.step}/{site.steps}{loss}"
