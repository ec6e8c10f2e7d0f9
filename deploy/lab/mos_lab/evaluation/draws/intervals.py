"""Bootstrap intervals over individuals (percentile method, Efron 1979)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

RESAMPLES: Final = 5000
_LEVEL: Final = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval."""

    estimate: float
    low: float
    high: float
    count: int
    """Individuals it is taken over."""


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean of some values."""
    return ratio_interval(values, [1.0] * len(values))


def ratio_interval(above: Sequence[float], below: Sequence[float]) -> Interval:
    """sum(above) / sum(below), both of the same individuals, resampled together.

    Args:
        above: At least one value.
        below: As many; their sum is not 0.
    """
    pairs = np.array([above, below], dtype=float)
    count = pairs.shape[1]
    # Seeded: the same figures give the same interval.
    chosen = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    sums = pairs[:, chosen].sum(-1)
    tail = 100 * (1 - _LEVEL) / 2
    low, high = np.percentile(sums[0] / sums[1], [tail, 100 - tail])
    total = pairs.sum(1)
    return Interval(float(total[0] / total[1]), float(low), float(high), count)
