"""Where a command writes: one rule for all of them, applied before any work.

- Nothing that exists is replaced unless `--force` is given. Names are not numbered: a
  script that names a file finds its result there, or learns that there is none.
- A file's suffix says its format. A suffix that the command does not write is refused.
- The place must be writable. A folder that is missing is made when the file is written.
- A folder may be filled if it is new, empty, or the same command's earlier result.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from mos_runtime.errors import OutputError


def output_file(
    path: Path,
    *,
    force: bool,
    suffixes: Sequence[str] = (),
    option: str = "--out",
) -> Path:
    """`path`, if a command may write a file there.

    Args:
        path: The file.
        force: Replace a file that exists.
        suffixes: Those that name a format the command writes, lower case, the usual one
            first; none: any name will do.
        option: What the path was given by, for the message.

    Raises:
        OutputError: naming what is wrong and the way out.
    """
    what = f"{option} {path}"
    if not path.name:
        raise OutputError(f"{what}: a folder; name a file in it")
    _check_name(path, what, suffixes)
    found = _found(path, what)
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise OutputError(f"{what}: a folder; name a file in it")
    if found is not None and not _replaceable(found):
        raise OutputError(f"{what}: not an ordinary file; choose another name")
    if found is not None and not force:
        raise OutputError(
            f"{what}: exists already; choose another name, or replace it with --force"
        )
    _check_place(path.absolute().parent, what)
    return path


def output_folder(
    path: Path, *, force: bool = False, own: Sequence[str] = (), option: str = "--out"
) -> Path:
    """`path`, if a command may fill this folder.

    Args:
        path: The folder.
        force: Write into a folder that holds something; files of the same names are
            replaced, others stay.
        own: Names that an earlier run of the same command left; a folder with one of
            them may be used again. Commands that also remove files there offer this
            in place of `--force`.
        option: What the path was given by, for the message.

    Raises:
        OutputError: naming what is wrong and the way out.
    """
    what = f"{option} {path}"
    found = _found(path, what)
    if found is None:
        _check_place(path.absolute().parent, what)
        return path
    if not path.is_dir():
        raise OutputError(f"{what}: a file; name a folder")
    _check_place(path.absolute(), what)
    names = {entry.name for entry in path.iterdir()}
    if names and not force and not names & set(own):
        way = "" if own else ", or write into it with --force"
        raise OutputError(f"{what}: the folder is not empty; choose another{way}")
    return path


def _check_name(path: Path, what: str, suffixes: Sequence[str]) -> None:
    if not suffixes or path.suffix.lower() in suffixes:
        return
    if path.name.lower() in suffixes:
        raise OutputError(f"{what}: no name before the suffix; as picture{path.name}")
    several = len(suffixes) > 1
    known = ", ".join(suffixes[:-1]) + " or " + suffixes[-1] if several else suffixes[0]
    name = path.name.rstrip(".")
    raise OutputError(
        f"{what}: the suffix says the format, and {known} is written; name it "
        f"{name}{suffixes[0]}"
    )


def _found(path: Path, what: str) -> os.stat_result | None:
    """What is there; a link is looked at itself where it leads nowhere."""
    try:
        return path.stat() if path.exists() else path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{what}: cannot be written: {reason}") from error


def _replaceable(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)


def _check_place(folder: Path, what: str) -> None:
    """Refuse a folder that cannot be written, or not be made."""
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise OutputError(f"{what}: {nearest} is a file, not a folder")
    if not os.access(nearest, os.R_OK | os.W_OK | os.X_OK):
        raise OutputError(
            f"{what}: the folder {nearest} cannot be written; choose another place"
        )
