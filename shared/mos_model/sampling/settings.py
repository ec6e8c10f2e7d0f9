"""How pictures are sampled, apart from what they show."""

import math
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from mos_model.bases.base import Base
from mos_model.bases.base_outline import BaseOutline
from mos_model.errors import LayoutError


class Given(TypedDict, total=False):
    """Settings as a caller gives them; absent or None is the base's own."""

    steps: int | None
    guidance: float | None
    scheduler: str | None
    lead: float | None
    isolation: float | None
    base_ratio: float | None
    exclude_others: bool | None


@dataclass(frozen=True)
class SamplingSettings:
    """Settings of a sampling run; `of` fills in a base's own."""

    steps: int = 25
    guidance: float = 7.5
    """Scale of classifier-free guidance; 1 is without."""

    scheduler: str = "DPMSolverMultistepScheduler"
    """A diffusers scheduler's class name."""

    lead: float = 0.0
    """The first share of the steps, 0 to 1, in which the context's prompt lays out the
    whole picture."""

    isolation: float = 0.0
    """The share of the steps up to which self-attention then stays inside each
    region."""

    base_ratio: float = 0.0
    """The context's part of cross-attention inside regions, 0 to 1."""

    exclude_others: bool = False
    """Whether each region's negative prompt names the other regions' concepts."""

    def __post_init__(self) -> None:
        """Refuse settings out of range.

        Raises:
            LayoutError: naming the setting.
        """
        if self.steps < 1:
            raise LayoutError(f"steps {self.steps}; at least 1")
        if not math.isfinite(self.guidance):
            raise LayoutError(f"guidance {self.guidance}; a finite number")
        if self.guidance < 1:
            raise LayoutError(
                f"guidance {self.guidance}; at least 1, which is without guidance"
            )
        for name in ("lead", "isolation", "base_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise LayoutError(f"{name} {getattr(self, name)}; from 0 to 1")

    @staticmethod
    def of(base: Base | BaseOutline, given: Given) -> "SamplingSettings":
        """What is given, else the base's own (`mos_defaults.json`), else the defaults.

        Raises:
            LayoutError: a setting is out of range.
        """
        own = base.defaults.get("sample", {})
        values: dict[str, Any] = {}
        for name in (field.name for field in fields(SamplingSettings)):
            value = given.get(name)
            value = own.get(name) if value is None else value
            if value is not None:
                values[name] = value
        return SamplingSettings(**values)
