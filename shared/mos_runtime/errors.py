"""The root of every error of this project.

    MosError                     one clear line for the user; exit code 2
    ├── StorageError             a file cannot be written or read back
    └── OutputError              a command may not write to the place its options name

`mos_model.errors`, `mos_protocol.errors`, `mos_client.errors`, `mos_server.errors` and
`mos_lab.errors` hang their own trees under `MosError`. Anything else that escapes is an
internal error.
"""


class MosError(Exception):
    """A failure that the user can do something about, told in one line."""


class StorageError(MosError):
    """A file cannot be written, or not be read back."""


class OutputError(MosError):
    """A command may not write to the place that its options name."""
