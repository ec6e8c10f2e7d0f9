"""Pictures of a concept: read from a folder, laid into buckets, shown before tuning."""

from mos_client.pictures.concept_file import (
    FILE as CONCEPT_FILE,
)
from mos_client.pictures.concept_file import (
    ConceptFile,
    ConceptName,
    concept_name,
    read_concept_file,
)
from mos_client.pictures.folder import Folder, Picture, read_folder, scan_folder
from mos_client.pictures.notes import FileNote

__all__ = [
    "CONCEPT_FILE",
    "ConceptFile",
    "ConceptName",
    "FileNote",
    "Folder",
    "Picture",
    "concept_name",
    "read_concept_file",
    "read_folder",
    "scan_folder",
]
