"""What a fusion comes to, and how it tells its progress."""

from collections.abc import Callable
from dataclasses import dataclass

from mos_model.concept import FusedModel
from mos_server.fusion.report.report import FusionReport

OnProgress = Callable[[str, float], None]
"""Called with what happens now, and how much of the fusion is done, 0 to 1."""


@dataclass(frozen=True)
class Fusion:
    """The outcome of fusing some concepts."""

    model: FusedModel
    """The release's content, float32."""

    report: FusionReport
    """What each concept kept, layer by layer, and what the base lost."""


def part_of(tell: OnProgress, first: float, last: float) -> OnProgress:
    """Progress of a part: its 0 to 1 is `first` to `last` of the whole."""
    return lambda what, share: tell(what, first + share * (last - first))


def silent(what: str, share: float) -> None:
    """Tell nobody."""
