"""How far a fusion is, counted in sampling steps."""

from collections.abc import Callable

OnProgress = Callable[[str, float], None]
"""Called with what happens now, and how much of the fusion is done, 0 to 1."""


def silent(what: str, share: float) -> None:
    """Report nothing."""


def part_of(on_progress: OnProgress, first: float, last: float) -> OnProgress:
    """Progress of a part: its 0 to 1 is `first` to `last` of the whole."""
    return lambda what, share: on_progress(what, first + share * (last - first))


class SamplingProgress:
    """Counts the sampling steps of some captures."""

    def __init__(
        self, on_progress: OnProgress, total: int, *, share: float = 1.0
    ) -> None:
        """Nothing is done yet.

        Args:
            on_progress: Called at every start and step.
            total: How many steps there are in all.
            share: Part of the whole work that these steps are.
        """
        self._on_progress, self._unit = on_progress, share / total
        self._done, self._what = 0, ""

    def start(self, what: str) -> None:
        """A capture begins."""
        self._what = what
        self._report()

    def step(self) -> None:
        """A sampling step is done."""
        self._done += 1
        self._report()

    def _report(self) -> None:
        self._on_progress(self._what, self._done * self._unit)
