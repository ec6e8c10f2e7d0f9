"""Gradient fusion: many concepts into one low-rank update of the base."""

from mos_server.fusion.fuse import Fusion, OnProgress, fuse_concepts
from mos_server.fusion.report import FusionReport
from mos_server.fusion.settings import FusionSettings

__all__ = ["Fusion", "FusionReport", "FusionSettings", "OnProgress", "fuse_concepts"]
