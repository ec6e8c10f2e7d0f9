"""A folder that is filled with whole files or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mos_runtime.errors import StorageError


@contextmanager
def filled_folder(path: Path) -> Iterator[Path]:
    """A folder to write into, whose content is moved to `path` at the end.

    Files of the same names in `path` are replaced, others stay. After a failure `path`
    is as it was. Whether it may be filled is for `mos_runtime.outputs` to say.

    Raises:
        StorageError: nothing can be written there.
    """
    place = path.absolute()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{place.name[:50]}.", dir=place.parent))
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        yield made
        made.chmod(0o755)
        _move(made, place)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _move(made: Path, place: Path) -> None:
    """Rename the whole where nothing is in the way, else file by file."""
    if not place.exists() or not any(place.iterdir()):
        made.rename(place)
        return
    for path in sorted(made.rglob("*")):
        target = place / path.relative_to(made)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            path.replace(target)
