"""Which individuals a draw holds.

Every range is a series of draws of its own, without end. Defaults are chosen on
`choose` and reported on `report`; `reserve` is for whoever doubts both, and nothing
may be chosen on it. A draw's salt names its range, so no individual is in two of them.
"""

import random
from typing import Final

from mos_lab.errors import EvaluationError
from mos_zoo.world.individuals import MIXED

RANGES: Final = ("choose", "report", "reserve")


def salt_of(range_name: str, number: int) -> str:
    """The salt of a draw's individuals, see `mos_zoo.world.individuals`.

    Raises:
        EvaluationError: no such range.
    """
    if range_name not in RANGES:
        raise EvaluationError(
            f"range {range_name!r}: the ranges of draws are {', '.join(RANGES)}"
        )
    return f"{range_name}/{number}"


def three_classes(salt: str, count: int) -> list[str]:
    """Names of three of the first `count` individuals, for regional pictures.

    Of different classes where `count` is at most 8: they have one class each.
    """
    return random.Random(f"regions/{salt}").sample(MIXED[: min(count, 8)], 3)
