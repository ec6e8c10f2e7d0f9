r"""What a fused update keeps of each concept, and what the concepts do to each other.

The fused update is a sum of one part for each concept, `W - W0 = sum_j B_j P_j`, P_j
being j's rows of the fused down factor. On the inputs of concept i,

    residual_i  = ||(sum_j B_j P_j - B_i A_i) X_i||^2    what fusion misses of i
    alone_i     = the same, had i been fused alone with the same ridge and prior
    spill_ij    = ||B_j P_j X_i||^2, j != i              what j's part does to i

`residual_i - alone_i` is what the presence of the others costs i; `alone_i` is the
price of ridge and prior. It depends on nothing else, so it is found once, at a join.

Every concept is held against every other, so this is the part of a fusion that grows
with the square of their number. With S_j = (B_j P_j)^T B_j P_j, spill_ij is the inner
product of S_j and X_i X_i^T: one product of two matrices for all pairs of a layer,
whatever the concepts' ranks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from mos_model.bases.base import Base
from mos_model.concepts.concept import LoraFactors
from mos_server.fusion.moments import by_input, input_of, ridged, stage_of
from mos_server.fusion.report.report import FusionReport, LayerReport
from mos_server.fusion.settings import FusionSettings

Gram = Float[Tensor, "d d"]

_CHUNK_BYTES: Final = 16 * 2**20
"""Of matrices [d, d] that are in memory at once, at most; one at least."""


@dataclass(frozen=True)
class Standing:
    """One concept of a fusion, as its report needs it."""

    name: str
    lora: Mapping[str, LoraFactors]

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
    found: dict[str, float] = {}
    for name, modules in by_input(lora).items():
        gram, prior = gram_of(name), prior_of(name)
        total = gram if prior is None else gram + settings.prior * prior
        matrix = ridged(total, settings.ridge)
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
    standings: Sequence[Standing],
    ranks: Mapping[str, int],
    prior_of: Callable[[str], Gram | None],
    settings: FusionSettings,
) -> FusionReport:
    """The report of a fusion whose layers are all given.

    Args:
        base: The base.
        fused: The fused factors, float64.
        standings: Every concept, in the order of the fused factors' rows.
        ranks: Their full names and ranks, in the same order.
        prior_of: Input name -> G_0, float64; None without a prior.
        settings: Those of the fusion.
    """
    judge = Judge(base, standings, ranks, prior_of, settings)
    for modules in by_input(fused).values():
        judge.look({module: fused[module] for module in modules})
    return judge.report(list(fused))


class Judge:
    """Looks at the layers of a fusion, those of one input at a time."""

    def __init__(
        self,
        base: Base,
        standings: Sequence[Standing],
        ranks: Mapping[str, int],
        prior_of: Callable[[str], Gram | None],
        settings: FusionSettings,
    ) -> None:
        """Nothing is judged yet; the arguments are those of `judged`."""
        self._base, self._standings, self._ranks = base, standings, ranks
        self._prior_of, self._settings = prior_of, settings
        self._blocks = list(_blocks(ranks.values()))
        self._layers: dict[str, LayerReport] = {}
        count = len(standings)
        self._spilt = torch.zeros(count, count, dtype=torch.float64)

    def look(self, fused: Mapping[str, LoraFactors]) -> None:
        """Judge some layers that read one input.

        Args:
            fused: Their fused factors, float64.
        """
        (name,) = by_input(fused)
        layers = {m: _Layer(own, self._blocks) for m, own in fused.items()}
        residual: dict[str, list[float]] = {module: [] for module in fused}
        size: dict[str, list[float]] = {module: [] for module in fused}
        for chunk in _chunks(self._standings, next(iter(fused.values())).down.shape[1]):
            standings = self._standings[chunk]
            grams = torch.stack([one.gram_of(name) for one in standings])
            for module, layer in layers.items():
                self._spilt[chunk] += layer.part_energies(grams)
                for one, gram, block in zip(
                    standings, grams, self._blocks[chunk], strict=True
                ):
                    own = layer.core[:, block] @ one.lora[module].down.double()
                    missed = _output_energy(layer.update - own, gram)
                    residual[module].append(missed)
                    size[module].append(_output_energy(own, gram))
        for module, own in fused.items():
            sums = (residual[module], size[module])
            self._layers[module] = self._layer(module, own, *sums)

    def report(self, modules: Sequence[str]) -> FusionReport:
        """The report, its layers in the order given."""
        names, layers = tuple(self._ranks), [self._layers[m] for m in modules]
        sizes = [sum(layer.size[name] for layer in layers) for name in names]
        spill = {
            name: {
                other: part / size if size else 0.0
                for other, part in zip(names, row, strict=True)
                if other != name
            }
            for name, row, size in zip(names, self._spilt.tolist(), sizes, strict=True)
        }
        recorded: dict[str, Any] = asdict(self._settings)
        return FusionReport(names, tuple(layers), recorded, spill)

    def _layer(
        self,
        module: str,
        fused: LoraFactors,
        residual: Sequence[float],
        size: Sequence[float],
    ) -> LayerReport:
        prior, names = self._prior_of(input_of(module)), tuple(self._ranks)
        weight = self._base.projections[module].weight.detach().double().cpu()
        moved, generic = (0.0, 0.0) if prior is None else _drift(fused, weight, prior)
        return LayerReport(
            module=module,
            stage=stage_of(module),
            residual=dict(zip(names, residual, strict=True)),
            size=dict(zip(names, size, strict=True)),
            alone={one.name: one.alone[module] for one in self._standings},
            drift=moved,
            generic=generic,
        )


class _Layer:
    """One layer's fused factors, made ready to be compared with every concept's.

    With the thin QR factorisation U = Q R of [B_1 .. B_n], distances of outputs are
    those of R D, which has no more rows than U has rows or columns.
    """

    def __init__(self, fused: LoraFactors, blocks: Sequence[slice]) -> None:
        self.core = torch.linalg.qr(fused.up).R
        self.update = self.core @ fused.down
        self._parts = [
            torch.linalg.qr(fused.up[:, block]).R @ fused.down[block]
            for block in blocks
        ]

    def part_energies(
        self, grams: Float[Tensor, "some d d"]
    ) -> Float[Tensor, "some concepts"]:
        """||B_j P_j X_i||^2 of some concepts i and every concept j of the fusion."""
        found = []
        for chunk in _chunks(self._parts, grams.shape[-1]):
            squares = torch.stack([part.T @ part for part in self._parts[chunk]])
            found.append(grams.flatten(1) @ squares.flatten(1).T)
        return torch.cat(found, dim=1).clamp(min=0)


def _drift(
    fused: LoraFactors, weight: Float[Tensor, "d_out d_in"], gram: Gram
) -> tuple[float, float]:
    """||(W - W0) X_0||_F^2 and ||W0 X_0||_F^2: the base's change on generic inputs."""
    generic = float(((weight @ gram) * weight).sum())
    up, down = fused.up, fused.down
    if up.shape[1] > up.shape[0]:
        return _output_energy(up @ down, gram), generic
    return max(0.0, float(((up.T @ up) * (down @ gram @ down.T)).sum())), generic


def _output_energy(update: Float[Tensor, "rows d"], gram: Gram) -> float:
    """tr(D G D^T), never below 0."""
    return max(0.0, float(((update @ gram) * update).sum()))


def _chunks(items: Sequence[object], size: int) -> Iterator[slice]:
    """Slices of as many items as may be in memory as float64 matrices [size, size]."""
    step = max(1, _CHUNK_BYTES // (8 * size * size))
    for first in range(0, len(items), step):
        yield slice(first, min(first + step, len(items)))


def _blocks(ranks: Iterable[int]) -> Iterator[slice]:
    """Where each concept's rows are."""
    first = 0
    for rank in ranks:
        yield slice(first, first + rank)
        first += rank
