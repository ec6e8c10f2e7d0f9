"""The errors of the model side.

MosError                     one clear line for the user; exit code 2
├── BaseError                a base cannot be found, read or used
│   └── BaseMismatchError    made for another base than the one in use
├── ConceptError             a concept or a fused model is malformed
├── TensorFileError          a file on disk is not a whole safetensors file
├── DeviceError              a device or precision is not available here
├── DataError                a folder of pictures cannot be used
├── PromptError              a prompt cannot be encoded as it stands
├── LayoutError              a layout of regions contradicts itself
├── TuningError              a tuning run cannot start, go on or be resumed
├── MetricsError             a model to judge pictures with is missing or broken
└── ZooError                 a part of the mini zoo is missing or broken
"""

from mos_runtime.errors import MosError


class BaseError(MosError):
    """A base model cannot be found, read or used."""


class BaseMismatchError(BaseError):
    """Something was made for another base than the one in use."""


class ConceptError(MosError):
    """A concept or a fused model is malformed."""


class TensorFileError(MosError):
    """A file on disk is not a whole safetensors file."""


class DeviceError(MosError):
    """A device or a precision is not available on this machine."""


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


class ZooError(MosError):
    """A part of the mini zoo is missing or broken."""
