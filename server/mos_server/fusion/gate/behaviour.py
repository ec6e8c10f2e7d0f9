"""The decision rule: what was measured of a fused model, and what exceeds a limit."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mos_server.fusion.gate.limits import GateLimits


@dataclass(frozen=True)
class Behaviour:
    """What a fused model does; see `GateLimits` for the units."""

    generic: float = 0.0
    words: Mapping[str, float] = field(default_factory=dict)
    """Prompt of an ordinary word -> distance from the base."""

    concepts: Mapping[str, float] = field(default_factory=dict)
    """Concept -> distance from the last release."""

    lost: Mapping[str, float] = field(default_factory=dict)
    """Concept -> `FusionReport.conflict`."""


@dataclass(frozen=True)
class Excess:
    """One figure beyond its limit."""

    what: str
    value: float
    limit: float

    @property
    def times(self) -> float:
        """By how much of the limit it exceeds it; NaN counts as endless."""
        share = self.value / self.limit if self.limit else float("inf")
        return share - 1 if share == share else float("inf")

    def __str__(self) -> str:
        """In words, for the operator and the site."""
        return f"{self.what}: {self.value:.3g} (limit {self.limit:g})"


def excesses(behaviour: Behaviour, limits: GateLimits) -> list[Excess]:
    """Every figure that is not within its limit, the worst first."""
    figures = [("generic pictures moved", behaviour.generic, limits.generic)]
    for what, found, limit in (
        ("pictures of {!r} moved", behaviour.words, limits.words),
        ("pictures of {} moved", behaviour.concepts, limits.concepts),
        ("share lost of {}", behaviour.lost, limits.lost_among(len(behaviour.lost))),
    ):
        figures += [(what.format(name), one, limit) for name, one in found.items()]
    beyond = [Excess(*figure) for figure in figures if not figure[1] <= figure[2]]
    return sorted(beyond, key=lambda excess: -excess.times)


def weight(behaviour: Behaviour, limits: GateLimits) -> float:
    """How far all figures together are beyond their limits; 0 is within all.

    One figure counts at most 10, so that a single broken picture does not hide the
    others.
    """
    return sum((min(one.times, 10.0) for one in excesses(behaviour, limits)), 0.0)
