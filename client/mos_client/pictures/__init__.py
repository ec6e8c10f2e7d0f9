"""Pictures of a concept: read from a folder, laid into buckets, shown before tuning."""

from mos_client.pictures.concept_file import ConceptFile, read_concept_file
from mos_client.pictures.folder import Folder, Picture, read_folder

__all__ = ["ConceptFile", "Folder", "Picture", "read_concept_file", "read_folder"]
