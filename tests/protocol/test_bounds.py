"""The bounds' small factorisation against the dense one."""

import numpy as np
import pytest

from mos_protocol.rules.bounds import update_singular_values


@pytest.mark.parametrize(("d_out", "rank", "d_in"), [(12, 3, 9), (4, 1, 7), (3, 5, 4)])
def test_singular_values_equal_those_of_the_dense_update(
    d_out: int, rank: int, d_in: int
) -> None:
    random = np.random.default_rng(0)
    down = random.standard_normal((rank, d_in)).astype(np.float32)
    up = random.standard_normal((d_out, rank)).astype(np.float32)
    dense = np.linalg.svd(up.astype(float) @ down.astype(float), compute_uv=False)
    found = update_singular_values(down, up)
    assert np.allclose(found, dense[: len(found)], rtol=1e-10, atol=1e-12)
    assert np.allclose(dense[len(found) :], 0, atol=1e-12)


def test_largest_numbers_do_not_overflow() -> None:
    largest = np.finfo(np.float32).max
    down, up = np.full((2, 3), largest, "<f4"), np.full((4, 2), largest, "<f4")
    assert np.isfinite(update_singular_values(down, up)).all()
