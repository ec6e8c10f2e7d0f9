"""Edge maps of masks, and how well two agree."""

import numpy as np
import pytest

from mos_zoo.world.edges import edge_f1, mask_edges


def square(top: int, left: int, side: int = 20) -> np.ndarray:
    mask = np.zeros((1, 64, 64), np.uint8)
    mask[0, top : top + side, left : left + side] = 1
    return mask


def test_edges_are_the_outermost_pixels_of_a_mask() -> None:
    edges = mask_edges(square(10, 10))
    expected = square(10, 10).astype(bool)
    expected[0, 11:29, 11:29] = False
    assert np.array_equal(edges, expected)


def test_no_edge_where_the_picture_cuts_a_mask_off() -> None:
    edges = mask_edges(square(0, 0))
    assert not edges[0, 0, :19].any()
    assert edges[0, 19, :20].all()
    assert not mask_edges(np.ones((1, 64, 64), bool)).any()


@pytest.mark.parametrize(
    ("shift", "least", "most"), [(0, 1, 1), (1, 1, 1), (8, 0, 0.2)]
)
def test_edges_count_within_a_pixel(shift: int, least: float, most: float) -> None:
    wanted = mask_edges(square(10, 10))
    found = mask_edges(square(10 + shift, 10 + shift))
    assert least <= edge_f1(found, wanted) <= most


def test_a_picture_without_edges_follows_nothing() -> None:
    wanted = mask_edges(square(10, 10))
    assert edge_f1(np.zeros_like(wanted), wanted) == 0


def test_edges_beside_the_wanted_ones_cost_precision() -> None:
    wanted = mask_edges(square(10, 10, 12))
    found = wanted | mask_edges(square(40, 40, 12))
    assert edge_f1(found, wanted) == pytest.approx(2 / 3)
