"""The settings of a tuning run."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from mos_shared.base import Base
from mos_shared.errors import TuningError

TEMPLATES: Final = ("a photo of {}", "{}", "a picture of {}", "a photo of one {}")
"""Captions of pictures that bring none; {} is the concept's placeholder."""


@dataclass(frozen=True)
class TuneSettings:
    """How a concept is tuned. Rates are the reference's for Stable Diffusion sizes."""

    steps: int = 800
    """Optimiser steps."""

    batch_size: int = 2
    """Pictures a step."""

    rank: int = 4
    """r of every LoRA pair."""

    embedding_rate: float = 1e-3
    """Learning rate of V_rand and V_class."""

    text_rate: float = 1e-5
    """Learning rate of the text encoder's LoRA."""

    unet_rate: float = 1e-4
    """Learning rate of the UNet's LoRA."""

    warm_up: int = 10
    """Steps over which the rates rise; they then fall linearly to 0."""

    noise_offset: float = 0.01
    """Weight of noise that is constant over a picture's channel."""

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

    seed: int = 0
    """Decides everything random; equal seeds give bit-equal concepts on a CPU."""

    def __post_init__(self) -> None:
        """Refuse what cannot run.

        Raises:
            TuningError: a count below 1, or a negative rate.
        """
        for name in ("steps", "batch_size", "rank", "augmentations"):
            if getattr(self, name) < 1:
                raise TuningError(f"{name} is {getattr(self, name)}; at least 1")
        for name in ("embedding_rate", "text_rate", "unet_rate", "noise_offset"):
            if getattr(self, name) < 0:
                raise TuningError(f"{name} is {getattr(self, name)}; not below 0")

    @staticmethod
    def for_base(base: Base, **overrides: Any) -> "TuneSettings":
        """The base's own settings ("tune" in its `mos_defaults.json`) and overrides.

        Entries this version does not know are left to others.
        """
        known = {field.name for field in fields(TuneSettings)}
        own = {k: v for k, v in base.defaults.get("tune", {}).items() if k in known}
        given = {key: value for key, value in overrides.items() if value is not None}
        return TuneSettings(**(own | given))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
