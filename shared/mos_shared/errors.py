"""The errors of the model side, and the root of every error of this project.

    MosError                     one clear line for the user; exit code 2
    ├── BaseError                a base cannot be found, read or used
    │   └── BaseMismatchError    made for another base than the one at hand
    ├── ConceptError             a concept or a fused model is malformed
    ├── DeviceError              a device or precision is not to be had here
    ├── DataError                a folder of pictures cannot be used
    ├── PromptError              a prompt cannot be encoded as it stands
    ├── LayoutError              a layout of regions contradicts itself
    ├── TuningError              a tuning run cannot start, go on or be resumed
    ├── MetricsError             a model to judge pictures with is missing or broken
    ├── StorageError             a file cannot be written or read back
    └── ZooError                 a part of the mini zoo is missing or broken

`mos_protocol.errors`, `mos_client.errors` and `mos_server.errors` hang their own
trees under `MosError`. Anything else that escapes is a bug of ours.
"""


class MosError(Exception):
    """A failure that the user can do something about, told in one line."""


class BaseError(MosError):
    """A base model cannot be found, read or used."""


class BaseMismatchError(BaseError):
    """Something was made for another base than the one at hand."""


class ConceptError(MosError):
    """A concept or a fused model is malformed."""


class DeviceError(MosError):
    """A device or a precision is not to be had on this machine."""


class DataError(MosError):
    """A folder of pictures cannot be used."""


class PromptError(MosError):
    """A prompt cannot be encoded as it stands."""


class LayoutError(MosError):
    """A layout of regions contradicts itself or the base."""


class TuningError(MosError):
    """A tuning run cannot start, go on or be resumed."""


class MetricsError(MosError):
    """A model to judge pictures with is missing or broken."""


class StorageError(MosError):
    """A file cannot be written, or not be read back."""


class ZooError(MosError):
    """A part of the mini zoo is missing or broken."""
