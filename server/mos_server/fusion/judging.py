r"""What a fused update keeps of each concept, and what the concepts do to each other.

The fused update is a sum of one part for each concept, `W - W0 = sum_j B_j P_j`, P_j
being j's rows of the fused down factor. On the inputs of concept i,

    residual_i  = ||(sum_j B_j P_j - B_i A_i) X_i||^2    what fusion misses of i
    alone_i     = the same, had i been fused alone with the same ridge and prior
    spill_ij    = ||B_j P_j X_i||^2, j != i              what j's part does to i

`residual_i - alone_i` is what the presence of the others costs i; `alone_i` is the
price of ridge and prior. It depends on nothing else, so it is found once, at a join.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mos_server.fusion.moments import input_of, stage_of
from mos_server.fusion.report import FusionReport, LayerReport
from mos_server.fusion.settings import FusionSettings
from mos_server.fusion.solve import drift, ridged
from mos_shared.base import Base
from mos_shared.concept import LoraFactors

Gram = Float[Tensor, "d d"]


@dataclass(frozen=True)
class Standing:
    """One concept of a fusion, as its report needs it."""

    name: str
    lora: Mapping[str, LoraFactors]
    """Float64."""

    alone: Mapping[str, float]
    """Module -> what `alone_residuals` says."""

    gram_of: Callable[[str], Gram]
    """Input name -> G_i, float64."""


def alone_residuals(
    lora: Mapping[str, LoraFactors],
    gram_of: Callable[[str], Gram],
    prior_of: Callable[[str], Gram | None],
    settings: FusionSettings,
) -> dict[str, float]:
    """What fusion would miss of a concept, layer by layer, were it the only one.

    Its fused rows are then P = A G N^-1 with N = G + mu G_0 + lambda I, so P - A is
    -A (mu G_0 + lambda I) N^-1. Where N is singular, which takes a ridge of 0, the
    pseudo-inverse gives the least residual.

    Args:
        lora: The concept's factors, float64.
        gram_of: Input name -> G, float64.
        prior_of: Input name -> G_0, float64; None without a prior.
        settings: mu and the ridge.

    Returns:
        Module -> ||(W - W_i) X_i||^2.
    """
    readers: dict[str, list[str]] = {}
    for module in lora:
        readers.setdefault(input_of(module), []).append(module)
    found: dict[str, float] = {}
    for name, modules in readers.items():
        gram, prior = gram_of(name), prior_of(name)
        total = gram if prior is None else gram + settings.prior * prior
        matrix = ridged(total, settings)
        lower, failed = torch.linalg.cholesky_ex(matrix)
        inverse = torch.linalg.pinv(matrix, hermitian=True) if failed else None
        for module in modules:
            down, up = lora[module].down, lora[module].up
            rows = down @ gram
            if inverse is None:
                fused = torch.cholesky_solve(rows.T, lower).T
            else:
                fused = rows @ inverse
            missed = fused - down
            energy = ((up.T @ up) * (missed @ gram @ missed.T)).sum()
            found[module] = max(0.0, float(energy))
    return found


def judged(
    base: Base,
    fused: Mapping[str, LoraFactors],
    standings: Iterable[Standing],
    ranks: Mapping[str, int],
    prior_of: Callable[[str], Gram | None],
    settings: FusionSettings,
) -> FusionReport:
    """The report of a fusion; the moments of one concept at a time are looked at.

    Args:
        base: The base.
        fused: The fused factors, float64.
        standings: Every concept, in the order of the fused factors' rows.
        ranks: Their full names and ranks, in the same order.
        prior_of: Input name -> G_0, float64; None without a prior.
        settings: Those of the fusion.
    """
    blocks = _blocks(ranks)
    layers = {module: _Layer(own, blocks) for module, own in fused.items()}
    by_concept = {
        standing.name: {
            module: _judge(layer, standing, module, blocks)
            for module, layer in layers.items()
        }
        for standing in standings
    }
    told = []
    for module, own in fused.items():
        prior = prior_of(input_of(module))
        weight = base.projections[module].weight.detach().double().cpu()
        moved, size = (0.0, 0.0) if prior is None else drift(own, weight, prior)
        found = {name: by_concept[name][module] for name in ranks}
        told.append(
            LayerReport(
                module=module,
                stage=stage_of(module),
                residual={name: one.residual for name, one in found.items()},
                size={name: one.size for name, one in found.items()},
                alone={name: one.alone for name, one in found.items()},
                drift=moved,
                generic=size,
            )
        )
    spill = {name: _shares(by_concept[name], name, list(ranks)) for name in ranks}
    recorded: dict[str, Any] = asdict(settings)
    return FusionReport(tuple(ranks), tuple(told), recorded, spill)


class _Layer:
    """One layer's fused factors, made ready to be compared with every concept's.

    With the thin QR factorisation U = Q R of [B_1 .. B_n], distances of outputs are
    those of R D, which has no more rows than U has rows or columns.
    """

    def __init__(self, fused: LoraFactors, blocks: Mapping[str, slice]) -> None:
        self.core = torch.linalg.qr(fused.up).R
        self.update = self.core @ fused.down
        parts = [
            torch.linalg.qr(fused.up[:, block]).R @ fused.down[block]
            for block in blocks.values()
        ]
        self.parts = torch.cat(parts)
        rows = [torch.full((len(part),), place) for place, part in enumerate(parts)]
        self.owner = torch.cat(rows)


@dataclass(frozen=True)
class _Judged:
    """One concept at one layer."""

    residual: float
    size: float
    alone: float
    parts: Float[Tensor, " concepts"]
    """||B_j P_j X_i||^2 of every concept j, in the order of the fusion."""


def _judge(
    layer: _Layer, standing: Standing, module: str, blocks: Mapping[str, slice]
) -> _Judged:
    own, gram = standing.lora[module], standing.gram_of(input_of(module))
    wanted = layer.core[:, blocks[standing.name]] @ own.down
    energies = ((layer.parts @ gram) * layer.parts).sum(1).clamp(min=0)
    parts = torch.zeros(len(blocks), dtype=energies.dtype)
    return _Judged(
        residual=_output_energy(layer.update - wanted, gram),
        size=_output_energy(wanted, gram),
        alone=standing.alone[module],
        parts=parts.index_add(0, layer.owner, energies),
    )


def _output_energy(update: Float[Tensor, "rows d"], gram: Gram) -> float:
    """tr(D G D^T), never below 0."""
    return max(0.0, float(((update @ gram) * update).sum()))


def _blocks(ranks: Mapping[str, int]) -> dict[str, slice]:
    """Where each concept's rows are."""
    blocks, first = {}, 0
    for name, rank in ranks.items():
        blocks[name] = slice(first, first + rank)
        first += rank
    return blocks


def _shares(
    by_module: Mapping[str, _Judged], name: str, names: Sequence[str]
) -> dict[str, float]:
    """What the others' parts do to one concept, relative to its own change."""
    size = sum(one.size for one in by_module.values())
    parts = torch.stack([one.parts for one in by_module.values()]).sum(0).tolist()
    return {
        other: part / size if size else 0.0
        for other, part in zip(names, parts, strict=True)
        if other != name
    }
