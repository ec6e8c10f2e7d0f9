r"""The closed form of gradient fusion, and what it cost each concept.

The paper minimises, for every linear layer, `sum_i ||(W0 + B_i A_i) X_i - W X_i||_F^2`
over W by L-BFGS. It is least squares. With the moments `G_i = X_i X_i^T`, a ridge and a
prior of generic inputs X_0 whose target is the base's own output,

    M = sum_i G_i + mu G_0 + lambda I
    W = W0 + [B_1 .. B_n] @ [A_1 G_1 ; .. ; A_n G_n] @ M^-1

so the fused update is a LoRA of rank r_1 + .. + r_n, whatever the layer's size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mos_model.concept import LoraFactors
from mos_server.errors import FusionError
from mos_server.fusion.moments import by_input, input_of
from mos_server.fusion.settings import FusionSettings


@dataclass(frozen=True)
class ConceptTerm:
    """What fusion needs of one concept at one layer."""

    factors: LoraFactors
    """B_i and A_i, float64."""

    gram: Float[Tensor, "d_in d_in"]
    """G_i = X_i X_i^T, float64."""


def regularised_gram(
    grams: Sequence[Float[Tensor, "d d"]],
    prior: Float[Tensor, "d d"] | None,
    settings: FusionSettings,
) -> Float[Tensor, "d d"]:
    """M = sum_i G_i + mu G_0 + lambda I, with lambda relative to M's mean diagonal.

    Args:
        grams: G_i of every concept, float64.
        prior: G_0 of generic prompts, or None where mu is 0.
        settings: mu is `prior`, lambda is `ridge` times tr(M) / d.
    """
    total = torch.stack(list(grams)).sum(0)
    if prior is not None and settings.prior > 0:
        total = total + settings.prior * prior
    return ridged(total, settings)


def ridged(
    total: Float[Tensor, "d d"], settings: FusionSettings
) -> Float[Tensor, "d d"]:
    """M of its sum without ridge: total + lambda I, lambda = ridge tr(total) / d."""
    size = total.shape[0]
    shift = settings.ridge * total.trace() / size
    return total + shift * torch.eye(size, dtype=total.dtype, device=total.device)


def lower_factor(
    gram: Float[Tensor, "d_in d_in"], *, layer: str
) -> Float[Tensor, "d_in d_in"]:
    """L of M = L L^T.

    Args:
        gram: M, float64, symmetric positive definite (see `regularised_gram`).
        layer: The layer's name, for the message.

    Raises:
        FusionError: M is singular; a ridge above 0 mends it.
    """
    lower: Tensor
    lower, failed = torch.linalg.cholesky_ex(gram)
    if failed:
        raise FusionError(
            f"{layer}: the layer's moments are singular: either ridge is 0 and the "
            "capture prompts span too little, or an input is not finite; pass a "
            "--ridge above 0"
        )
    return lower


def fused_factors(
    gram: Float[Tensor, "d_in d_in"], terms: Sequence[ConceptTerm], *, layer: str = ""
) -> LoraFactors:
    r"""The fused update of one layer, as its low-rank factors.

    Minimises `sum_i ||(W0 + B_i A_i) X_i - W X_i||_F^2` plus the ridge and prior that
    `gram` holds (Mix-of-Show, arXiv:2305.18292, gradient fusion; the paper has
    neither). The minimiser is W0 + up @ down with up = [B_1 .. B_n].

    Args:
        gram: M, float64, symmetric positive definite (see `regularised_gram`).
        terms: The concepts, in the order of the up factor's columns.
        layer: The layer's name, for the message.

    Returns:
        up [d_out, sum r_i] and down [sum r_i, d_in], float64.

    Raises:
        FusionError: M is singular; a ridge above 0 mends it.
    """
    up = torch.cat([term.factors.up for term in terms], dim=1)
    rows = torch.cat([term.factors.down @ term.gram for term in terms])
    lower = lower_factor(gram, layer=layer)
    return LoraFactors(torch.cholesky_solve(rows.T, lower).T, up)


def solve_layers(
    total_of: Callable[[str], Float[Tensor, "d d"]],
    pushed: Mapping[str, LoraFactors],
    settings: FusionSettings,
) -> dict[str, LoraFactors]:
    """Fuse layers whose sums are at hand; one Cholesky factor for each input.

    Args:
        total_of: Input name -> sum_i G_i + mu G_0, float64, without the ridge.
        pushed: Module -> [B_1 .. B_n] as `up` and [A_1 G_1 ; .. ; A_n G_n] as `down`,
            float64.
        settings: The ridge.

    Returns:
        Module -> the fused factors, float64, in the order of `pushed`.

    Raises:
        FusionError: a layer's moments are singular.
    """
    fused: dict[str, LoraFactors] = {}
    for name, modules in by_input(pushed).items():
        lower = lower_factor(ridged(total_of(name), settings), layer=modules[0])
        for module in modules:
            rows, up = pushed[module].down, pushed[module].up
            fused[module] = LoraFactors(torch.cholesky_solve(rows.T, lower).T, up)
    return {module: fused[module] for module in pushed}


def residual(fused: LoraFactors, term: ConceptTerm) -> tuple[float, float]:
    """How far the fused update misses one concept's, and that concept's own size.

    Returns:
        `||(W - W_i) X_i||_F^2` and `||(W_i - W0) X_i||_F^2`; their ratio is 0 where
        the concept is kept whole, 1 where nothing of it is left.
    """
    own = term.factors
    up = torch.cat([fused.up, -own.up], dim=1)
    down = torch.cat([fused.down, own.down])
    return _energy(up, down, term.gram), _energy(own.up, own.down, term.gram)


def drift(
    fused: LoraFactors,
    weight: Float[Tensor, "d_out d_in"],
    gram: Float[Tensor, "d_in d_in"],
) -> tuple[float, float]:
    """How far the fused update moves the base on generic inputs, and their own size.

    Returns:
        `||(W - W0) X_0||_F^2` and `||W0 X_0||_F^2`.
    """
    moved = _energy(fused.up, fused.down, gram)
    return moved, float(((weight @ gram) * weight).sum())


def solve_all(
    concepts: Sequence[Mapping[str, LoraFactors]],
    moments: Sequence[Mapping[str, Float[Tensor, "d d"]]],
    prior: Mapping[str, Float[Tensor, "d d"]],
    settings: FusionSettings,
    modules: Sequence[str],
) -> dict[str, LoraFactors]:
    """Fuse some layers of all concepts.

    Args:
        concepts: The concepts' updates, float64.
        moments: Per concept, input name -> G_i, float64.
        prior: Input name -> G_0, float64; empty where the prior is 0.
        settings: Ridge and prior weight.
        modules: Canonical names of the layers to fuse.

    Raises:
        FusionError: a layer's moments are singular.
    """
    pushed = {
        module: LoraFactors(
            down=torch.cat(
                [
                    lora[module].down @ own[input_of(module)]
                    for lora, own in zip(concepts, moments, strict=True)
                ]
            ),
            up=torch.cat([lora[module].up for lora in concepts], dim=1),
        )
        for module in modules
    }

    def total_of(name: str) -> Float[Tensor, "d d"]:
        total = torch.stack([own[name] for own in moments]).sum(0)
        return total + settings.prior * prior[name] if name in prior else total

    return solve_layers(total_of, pushed, settings)


def _energy(
    up: Float[Tensor, "d_out r"],
    down: Float[Tensor, "r d_in"],
    gram: Float[Tensor, "d_in d_in"],
) -> float:
    """tr(U D G D^T U^T), never below 0; U D is formed only where it is the smaller."""
    if up.shape[1] > up.shape[0]:
        dense = up @ down
        return max(0.0, float(((dense @ gram) * dense).sum()))
    return max(0.0, float(((up.T @ up) * (down @ gram @ down.T)).sum()))
