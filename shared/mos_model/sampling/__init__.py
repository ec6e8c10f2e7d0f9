"""Regionally controllable sampling from one fused model."""

from mos_model.layouts.layout import Control, Layout, Region
from mos_model.layouts.layout_file import read_layout
from mos_model.layouts.preview import contact_sheet, layout_preview, region_crop
from mos_model.layouts.shapes import Box, Mask, Polygon
from mos_model.sampling.pipeline import RegionalPipeline
from mos_model.sampling.sampler import Sampler, sampling
from mos_model.sampling.settings import SamplingSettings

__all__ = [
    "Box",
    "Control",
    "Layout",
    "Mask",
    "Polygon",
    "Region",
    "RegionalPipeline",
    "Sampler",
    "SamplingSettings",
    "contact_sheet",
    "layout_preview",
    "read_layout",
    "region_crop",
    "sampling",
]
