"""ED-LoRA tuning at a site."""

from mos_client.tuning.settings import TuneSettings
from mos_client.tuning.tune import OnProgress, Previews, TuneProgress, tune_concept

__all__ = ["OnProgress", "Previews", "TuneProgress", "TuneSettings", "tune_concept"]
