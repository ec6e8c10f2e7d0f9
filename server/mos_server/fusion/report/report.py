"""What a fusion kept of each concept and cost the base, layer by layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mos_server.fusion.moments import STAGES

_NEXT_TO_NOTHING: Final = 1e-4
"""A concept's own change, of the energy of W0's outputs: 1% of their norm. Concepts of
the mini base have some 0.01 to 0.03."""


@dataclass(frozen=True)
class LayerReport:
    """One layer of a fusion; energies are squared Frobenius norms of outputs."""

    module: str
    stage: str

    residual: Mapping[str, float]
    """Concept -> ||(W - W_i) X_i||^2, what fusion misses of it."""

    size: Mapping[str, float]
    """Concept -> ||(W_i - W0) X_i||^2, what the concept itself changes."""

    alone: Mapping[str, float]
    """Concept -> the residual, had it been fused alone with equal ridge and prior."""

    drift: float
    """||(W - W0) X_0||^2 on generic inputs; 0 where no prior was captured."""

    generic: float
    """||W0 X_0||^2, what drift is to be compared with."""


@dataclass(frozen=True)
class FusionReport:
    """The report that goes with a fused model."""

    concepts: tuple[str, ...]
    layers: tuple[LayerReport, ...]
    settings: Mapping[str, Any]

    spill: Mapping[str, Mapping[str, float]]
    """Concept i -> other concept j -> ||B_j P_j X_i||^2 / ||B_i A_i X_i||^2: what j's
    part of the fused update does on i's inputs, relative to i's own change."""

    def kept(self, concept: str, *, stage: str | None = None) -> float:
        """The share of a concept's own change that the fused model keeps, up to 1.

        1 - sum ||(W - W_i) X_i||^2 / sum ||(W_i - W0) X_i||^2 over the layers; 1 where
        there is nothing to keep.
        """
        layers = [la for la in self.layers if stage in (None, la.stage)]
        size = sum(layer.size[concept] for layer in layers)
        missed = sum(layer.residual[concept] for layer in layers)
        return 1 - missed / size if size and self._changes(concept) else 1.0

    def kept_alone(self, concept: str) -> float:
        """The same, had the concept been fused alone with equal ridge and prior."""
        size = sum(layer.size[concept] for layer in self.layers)
        missed = sum(layer.alone[concept] for layer in self.layers)
        return 1 - missed / size if size and self._changes(concept) else 1.0

    def _changes(self, concept: str) -> bool:
        """Whether a concept's own layers change anything that pictures could show.

        Where not, whatever others do is endless times its change, and says nothing.
        """
        size = sum(layer.size[concept] for layer in self.layers)
        return size > _NEXT_TO_NOTHING * sum(layer.generic for layer in self.layers)

    def conflict(self, concept: str) -> float:
        """The share of a concept's change that the presence of the others costs it."""
        return self.kept_alone(concept) - self.kept(concept)

    def drift(self) -> float:
        """The base's change on generic inputs, relative to its outputs there."""
        generic = sum(layer.generic for layer in self.layers)
        return sum(layer.drift for layer in self.layers) / generic if generic else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "settings": dict(self.settings),
            "drift": self.drift(),
            "concepts": {
                name: {
                    "kept": self.kept(name),
                    "kept_by_stage": {s: self.kept(name, stage=s) for s in STAGES},
                    "predicted_loss": 1 - self.kept(name),
                    "kept_alone": self.kept_alone(name),
                    "conflict": self.conflict(name),
                    "spill": dict(self.spill[name]),
                }
                for name in self.concepts
            },
            "layers": [
                {
                    "module": layer.module,
                    "stage": layer.stage,
                    "residual": dict(layer.residual),
                    "size": dict(layer.size),
                    "alone": dict(layer.alone),
                    "drift": layer.drift,
                    "generic": layer.generic,
                }
                for layer in self.layers
            ],
        }
