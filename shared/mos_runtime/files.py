"""Files that are either the old ones or the new ones, never half of each.

Every durable file of the project is written through `write_atomically`: beside its
place, flushed to the disk, then renamed over it.
"""

import os
import tempfile
from pathlib import Path

import platformdirs

from mos_runtime.errors import StorageError

_MOST_PREFIX = 50
"""Characters of a file's name in its temporary name, which must not grow too long."""


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write `content` to `path` so that a crash leaves the old file or the new one.

    Args:
        path: The file's place; its folder is created where it is missing.
        content: The whole content.
        mode: Permission bits of the new file, whatever the umask; 0o600 for
            private keys.

    Raises:
        StorageError: the disk is full, the folder is read-only, or the like.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(
            prefix=f".{path.name[:_MOST_PREFIX]}.", dir=path.parent
        )
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(mode)
        Path(beside).replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        Path(beside).unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def data_folder(variable: str, name: str) -> Path:
    """Where `$variable` points, else the folder `name` among the user's data."""
    chosen = os.environ.get(variable)
    return Path(chosen) if chosen else platformdirs.user_data_path("mix-of-show") / name


def private_folder(folder: Path, *, ours: bool) -> None:
    """See to it that a folder is its owner's alone, and make it where it is missing.

    Others are shut out of one that is `ours`, or empty. One that holds something else
    stays as it is.

    Raises:
        StorageError: it cannot be made or shut, or holds something else and others may
            enter it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name != "posix" or not folder.stat().st_mode & 0o077:
            return
        if ours or not any(folder.iterdir()):
            folder.chmod(0o700)
            return
    except OSError as error:
        raise StorageError(f"{folder}: cannot be created: {error.strerror}") from error
    raise StorageError(
        f"{folder}: holds other files, and others on this machine may enter it; "
        f"`chmod 700 {folder}`, or name a folder that does not exist yet"
    )


def read_whole(path: Path, *, what: str, max_bytes: int | None = None) -> bytes:
    """The bytes of `path`.

    Args:
        path: The file.
        what: What the file should be, for the message ("a concept").
        max_bytes: Refuse anything larger before reading it.

    Raises:
        StorageError: there is no such file, it cannot be read, or it is too large.
    """
    try:
        size = path.stat().st_size
        if max_bytes is not None and size > max_bytes:
            raise StorageError(
                f"{path}: {size} bytes; {what} has at most {max_bytes} bytes"
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise StorageError(
            f"{path}: no such file; {what} was expected there"
        ) from error
    except OSError as error:
        raise StorageError(
            f"{path}: {what} cannot be read: {error.strerror}"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable; not every system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
