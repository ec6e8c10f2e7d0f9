"""Who is to blame: the concept without which the figures are best."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mos_server.fusion.gate.behaviour import Behaviour, weight
from mos_server.fusion.gate.limits import GateLimits

Candidate = TypeVar("Candidate")


@dataclass(frozen=True)
class Trial(Generic[Candidate]):
    """The figures without one candidate."""

    gone: Candidate
    rest: Behaviour
    excess: float
    """`weight` of `rest`."""


def trials(
    groups: Iterable[Sequence[Candidate]],
    behaviour_without: Callable[[Candidate], Behaviour],
    limits: GateLimits,
) -> list[Trial[Candidate]]:
    """Leave each candidate out once; the one to blame comes first.

    Args:
        groups: The likeliest group first; a later one is tried only where leaving out
            one of the groups before it does not bring all figures within the limits.
        behaviour_without: Measures the fusion without a candidate.
        limits: The limits.
    """
    found: list[Trial[Candidate]] = []
    for group in groups:
        for one in group:
            rest = behaviour_without(one)
            found.append(Trial(one, rest, weight(rest, limits)))
        if any(trial.excess == 0 for trial in found):
            break
    return sorted(found, key=lambda trial: trial.excess)
