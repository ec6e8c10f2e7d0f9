"""What a fusion comes to."""

from dataclasses import dataclass

from mos_model.concepts.concept import FusedModel
from mos_server.fusion.report.report import FusionReport


@dataclass(frozen=True)
class Fusion:
    """The outcome of fusing some concepts."""

    model: FusedModel
    """The release's content, float32."""

    report: FusionReport
    """What each concept kept, layer by layer, and what the base lost."""
