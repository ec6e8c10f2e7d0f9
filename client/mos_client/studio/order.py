"""What the page orders: a layout, a model, seeds and settings."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from mos_model.errors import LayoutError

OWN: Final = "own"
"""The model of this site's own concepts, added up without fusion."""

BARE: Final = ""
"""The base alone."""

MOST_IMAGES: Final = 64
_SETTINGS: Final[Mapping[str, Any]] = {
    "steps": int,
    "guidance": float,
    "scheduler": str,
    "lead": float,
    "isolation": float,
    "base_ratio": float,
    "exclude_others": bool,
}
_MOST_STEPS: Final = 1000


@dataclass(frozen=True)
class Order:
    """One order of pictures."""

    layout: Mapping[str, Any]
    """As a layout's file has it; masks and controls by their uploaded names."""

    model: str = "newest"
    """A held release's number, "newest", `OWN` or `BARE`."""

    seed: int = 0
    """Of the first picture, the next ones counting up; -1 is a random one."""

    images: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    """As `SamplingSettings`; what is absent is the base's own."""

    preview_every: int = 4
    """Steps between previews, at least."""

    @staticmethod
    def from_json(entries: Any) -> "Order":
        """An order from the page.

        Raises:
            LayoutError: naming what is wrong in it.
        """
        if not isinstance(entries, dict):
            raise LayoutError("the order: an object was expected")
        known = ("layout", "model", "seed", "images", "settings", "preview_every")
        for key in entries:
            if key not in known:
                raise LayoutError(f"the order: {key!r} is not known")
        layout = entries.get("layout")
        if not isinstance(layout, dict):
            raise LayoutError("the order: 'layout' is missing")
        model = entries.get("model", "newest")
        if not isinstance(model, str) or not (
            model in ("newest", OWN, BARE) or model.isdecimal()
        ):
            raise LayoutError(f"model {str(model)[:40]!r}: a release's number, or own")
        return Order(
            layout,
            model,
            _whole(entries, "seed", 0, least=-1, most=2**64 - 1 - MOST_IMAGES),
            _whole(entries, "images", 1, least=1, most=MOST_IMAGES),
            _settings(entries.get("settings", {})),
            _whole(entries, "preview_every", 4, least=1, most=_MOST_STEPS),
        )

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return asdict(self)


def _whole(
    entries: Mapping[str, Any], key: str, default: int, *, least: int, most: int
) -> int:
    value = entries.get(key, default)
    if type(value) is not int or not least <= value <= most:
        raise LayoutError(f"{key} {str(value)[:40]!r}: a whole number, {least}..{most}")
    return value


def _settings(entries: Any) -> dict[str, Any]:
    if not isinstance(entries, dict):
        raise LayoutError("settings: an object was expected")
    chosen: dict[str, Any] = {}
    for key, given in entries.items():
        value: Any = given
        kind = _SETTINGS.get(key)
        if kind is None:
            raise LayoutError(f"setting {key!r} is not known: {', '.join(_SETTINGS)}")
        if value is None:
            continue
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind or (kind is float and not math.isfinite(value)):
            raise LayoutError(
                f"setting {key}: {str(value)[:40]!r} is no {kind.__name__}"
            )
        if key == "steps" and value > _MOST_STEPS:
            raise LayoutError(f"setting steps: at most {_MOST_STEPS}")
        chosen[key] = value
    return chosen
