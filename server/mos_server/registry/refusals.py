"""Refused bundles kept aside, within limits: a flood of them must not fill the disk."""

import hashlib
from pathlib import Path
from typing import Final

from mos_runtime.files import write_atomically

MAX_KEPT: Final = 100
"""Refused bundles kept at most; the oldest make way."""

MAX_KEPT_BYTES: Final = 512 * 2**20
"""Bytes of all of them together; a larger one is recorded without its content."""

_SUFFIX: Final = ".bundle"


def keep_aside(folder: Path, content: bytes, reason: str, text: str) -> str:
    """Write a refused bundle and its reason into `folder`.

    Returns:
        The file's name; "" where the content is too large to be kept.

    Raises:
        StorageError: the disk is full, or the like.
    """
    if len(content) > MAX_KEPT_BYTES:
        return ""
    path = folder / f"{hashlib.sha256(content).hexdigest()}{_SUFFIX}"
    # The reason first, so that no bundle ever lies there without one.
    write_atomically(_reason_path(path), f"{reason}: {text}\n".encode())
    try:
        write_atomically(path, content)
    except BaseException:
        if not path.exists():
            _reason_path(path).unlink(missing_ok=True)
        raise
    _make_room(folder)
    return path.name


def _make_room(folder: Path) -> None:
    kept = sorted(
        ((path.stat().st_mtime_ns, path) for path in folder.glob(f"*{_SUFFIX}")),
        reverse=True,
    )
    total = 0
    for place, (_, path) in enumerate(kept):
        total += path.stat().st_size
        if place >= MAX_KEPT or total > MAX_KEPT_BYTES:
            path.unlink(missing_ok=True)
            _reason_path(path).unlink(missing_ok=True)


def _reason_path(path: Path) -> Path:
    return path.with_suffix(".reason.txt")
