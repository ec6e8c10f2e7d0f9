"""Edge maps of masks, for controls to follow, and how well two of them agree."""

from typing import Final

import numpy as np
from jaxtyping import Bool, Shaped

TOLERANCE: Final = 1
"""Pixels by which an edge may miss its place, in both directions."""


def mask_edges(
    masks: Shaped[np.ndarray, "n height width"],
) -> Bool[np.ndarray, "n height width"]:
    """The outermost pixels of masks; none where the picture cuts a mask off."""
    inside = masks.astype(bool)
    padded = np.pad(inside, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = (
        padded[:, :-2, 1:-1]
        & padded[:, 2:, 1:-1]
        & padded[:, 1:-1, :-2]
        & padded[:, 1:-1, 2:]
    )
    edges: Bool[np.ndarray, "n height width"] = inside & ~around
    return edges


def edge_f1(
    found: Bool[np.ndarray, "n height width"],
    wanted: Bool[np.ndarray, "n height width"],
) -> float:
    """Mean over pictures of F1 = 2 P R / (P + R), to within `TOLERANCE` pixels.

    P is the share of found edge pixels near a wanted one, R that of wanted ones near
    a found one; a picture without any found edge counts 0.
    """
    near_wanted, near_found = _thickened(wanted), _thickened(found)
    axes = (1, 2)
    precision = (found & near_wanted).sum(axes) / np.maximum(1, found.sum(axes))
    recall = (wanted & near_found).sum(axes) / np.maximum(1, wanted.sum(axes))
    total = np.maximum(1e-9, precision + recall)
    return float((2 * precision * recall / total).mean())


def _thickened(
    edges: Bool[np.ndarray, "n height width"],
) -> Bool[np.ndarray, "n height width"]:
    padded = np.pad(edges, ((0, 0), *((TOLERANCE, TOLERANCE),) * 2))
    height, width = edges.shape[1:]
    thick = np.zeros_like(edges)
    for y in range(2 * TOLERANCE + 1):
        for x in range(2 * TOLERANCE + 1):
            thick |= padded[:, y : y + height, x : x + width]
    return thick
