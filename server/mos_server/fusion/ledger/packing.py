"""Moments as they are kept and summed: triangles, in exact arithmetic.

A moment is symmetric, so its upper triangle is all of it. Sums are kept in fixed point,
int64 in units of 2^-36: integers add up exactly in any order, and what was added is
taken away again to the last bit. So a ledger that some concept has joined and left is
bit for bit one that never saw it, however often that happens; a sum of floats would
drift. A unit is 1.5e-11 of a balanced moment's mean diagonal, which is 1; the float32
that moments are captured in is a thousand times coarser.
"""

import math
from functools import lru_cache
from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_UNIT: Final = 2.0**-36
_SIZES: Final = 8
"""Sizes whose indices are kept: a base has four or so, the largest of 13 MB."""


def packed(gram: Float[Tensor, "d d"]) -> Float[Tensor, " entries"]:
    """The upper triangle, row by row, d (d + 1) / 2 entries, on the CPU."""
    rows, columns = _triangle(gram.shape[0])
    return gram.cpu()[rows, columns]


def unpacked(triangle: Float[Tensor, " entries"]) -> Float[Tensor, "d d"]:
    """The symmetric matrix of a triangle; `packed(unpacked(t)) == t`."""
    size = _size(triangle.numel())
    rows, columns = _triangle(size)
    gram = triangle.new_empty(size, size)
    gram[rows, columns] = triangle
    gram[columns, rows] = triangle
    return gram


def balanced(triangle: Float[Tensor, " entries"]) -> Float[Tensor, " entries"]:
    """The same moment in float64 with trace d, or of zeros where it has none."""
    wide = triangle.double()
    size = _size(triangle.numel())
    trace = wide[_diagonal(size)].sum()
    return wide * (size / trace) if trace > 0 else wide


def counted(triangle: Float[Tensor, " entries"]) -> Int64[Tensor, " entries"]:
    """A balanced triangle in units of 2^-36, rounded to the nearest."""
    return (triangle.double() / _UNIT).round().long()


def measured(units: Int64[Tensor, " entries"]) -> Float[Tensor, " entries"]:
    """The float64 triangle of a sum of units."""
    return units.double() * _UNIT


def _size(entries: int) -> int:
    """The d of d (d + 1) / 2 entries."""
    size = (math.isqrt(8 * entries + 1) - 1) // 2
    assert size * (size + 1) // 2 == entries
    return size


@lru_cache(maxsize=_SIZES)
def _triangle(size: int) -> tuple[Tensor, Tensor]:
    rows, columns = torch.triu_indices(size, size)
    return rows, columns


@lru_cache(maxsize=_SIZES)
def _diagonal(size: int) -> Tensor:
    """Where a triangle has its matrix's diagonal."""
    rows, columns = _triangle(size)
    return (rows == columns).nonzero()[:, 0]
