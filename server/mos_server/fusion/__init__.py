"""Gradient fusion: many concepts into one low-rank update of the base."""

from mos_server.fusion.fuse import fuse_concepts
from mos_server.fusion.ledger.ledger import Ledger, can_join
from mos_server.fusion.progress import OnProgress
from mos_server.fusion.report.outcome import Fusion
from mos_server.fusion.report.report import FusionReport
from mos_server.fusion.settings import FusionSettings

__all__ = [
    "Fusion",
    "FusionReport",
    "FusionSettings",
    "Ledger",
    "OnProgress",
    "can_join",
    "fuse_concepts",
]
