"""Regionally controllable sampling from one fused model."""

from mos_shared.sampling.layout import Layout, Region
from mos_shared.sampling.sampler import Sampler, sampling

__all__ = ["Layout", "Region", "Sampler", "sampling"]
