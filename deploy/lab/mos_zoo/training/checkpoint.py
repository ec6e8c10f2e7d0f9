"""Checkpoints that are whole or are not used.

A checkpoint file is the SHA-256 of all that follows it, then a safetensors file. The
newest whole one counts; the two newest are kept. Files are written beside and renamed
(`mos_runtime.files`), so a killed process never leaves half of one under its name.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safetensors.torch import load, save
from torch import Tensor

from mos_model.errors import TensorFileError
from mos_model.tensor_files import header_of
from mos_runtime.errors import StorageError
from mos_runtime.files import write_atomically

_DIGEST_BYTES: Final = 32
_KEPT: Final = 2
_SUFFIX: Final = ".ckpt"
_ASIDE: Final = ".old"


@dataclass(frozen=True)
class Checkpoint:
    """The state of one stage of training."""

    step: int
    facts: dict[str, object]
    """Anything JSON; among it what the state belongs to."""
    tensors: dict[str, Tensor]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write one checkpoint and drop all but the newest few.

    Raises:
        StorageError: the disk is full or read-only; older checkpoints are untouched.
    """
    facts = json.dumps({"step": checkpoint.step, **checkpoint.facts})
    content = save(checkpoint.tensors, {"facts": facts})
    path = folder / f"step-{checkpoint.step:08d}{_SUFFIX}"
    write_atomically(path, hashlib.sha256(content).digest() + content)
    for old in _newest_first(folder)[_KEPT:]:
        old.unlink(missing_ok=True)
    return path


def newest_checkpoint(folder: Path, say: Callable[[str], object]) -> Checkpoint | None:
    """The newest whole checkpoint; tells of every broken one it passes over."""
    for path in _newest_first(folder):
        try:
            return _read(path)
        except (OSError, ValueError, TensorFileError) as error:
            say(f"{path}: broken ({error}); going back to the one before it")
    return None


def set_aside(folder: Path) -> None:
    """Rename all checkpoints of a folder, so that they count no more.

    Raises:
        StorageError: the folder is read-only.
    """
    for path in _newest_first(folder):
        try:
            path.replace(path.with_suffix(_ASIDE))
        except OSError as error:
            raise StorageError(
                f"{path}: cannot be renamed: {error.strerror}"
            ) from error


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"step-*{_SUFFIX}"), reverse=True)


def _read(path: Path) -> Checkpoint:
    content = path.read_bytes()
    digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("its content does not match its digest")
    facts = json.loads(header_of(body).metadata["facts"])
    return Checkpoint(facts.pop("step"), facts, load(body))


__all__ = [
    "Checkpoint",
    "StorageError",
    "newest_checkpoint",
    "save_checkpoint",
    "set_aside",
]
