"""Regionally controllable sampling from one fused model."""

from mos_shared.sampling.layout import Control, Layout, Region
from mos_shared.sampling.layout_file import read_layout
from mos_shared.sampling.sampler import Sampler, sampling
from mos_shared.sampling.settings import SamplingSettings
from mos_shared.sampling.shapes import Box, Mask, Polygon
from mos_shared.sampling.showing import contact_sheet, layout_preview, region_crop

__all__ = [
    "Box",
    "Control",
    "Layout",
    "Mask",
    "Polygon",
    "Region",
    "Sampler",
    "SamplingSettings",
    "contact_sheet",
    "layout_preview",
    "read_layout",
    "region_crop",
    "sampling",
]
