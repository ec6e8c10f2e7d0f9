"""How much of each cell belongs to each region, at every resolution of the UNet."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mos_model.layouts.layout import Layout


class Shares:
    r"""The shares of a layout's context and regions in the UNet's cells.

    With c_r the part of a cell that region r covers, and regions of one z averaged by
    weight w and laid over those of lower z, a region's share is

        s_r = prod_{z > z_r} (1 - C_z) * C_{z_r} * w_r c_r / sum_{z_q = z_r} w_q c_q,
        C_z = max_{z_r = z} c_r,

    and the context has the rest, s_0 = prod_z (1 - C_z). Shares of a cell add up to 1.
    Without overlaps, s_r = c_r. A region that is not soft covers whole cells: those
    it covers by half or more, and one at least.
    """

    def __init__(
        self, layout: Layout, latent_size: tuple[int, int], *, levels: int
    ) -> None:
        """Work out the shares at `levels` halvings of the latents.

        Args:
            layout: The layout.
            latent_size: Height and width of the latents in cells.
            levels: Of the UNet.

        Raises:
            LayoutError: regions that do not go together (see `Layout.coverages`),
                though it may be that their cells alone are the same.
        """
        covers = [torch.from_numpy(cover) for cover in layout.coverages()]
        self._by_count: dict[int, Tensor] = {}
        self._maps: dict[tuple[int, int], Tensor] = {}
        height, width = latent_size
        for _ in range(levels):
            size = (height, width)
            inside = [
                _cells(cover, *size) if region.soft else _whole(_cells(cover, *size))
                for region, cover in zip(layout.regions, covers, strict=True)
            ]
            if size == latent_size:
                layout.check_apart(inside, f"cells of the {width}x{height} latents")
            shares = _composed(layout, inside, size)
            self._maps[size] = shares
            self._by_count.setdefault(height * width, shares.flatten(1))
            height, width = math.ceil(height / 2), math.ceil(width / 2)

    @property
    def parts(self) -> int:
        """The context and the regions."""
        return len(next(iter(self._maps.values())))

    @property
    def cells(self) -> Float[Tensor, " parts"]:
        """Cells of the latents that each part has, the context first."""
        return next(iter(self._maps.values())).sum((1, 2))

    def at(self, cells: int) -> Float[Tensor, "parts cells"]:
        """Shares at the resolution of so many cells; the context's first."""
        return self._by_count[cells]

    def weighted(
        self, weights: Float[Tensor, " parts"], height: int, width: int
    ) -> Float[Tensor, "height width"]:
        """At each cell, the mean of the parts' weights by their shares."""
        shares = self._maps[(height, width)]
        return (weights[:, None, None] * shares).sum(0)


def _cells(
    cover: Float[Tensor, "height width"], height: int, width: int
) -> Float[Tensor, "rows columns"]:
    """The mean cover of every cell."""
    return functional.adaptive_avg_pool2d(cover[None], (height, width))[0]


def _composed(
    layout: Layout, covers: list[Tensor], size: tuple[int, int]
) -> Float[Tensor, "parts height width"]:
    """The shares at one resolution; see `Shares`."""
    shares = [torch.zeros(size) for _ in covers]
    free = torch.ones(size)
    for z in sorted({region.z for region in layout.regions}, reverse=True):
        members = [i for i, region in enumerate(layout.regions) if region.z == z]
        weighted = {i: layout.regions[i].weight * covers[i] for i in members}
        total = torch.stack(list(weighted.values())).sum(0)
        most = torch.stack([covers[i] for i in members]).amax(0)
        for i, part in weighted.items():
            shares[i] = free * most * part / torch.where(total > 0, total, 1)
        free = free * (1 - most)
    return torch.stack([free, *shares])


def _whole(cover: Float[Tensor, "height width"]) -> Float[Tensor, "height width"]:
    """Cells covered by half or more, and the most covered one at least."""
    return (cover >= min(0.5, float(cover.max()))).float()
