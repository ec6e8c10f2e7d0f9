"""Layouts: the regions of a picture."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from PIL import Image

from mos_model.errors import LayoutError
from mos_model.layouts.shapes import (
    Box as Box,
)
from mos_model.layouts.shapes import (
    Mask,
    Polygon,
    Shape,
    bounds,
    check_shape,
    coverage,
    open_picture,
)

_REGION: Final = re.compile(r"\s*([^:]+?)\s*:\s*(.+?)\s*", re.DOTALL)
_PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_MOST_FEATHER: Final = 0.5
_MOST_PIXELS: Final = 2**26
_HOW_REGION: Final = (
    "write `x0,y0,x1,y1: prompt` with fractions of the picture, as `0,0,0.5,1: <rex>`; "
    "a polygon is `x,y x,y x,y: prompt`, a mask `FILE.png: prompt`"
)
_HOW_EXTRA: Final = "after the shape go `;weight=2`, `;feather=0.05`, `;z=1`, `;not=..`"


@dataclass(frozen=True)
class Region:
    """A part of the picture with a prompt of its own."""

    prompt: str
    shape: Shape
    """A box, a polygon or a mask."""

    negative_prompt: str | None = None
    """The layout's negative prompt where None."""

    weight: float = 1.0
    """Its share where regions of one `z` overlap."""

    feather: float = 0.0
    """Softness of its edge (see `shapes.coverage`); 0 gives whole cells."""

    z: int = 0
    """A region hides those of lower `z` where they overlap."""

    def __post_init__(self) -> None:
        """Refuse what is no region.

        Raises:
            LayoutError: a shape outside the picture or empty, no weight, no feather.
        """
        whose = f"region {self.prompt!r}"
        check_shape(self.shape, whose)
        if not (0 < self.weight < math.inf):
            raise LayoutError(f"{whose}: weight {self.weight}; above 0")
        if not 0 <= self.feather <= _MOST_FEATHER:
            raise LayoutError(
                f"{whose}: feather {self.feather}; a fraction of the picture's shorter "
                f"side, from 0 to {_MOST_FEATHER}"
            )

    @property
    def box(self) -> Box:
        """The smallest box around it."""
        return bounds(self.shape)

    @property
    def soft(self) -> bool:
        """Whether it covers cells in part."""
        return self.feather > 0 or isinstance(self.shape, Mask)

    @staticmethod
    def parse(text: str) -> "Region":
        """A region from the command line: `SHAPE[;weight=..][;feather=..]: prompt`.

        Raises:
            LayoutError: not of that form, or a mask that is missing.
        """
        found = _REGION.fullmatch(text)
        if found is None or not found[2].strip():
            raise LayoutError(f"region {text!r}: {_HOW_REGION}")
        first, *rest = (part.strip() for part in found[1].split(";"))
        try:
            shape = _parsed_shape(first)
        except ValueError as error:
            raise LayoutError(f"region {text!r}: {_HOW_REGION}") from error
        return Region(found[2], shape, **_parsed_extras(rest, text))


@dataclass(frozen=True, eq=False)
class Control:
    """A picture that steers, through a T2I-Adapter or a ControlNet."""

    model: str
    """A name of the mini zoo, a directory, or a hub name."""

    image: Image.Image
    """Of the layout's size."""

    weight: float = 1.0
    """Everywhere, or outside the regions where `region_weights` are given."""

    region_weights: tuple[float, ...] | None = None
    """One for each region of the layout."""

    until: float = 1.0
    """The share of the steps, 0 to 1, after which it no longer steers."""

    def __post_init__(self) -> None:
        """Refuse what cannot steer.

        Raises:
            LayoutError: a negative weight or none at all, or `until` outside 0 to 1.
        """
        for weight in (self.weight, *(self.region_weights or ())):
            if not 0 <= weight < math.inf:
                raise LayoutError(f"control {self.model}: weight {weight}; 0 or more")
        if not 0 < self.until <= 1:
            raise LayoutError(
                f"control {self.model}: until {self.until}; a share of the steps, "
                "above 0 and at most 1"
            )

    @staticmethod
    def parse(text: str) -> "Control":
        """A control from the command line: `MODEL:IMAGE[:WEIGHT[,WEIGHT..]]`.

        Several weights are that outside the regions, then one for each region.

        Raises:
            LayoutError: not of that form, or the picture is missing.
        """
        parts = text.split(":")
        try:
            if len(parts) not in (2, 3) or not all(parts):
                raise ValueError
            first, *rest = [float(w) for w in (parts[2:] or ["1"])[0].split(",")]
        except ValueError as error:
            raise LayoutError(
                f"control {text!r}: write `MODEL:IMAGE` or `MODEL:IMAGE:WEIGHT`, as "
                "`mini-adapter:outlines.png:0.8`; several weights, `1,0.5,0`, are that "
                "outside the regions and one for each region"
            ) from error
        image = open_picture(Path(parts[1]).expanduser(), "a control's picture")
        return Control(parts[0], image, first, tuple(rest) or None)


@dataclass(frozen=True)
class Layout:
    """A picture to be: its size, its prompt, its regions, what steers it."""

    prompt: str
    """The context: what the picture shows outside the regions."""

    width: int
    """Pixels."""

    height: int
    negative_prompt: str = ""
    regions: tuple[Region, ...] = ()
    controls: tuple[Control, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a size that no picture has.

        Raises:
            LayoutError: a side below one pixel, or more pixels than memory holds.
        """
        size = f"size {self.width}x{self.height}"
        if min(self.width, self.height) < 1:
            raise LayoutError(f"{size}: both sides are at least 1 pixel")
        if self.width * self.height > _MOST_PIXELS:
            raise LayoutError(f"{size}: more than {_MOST_PIXELS} pixels")

    def coverages(self) -> list[Float[np.ndarray, "height width"]]:
        """How much of each pixel every region covers, 0 to 1, before any hides another.

        Raises:
            LayoutError: a mask of another size than the picture, a region that others
                hide wholly, or two that cover the same at one `z`.
        """
        covers = []
        for region in self.regions:
            try:
                covers.append(
                    coverage(
                        region.shape, self.width, self.height, feather=region.feather
                    )
                )
            except LayoutError as error:
                raise LayoutError(f"region {region.prompt!r}: {error}") from error
        self.check_apart(covers, "pixels")
        return covers

    def check_apart(self, covers: Sequence[Any], units: str) -> None:
        """Refuse regions of which one could not show.

        Args:
            covers: How much of each pixel, or of each cell, every region covers.
            units: What these are, for the message.

        Raises:
            LayoutError: a region that others hide wholly, or two that cover the same
                at one `z`.
        """
        for index, (region, cover) in enumerate(zip(self.regions, covers, strict=True)):
            left = cover
            for other, above in zip(self.regions, covers, strict=True):
                if other.z > region.z:
                    left = left * (1 - above)
            if not left.any():
                raise LayoutError(
                    f"region {region.prompt!r}: others of higher z hide it wholly; "
                    "move it, or give it a higher z"
                )
            for other, same in zip(self.regions[:index], covers, strict=False):
                if other.z == region.z and not (same != cover).any():
                    raise LayoutError(
                        f"regions {other.prompt!r} and {region.prompt!r} cover the "
                        f"same {units}, so one would blend into the other: move or "
                        "enlarge one, or join their prompts"
                    )

    def check_controls(self) -> None:
        """Refuse controls that do not go with the rest.

        Raises:
            LayoutError: a picture of another size, or weights for more or fewer
                regions than there are.
        """
        for control in self.controls:
            if control.image.size != (self.width, self.height):
                own = "x".join(map(str, control.image.size))
                raise LayoutError(
                    f"control {control.model}: its picture is {own}, the layout "
                    f"{self.width}x{self.height}; they must be of one size"
                )
            weights = control.region_weights
            if weights is not None and len(weights) != len(self.regions):
                raise LayoutError(
                    f"control {control.model}: {len(weights)} region weights for "
                    f"{len(self.regions)} regions; give one for each"
                )


def _parsed_shape(text: str) -> Shape:
    if text.lower().endswith(_PICTURES):
        return Mask.read(Path(text).expanduser())
    numbers = [[float(edge) for edge in point.split(",")] for point in _points(text)]
    if len(numbers) == 1:
        left, top, right, bottom = numbers[0]
        return (left, top, right, bottom)
    if any(len(point) != 2 for point in numbers):
        raise ValueError
    return Polygon(tuple((x, y) for x, y in numbers))


def _points(text: str) -> list[str]:
    """`0, 0, 1,1` is one box, `0,0 1,0 1,1` three points."""
    return re.sub(r"\s*,\s*", ",", text).split()


def _parsed_extras(parts: list[str], text: str) -> dict[str, Any]:
    readers: dict[str, tuple[str, Callable[[str], Any]]] = {
        "weight": ("weight", float),
        "feather": ("feather", float),
        "z": ("z", int),
        "not": ("negative_prompt", str),
    }
    extras: dict[str, Any] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        try:
            field, read = readers[name.strip()]
            if not equals:
                raise ValueError
            extras[field] = read(value.strip())
        except (KeyError, ValueError) as error:
            raise LayoutError(
                f"region {text!r}: {part!r} is not understood; {_HOW_EXTRA}"
            ) from error
    return extras
