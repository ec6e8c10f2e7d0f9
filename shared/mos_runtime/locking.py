"""One process at a time, where two would spoil a durable file between them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from mos_runtime.errors import StorageError


class HeldError(StorageError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, *, timeout_seconds: float = 60.0) -> Iterator[None]:
    """Hold the lock file `path`; it ends with the process, even a killed one.

    Args:
        path: The lock file; its folder is created where it is missing.
        timeout_seconds: How long another holder is waited for.

    Raises:
        HeldError: another process holds on.
        StorageError: the folder cannot be written.
    """
    lock = filelock.FileLock(path, timeout=timeout_seconds)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise HeldError(
            f"{path}: another process has held it for {timeout_seconds:.0f} s; wait "
            "for that one to end, or stop it"
        ) from error
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(f"{path}: cannot be locked: {reason}") from error
    try:
        yield
    finally:
        lock.release()
