"""Layouts: what stands where in a picture."""

import re
from dataclasses import dataclass
from typing import Final

from mos_shared.errors import LayoutError

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as fractions of the picture."""

_SHORTHAND: Final = re.compile(r"\s*([^:]+?)\s*:\s*(.+?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Region:
    """A box of the picture with a prompt of its own."""

    prompt: str
    box: Box
    negative_prompt: str | None = None
    """The layout's negative prompt where None."""

    weight: float = 1.0
    """Its share where regions overlap."""

    def __post_init__(self) -> None:
        """Refuse boxes that are none.

        Raises:
            LayoutError: outside the picture, empty, or of no weight.
        """
        left, top, right, bottom = self.box
        if not all(0 <= edge <= 1 for edge in self.box):
            raise LayoutError(
                f"region {self.prompt!r}: box {self.box} leaves the picture; edges are "
                "fractions from 0 to 1"
            )
        if left >= right or top >= bottom:
            raise LayoutError(
                f"region {self.prompt!r}: box {self.box} is empty; it is "
                "left,top,right,bottom"
            )
        if self.weight <= 0:
            raise LayoutError(f"region {self.prompt!r}: weight {self.weight}; above 0")

    @staticmethod
    def parse(text: str) -> "Region":
        """A region from the command line's `x0,y0,x1,y1: prompt`.

        Raises:
            LayoutError: not of that form.
        """
        found = _SHORTHAND.fullmatch(text)
        try:
            if found is None:
                raise ValueError
            left, top, right, bottom = (float(e) for e in found[1].split(","))
        except ValueError as error:
            raise LayoutError(
                f"region {text!r}: write `x0,y0,x1,y1: prompt` with fractions of the "
                "picture, as `0,0,0.5,1: <rex>`"
            ) from error
        return Region(found[2], (left, top, right, bottom))


@dataclass(frozen=True)
class Layout:
    """A picture to be: its size, its prompt, and its regions."""

    prompt: str
    """The context: what the picture shows outside the regions."""

    width: int
    height: int
    negative_prompt: str = ""
    regions: tuple[Region, ...] = ()
