"""Concepts from the files of other tools, and into them."""

from mos_model.interop.exporting import (
    export_diffusers,
    export_kohya,
    layers_differ,
    words_of,
)
from mos_model.interop.importing import Imported, import_concept
from mos_model.interop.merged import export_merged

__all__ = [
    "Imported",
    "export_diffusers",
    "export_kohya",
    "export_merged",
    "import_concept",
    "layers_differ",
    "words_of",
]
