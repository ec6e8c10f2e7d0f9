r"""Other ways to fuse the same concepts, kept for comparison.

- `weight_average`: W0 + (1/n) sum_i B_i A_i, "weight fusion" in the paper.
- `weight_sum`: W0 + sum_i B_i A_i, what stacking LoRA files does.
- `published_update`: the paper's gradient fusion as its reference code runs it
  (github.com/TencentARC/Mix-of-Show, `gradient_fusion.py`, `update_quasi_newton`): on
  the inputs themselves, all of which it keeps.
- `lbfgs_update`: the same optimiser on the second moments, which say all that the
  inputs do of the objective; a favour to it, and with more iterations a second method
  to check the closed form with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from mos_model.concepts.concept import LoraFactors
from mos_server.fusion.moments import SPATIAL, stage_of

TEXT_ITERATIONS: Final = 500
"""L-BFGS iterations the reference spends on a layer of the text encoder, and on K and V
of cross-attention, whose inputs are text features."""

UNET_ITERATIONS: Final = 50
"""L-BFGS iterations the reference spends on a layer of spatial attention."""

_HISTORY: Final = 25
_TOLERANCE: Final = 1e-16
_ROWS_AT_ONCE: Final = 5000


@dataclass(frozen=True)
class ConceptTerm:
    """What the objective needs of one concept at one layer."""

    factors: LoraFactors
    """B_i and A_i."""

    gram: Float[Tensor, "d_in d_in"]
    """G_i = X_i X_i^T."""


def published_iterations(module: str) -> int:
    """How many iterations the reference spends on a layer."""
    return UNET_ITERATIONS if stage_of(module) == SPATIAL else TEXT_ITERATIONS


def weight_average(
    concepts: Sequence[Mapping[str, LoraFactors]],
) -> dict[str, LoraFactors]:
    """The mean of the concepts' updates, as factors of rank sum(r_i)."""
    return _stacked(concepts, 1 / len(concepts))


def weight_sum(concepts: Sequence[Mapping[str, LoraFactors]]) -> dict[str, LoraFactors]:
    """The sum of the concepts' updates, as factors of rank sum(r_i)."""
    return _stacked(concepts, 1.0)


def published_update(
    inputs: Sequence[Float[Tensor, "_ d_in"]],
    factors: Sequence[LoraFactors],
    weight: Float[Tensor, "d_out d_in"],
    *,
    iterations: int,
) -> Float[Tensor, "d_out d_in"]:
    r"""W - W0 of one layer by L-BFGS on the inputs, as published.

    Minimises the mean square of `X_i W^T - X_i (W0 + B_i A_i)^T` over all rows, from
    W0, in float32, with torch's L-BFGS: strong Wolfe line search, a history of 25,
    tolerances of 1e-16 and torch's own limit of evaluations; the best W seen is kept.

    Args:
        inputs: X_i of every concept, one input vector a row.
        factors: B_i and A_i of every concept, in the same order.
        weight: W0.
        iterations: At most; see `published_iterations`.
    """
    start = weight.detach().float()
    rows = torch.cat([one.float() for one in inputs])
    wanted = torch.cat(
        [
            one.float() @ (start + own.dense().float()).T
            for one, own in zip(inputs, factors, strict=True)
        ]
    )
    current = start.clone().requires_grad_()
    optimiser = _optimiser(current, iterations)
    best_loss, best = float("inf"), start

    def closure() -> float:
        nonlocal best_loss, best
        optimiser.zero_grad()
        chunks = zip(
            rows.split(_ROWS_AT_ONCE), wanted.split(_ROWS_AT_ONCE), strict=True
        )
        missed = [(x @ current.T - y).square().sum() for x, y in chunks]
        loss = torch.stack(missed).sum() / wanted.numel()
        if float(loss.detach()) < best_loss:
            best_loss, best = float(loss.detach()), current.detach().clone()
        loss.backward()
        return float(loss.detach())

    optimiser.step(closure)
    return best - start


def lbfgs_update(
    terms: Sequence[ConceptTerm],
    *,
    iterations: int,
    held: Float[Tensor, "d_in d_in"] | None = None,
) -> Float[Tensor, "d_out d_in"]:
    r"""W - W0 of one layer by the same L-BFGS on second moments, from 0.

    Minimises `sum_i tr((D - D_i) G_i (D - D_i)^T) + tr(D H D^T)` over D. The reference
    (arXiv:2305.18292) has H = 0, so `held` is None there.

    Args:
        terms: B_i, A_i and G_i of every concept; their dtype is computed in.
        iterations: At most; the reference's are `published_iterations`.
        held: H, what a ridge and a prior add to the second moments, if any.
    """
    update = torch.zeros_like(terms[0].factors.dense(), requires_grad=True)
    optimiser = _optimiser(update, iterations)

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


def _optimiser(variable: Tensor, iterations: int) -> torch.optim.LBFGS:
    return torch.optim.LBFGS(
        [variable],
        lr=1.0,
        max_iter=iterations,
        history_size=_HISTORY,
        tolerance_grad=_TOLERANCE,
        tolerance_change=_TOLERANCE,
        line_search_fn="strong_wolfe",
    )


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
