"""Pictures of a concept: read from a folder, laid into buckets, shown before tuning."""

from mos_client.pictures.folder import Folder, Picture, read_folder

__all__ = ["Folder", "Picture", "read_folder"]
