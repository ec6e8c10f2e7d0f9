"""A folder that appears whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mos_runtime.errors import StorageError


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write into, renamed to `path` at the end, removed after a failure.

    Raises:
        StorageError: `path` is there already and not an empty folder, or nothing can
            be written beside it.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise StorageError(f"{path}: is there already; remove it or choose another")
    place = path.absolute()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        yield beside
        beside.chmod(0o755)
        beside.rename(place)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise StorageError(f"{path}: cannot be written: {error}") from error
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
