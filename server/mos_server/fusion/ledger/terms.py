"""What a ledger keeps of one concept for every release: A_i G_i and B_i of each layer.

A release takes a piece of every concept at every layer, thousands of small ones, so all
of a concept's are kept in two long rows and taken as views of them: a piece then costs
a microsecond, where one tensor each would cost some ten of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from mos_model.concepts.concept import LoraFactors

_DOWN_GRAM: Final = "pushed"
_UP: Final = "up"
_ALONE: Final = "alone"


@dataclass(frozen=True)
class ConceptTerms:
    """One concept's terms, module by module."""

    down_gram: Mapping[str, Float[Tensor, "rank d_in"]]
    """A_i G_i, float64."""

    up: Mapping[str, Float[Tensor, "rank d_out"]]
    """B_i, transposed, as the concept has it."""

    alone: Mapping[str, float]
    """What fusion would miss of it, were it the only one (`judging`)."""

    def to_tensors(self) -> dict[str, Tensor]:
        """Three long rows, modules ascending by name."""
        modules = sorted(self.down_gram)
        return {
            _DOWN_GRAM: torch.cat([self.down_gram[m].flatten() for m in modules]),
            _UP: torch.cat([self.up[m].flatten() for m in modules]),
            _ALONE: torch.tensor([self.alone[m] for m in modules], dtype=torch.float64),
        }

    @staticmethod
    def from_tensors(
        tensor: Callable[[str], Tensor],
        shapes: Mapping[str, tuple[int, int]],
        rank: int,
    ) -> "ConceptTerms":
        """The terms of three long rows; views of them, not copies.

        Args:
            tensor: Gives one of the rows by its name.
            shapes: Module -> (d_out, d_in) of the base.
            rank: The concept's.

        Raises:
            RuntimeError: a row is of another length.
        """
        modules = sorted(shapes)
        outs, ins = zip(*(shapes[m] for m in modules), strict=True)
        return ConceptTerms(
            down_gram=_pieces(tensor(_DOWN_GRAM), modules, ins, rank),
            up=_pieces(tensor(_UP), modules, outs, rank),
            alone=dict(zip(modules, tensor(_ALONE).tolist(), strict=True)),
        )


def stacked_terms(terms: Sequence[ConceptTerms], module: str) -> LoraFactors:
    """[B_1 .. B_n] and [A_1 G_1 ; .. ; A_n G_n] of one layer, float64."""
    up = torch.cat([one.up[module] for one in terms])
    down = torch.cat([one.down_gram[module] for one in terms])
    return LoraFactors(down, up.double().T.contiguous())


def _pieces(
    row: Float[Tensor, " entries"],
    modules: Sequence[str],
    widths: Sequence[int],
    rank: int,
) -> dict[str, Float[Tensor, "rank width"]]:
    views = row.split([rank * width for width in widths])
    return {
        module: view.view(rank, width)
        for module, view, width in zip(modules, views, widths, strict=True)
    }
