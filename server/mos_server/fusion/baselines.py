r"""Other ways to fuse the same concepts, kept for comparison.

- `weight_average`: W0 + (1/n) sum_i B_i A_i, "weight fusion" in the paper.
- `weight_sum`: W0 + sum_i B_i A_i, what stacking LoRA files does.
- `lbfgs_update`: the paper's gradient fusion as its reference code runs it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from mos_server.fusion.solve import ConceptTerm
from mos_shared.concept import LoraFactors

TEXT_ITERATIONS: Final = 500
"""L-BFGS iterations the reference spends on a text encoder layer."""

UNET_ITERATIONS: Final = 50
"""L-BFGS iterations the reference spends on a UNet layer."""

_HISTORY: Final = 25


def weight_average(
    concepts: Sequence[Mapping[str, LoraFactors]],
) -> dict[str, LoraFactors]:
    """The mean of the concepts' updates, as factors of rank sum(r_i)."""
    return _stacked(concepts, 1 / len(concepts))


def weight_sum(concepts: Sequence[Mapping[str, LoraFactors]]) -> dict[str, LoraFactors]:
    """The sum of the concepts' updates, as factors of rank sum(r_i)."""
    return _stacked(concepts, 1.0)


def lbfgs_update(
    terms: Sequence[ConceptTerm],
    *,
    iterations: int,
    held: Float[Tensor, "d_in d_in"] | None = None,
    tolerance: float = 1e-16,
) -> Float[Tensor, "d_out d_in"]:
    r"""W - W0 of one layer by L-BFGS, from 0.

    Minimises `sum_i tr((D - D_i) G_i (D - D_i)^T) + tr(D H D^T)` over D with
    torch's L-BFGS, strong Wolfe line search and a history of 25, as the reference
    (arXiv:2305.18292; it has H = 0, so `held` is None there).

    Args:
        terms: B_i, A_i and G_i of every concept; their dtype is computed in.
        iterations: At most; the reference's are `TEXT_ITERATIONS`, `UNET_ITERATIONS`.
        held: H, what a ridge and a prior add to the second moments, if any.
        tolerance: On gradient and change, below which it stops.
    """
    dense = [term.factors.dense() for term in terms]
    update = torch.zeros_like(dense[0], requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [update],
        lr=1.0,
        max_iter=iterations,
        max_eval=25 * iterations,
        history_size=_HISTORY,
        tolerance_grad=tolerance,
        tolerance_change=tolerance,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        optimiser.zero_grad()
        loss = objective(update, terms, held=held)
        loss.backward()
        return float(loss.detach())

    optimiser.step(closure)
    return update.detach()


def objective(
    update: Float[Tensor, "d_out d_in"],
    terms: Sequence[ConceptTerm],
    *,
    held: Float[Tensor, "d_in d_in"] | None = None,
) -> Float[Tensor, ""]:
    """What gradient fusion minimises at one layer, see `lbfgs_update`."""
    missed = []
    for term in terms:
        error = update - term.factors.dense()
        missed.append(((error @ term.gram) * error).sum())
    total = torch.stack(missed).sum()
    return total if held is None else total + ((update @ held) * update).sum()


def _stacked(
    concepts: Sequence[Mapping[str, LoraFactors]], share: float
) -> dict[str, LoraFactors]:
    return {
        module: LoraFactors(
            down=torch.cat([lora[module].down for lora in concepts]),
            up=share * torch.cat([lora[module].up for lora in concepts], dim=1),
        )
        for module in concepts[0]
    }
