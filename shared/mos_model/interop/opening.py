"""A foreign file opened: safetensors, or the zip that `torch.save` writes.

The content decides, not the name. A pickle is read by `torch.load(weights_only=True)`
alone, and only out of a zip whose entries are not compressed, so that a small file
cannot become a large one. No tensor's values are looked at here.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from safetensors.torch import load
from torch import Tensor

from mos_model.errors import ConceptError, TensorFileError
from mos_model.tensor_files import header_of

_ZIP: Final = b"PK\x03\x04"
_WRAPPER: Final = "state_dict"
_MAX_LEVELS: Final = 3
_MAX_ENTRIES: Final = 100_000


@dataclass(frozen=True)
class ForeignFile:
    """What a file of another tool holds."""

    table: Mapping[str, Any]
    """Name -> tensor; in a pickle also name -> table, or whatever stands there."""

    metadata: Mapping[str, str]
    """The header's metadata; empty for a pickle."""

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its name, names of nested tables joined by dots.

        Raises:
            ConceptError: tables nested too deep, or a tensor that costs more than the
                bytes that the file has for it.
        """
        table = self.table.get(_WRAPPER)
        found: dict[str, Tensor] = {}
        walk = _flat(table if isinstance(table, dict) else self.table, "", _MAX_LEVELS)
        for name, tensor in walk:
            if len(found) == _MAX_ENTRIES:
                raise ConceptError(f"more than {_MAX_ENTRIES} tensors")
            found[name] = tensor
        return found


def open_foreign(content: bytes) -> ForeignFile:
    """Open a file of another tool.

    Raises:
        ConceptError: neither safetensors nor a zip of plain tensors; says what it is.
    """
    if content.startswith(_ZIP):
        return ForeignFile(_unpickled(content), {})
    try:
        header = header_of(content)
    except TensorFileError as error:
        raise ConceptError(str(error)) from error
    try:
        return ForeignFile(load(content), header.metadata)
    except Exception as error:  # whatever a crafted file brings the reader to raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConceptError(f"not a whole safetensors file: {reason[:200]}") from error


def _unpickled(content: bytes) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except Exception as error:  # crafted directories of a zip raise many things
        raise ConceptError(f"not a whole file of torch.save: {error}") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ConceptError("its parts are compressed, which torch.save never does")
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a crafted pickle brings the reader to raise
        # torch's own text advises `weights_only=False`, which runs the pickle's code.
        raise ConceptError(
            "not a whole file of plain tensors: its pickle is broken or holds objects, "
            "which can run code and are not opened"
        ) from error
    if not isinstance(found, dict):
        raise ConceptError("no table of tensors in it")
    return found


def _flat(
    table: Mapping[Any, Any], before: str, levels: int
) -> Iterator[tuple[str, Tensor]]:
    """Tensors of nested tables; what else stands there (names, steps) is left out."""
    for key, value in table.items():
        name = f"{before}{key}"
        if isinstance(value, Tensor):
            yield name, _plain(name, value)
        elif isinstance(value, Mapping):
            if levels == 1:
                raise ConceptError(f"{name[:80]}: tables nested too deep")
            yield from _flat(value, f"{name}.", levels - 1)


def _plain(name: str, tensor: Tensor) -> Tensor:
    """A dense tensor on the CPU whose values all stand in the file."""
    dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not dense or tensor.is_quantized:
        raise ConceptError(f"{name[:80]}: not a plain tensor")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ConceptError(f"{name[:80]}: larger than its bytes in the file")
    return tensor.detach()
