"""ED-LoRA tuning at a site."""

from mos_client.tuning.settings import TuneSettings
from mos_client.tuning.tune import (
    OnProgress,
    Previews,
    RunOptions,
    StopTuning,
    TuneProgress,
    tune_concept,
)

__all__ = [
    "OnProgress",
    "Previews",
    "RunOptions",
    "StopTuning",
    "TuneProgress",
    "TuneSettings",
    "tune_concept",
]
