"""Tuning in the studio: how a concept's runs are set, and how far one is."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mos_model.errors import DataError

if TYPE_CHECKING:
    from mos_client.tuning import TuneProgress
    from mos_client.tuning.run import TuneRequest

_COUNTS: Final = ("steps", "rank", "seed", "preview_every")
_MOST: Final = {"steps": 100_000, "rank": 256, "seed": 2**31 - 1}


@dataclass(frozen=True)
class TuneOptions:
    """How a concept is tuned; None leaves the base's own."""

    class_word: str = ""
    """Ordinary word for the subject; "" has the base find one."""

    licence: str = ""
    """Terms of use, recorded in the concept."""

    steps: int | None = None
    rank: int | None = None
    seed: int | None = None
    preview_every: int | None = None
    """Steps from one grid to the next; None is a sixth of all."""

    further: tuple[str, ...] = ()
    """Other settings, as `snr_gamma=5`."""

    @staticmethod
    def from_json(entries: Any) -> "TuneOptions":
        """Options from the page.

        Raises:
            DataError: naming what is wrong in them.
        """
        if not isinstance(entries, dict):
            raise DataError("the options: an object was expected")
        given: dict[str, Any] = {}
        for key, value in entries.items():
            if key in ("class_word", "licence") and isinstance(value, str):
                given[key] = value.strip()
            elif key in _COUNTS and (value is None or type(value) is int):
                most = _MOST.get(key, _MOST["steps"])
                if value is not None and not int(key != "seed") <= value <= most:
                    raise DataError(f"{key} {value}: {int(key != 'seed')}..{most}")
                given[key] = value
            elif key == "further" and isinstance(value, list | tuple):
                given[key] = tuple(str(each).strip() for each in value if each)
            else:
                raise DataError(f"option {key!r}: not known, or no such value")
        return TuneOptions(**given)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads them."""
        return asdict(self)


@dataclass
class TuningJob:
    """A run of the studio, and how far it is."""

    request: "TuneRequest"
    state: str = "queued"
    """queued, running, stopping, stopped, done or failed."""

    phase: str = ""
    step: int = 0
    steps: int = 0
    losses: list[tuple[int, float]] = field(default_factory=list)
    started: tuple[float, int] | None = None
    """`time.monotonic` and the step of the first report."""

    seconds_left: float | None = None
    previews: list[int] = field(default_factory=list)
    error: str = ""

    def shown(self) -> dict[str, Any]:
        """The run as the page has it."""
        return {
            "state": self.state,
            "phase": self.phase,
            "step": self.step,
            "steps": self.steps,
            "losses": thinned(self.losses),
            "seconds_left": self.seconds_left,
            "previews": list(self.previews),
            "error": self.error,
        }

    def progress(self, now: "TuneProgress", moment: float) -> None:
        """Take up a step's report, made at `moment` in seconds."""
        self.phase, self.step, self.steps = "", now.step, now.steps
        self.losses.append((now.step, now.loss))
        if self.started is None:
            self.started = (moment, now.step)
            return
        since, first = self.started
        pace = (moment - since) / (now.step - first)
        self.seconds_left = pace * (now.steps - now.step)


def thinned(
    points: Sequence[tuple[int, float]], most: int = 240
) -> list[tuple[int, float]]:
    """At most about `most` of the points, the last one always."""
    every = -(-len(points) // most) if points else 1
    kept = [*points[::every]]
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return [(step, round(loss, 5)) for step, loss in kept]
