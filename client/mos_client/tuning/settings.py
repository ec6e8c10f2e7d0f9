"""The settings of a tuning run."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from mos_model.bases.base import Base
from mos_model.bases.base_outline import BaseOutline
from mos_model.errors import TuningError

TEMPLATES: Final = ("a photo of {}", "{}", "a picture of {}", "a photo of one {}")
"""Captions of pictures that bring none; {} is the concept's placeholder."""

METHODS: Final = ("ed-lora", "lora")

FREE_ON_RESUME: Final = frozenset(
    {"embedding_rate", "text_rate", "unet_rate", "kv_rate", "gradient_checkpointing"}
)
"""Settings that a resumed run may change: rates, for a run whose loss broke down."""


@dataclass(frozen=True)
class TuneSettings:
    """How a concept is tuned. Rates are the reference's for Stable Diffusion sizes."""

    method: str = "ed-lora"
    """`ed-lora`, or the paper's comparison: `lora`, a plain LoRA whose one trained
    token has one vector for all layers."""

    steps: int = 800
    """Optimiser steps."""

    batch_size: int = 2
    """Pictures of one forward pass."""

    accumulate: int = 1
    """Forward passes whose gradients one optimiser step averages."""

    rank: int = 4
    """r of every LoRA pair."""

    embedding_rate: float = 1e-3
    """Learning rate of V_rand and V_class."""

    text_rate: float = 1e-5
    """Learning rate of the text encoder's LoRA."""

    unet_rate: float = 1e-4
    """Learning rate of the UNet's LoRA."""

    kv_rate: float | None = None
    """Learning rate of the LoRA on cross-attention's keys and values, which read text
    alone; the UNet's where None, as the reference. Looks that are learnt here and in
    the words survive fusion, since other concepts' texts do not meet them; in spatial
    layers all concepts share their inputs."""

    warm_up: int = 10
    """Steps over which the rates rise; they then fall linearly to 0."""

    noise_offset: float = 0.01
    """Weight of noise that is constant over a picture's channel."""

    timestep_bias: float = 1.0
    """Timesteps are drawn as T (1 - u^bias), u uniform: above 1, strong noise comes
    more often, where colours and shapes are decided. 1 is the reference's."""

    attention_weight: float = 0.01
    """Weight of the attention penalty (see `attention`) of pictures with masks."""

    snr_gamma: float | None = None
    """Min-SNR loss weighting (arXiv:2303.09556); none by default, as the reference."""

    embedding_norm: float = 1.4
    """The words stop moving once their mean norm passes this many times the base's;
    the reference stops at 0.55, which is 1.4 times Stable Diffusion 1.5's mean."""

    augmentations: int = 4
    """Cached variants of every picture: flipped, and cropped a little."""

    flip: bool = True
    """Whether variants may be mirrored; not for writing, or one-sided marks."""

    min_side: int = 0
    """Pixels the shorter side needs; 0 means the size the base works at."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third slower."""

    seed: int = 0
    """Decides everything random; equal seeds give bit-equal concepts on a CPU."""

    def __post_init__(self) -> None:
        """Refuse what cannot run.

        Raises:
            TuningError: an unknown method, a count below 1, or a negative rate.
        """
        if self.method not in METHODS:
            raise TuningError(
                f"method {self.method!r}: give one of {', '.join(METHODS)}"
            )
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise TuningError(f"{name} is {getattr(self, name)}; at least 1")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise TuningError(f"{name} is {getattr(self, name)}; not below 0")
        if self.kv_rate is not None and not self.kv_rate >= 0:
            raise TuningError(f"kv_rate is {self.kv_rate}; not below 0, or none")
        if not self.timestep_bias > 0:
            raise TuningError(f"timestep_bias is {self.timestep_bias}; above 0")
        if self.snr_gamma is not None and not self.snr_gamma > 0:
            raise TuningError(f"snr_gamma is {self.snr_gamma}; above 0, or none")

    @staticmethod
    def for_base(
        base: Base | BaseOutline, assignments: Sequence[str] = (), **overrides: Any
    ) -> "TuneSettings":
        """The base's own settings ("tune" in its `mos_defaults.json`) and overrides.

        Entries this version does not know are left to others.

        Args:
            base: Whose own settings come first.
            assignments: Such as `snr_gamma=5`; they have the last word.
            overrides: By name; None leaves the base's.

        Raises:
            TuningError: an assignment that is none, or a value that cannot be.
        """
        known = {field.name for field in fields(TuneSettings)}
        own = {k: v for k, v in base.defaults.get("tune", {}).items() if k in known}
        given = {key: value for key, value in overrides.items() if value is not None}
        assigned = dict(_assigned(text) for text in assignments)
        return TuneSettings(**(own | given | assigned))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def decisive(self) -> dict[str, Any]:
        """Those that a run must share with the checkpoint it goes on from."""
        return {k: v for k, v in self.to_dict().items() if k not in FREE_ON_RESUME}


_COUNTS: Final = ("steps", "batch_size", "accumulate", "rank", "augmentations")
_NOT_NEGATIVE: Final = (
    *("embedding_rate", "text_rate", "unet_rate", "warm_up", "noise_offset"),
    *("attention_weight", "embedding_norm", "min_side"),
)


def _assigned(text: str) -> tuple[str, Any]:
    """`snr_gamma=5` as a name and a value of the setting's type."""
    name, given, written = text.partition("=")
    types = {field.name: field.type for field in fields(TuneSettings)}
    if not given or name not in types:
        raise TuningError(
            f"setting {text!r}: give NAME=VALUE, NAME one of {', '.join(types)}"
        )
    kind = types[name]
    if kind is str:
        return name, written
    value: Any = None
    try:
        value = json.loads("null" if written.lower() == "none" else written.lower())
    except ValueError:
        pass
    else:
        if kind in (float, float | None) and type(value) is int:
            value = float(value)
        allowed = (float, type(None)) if kind == float | None else (kind,)
        if type(value) in allowed:
            return name, value
    wanted = getattr(kind, "__name__", str(kind))
    raise TuningError(f"setting {text!r}: {written!r} is no {wanted}")
