"""A disk that takes no more: what a full one does to a program, for real."""

import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def no_file_larger_than(limit_bytes: int) -> Iterator[None]:
    """Inside, the system lets this process write no file beyond a size."""
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, kept[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, lock files aside, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


def mount_small_disk(folder: Path, size_bytes: int) -> bool:
    """A disk of its own at `folder`, in memory; False where that is not allowed."""
    mount = shutil.which("mount")
    if mount is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    return subprocess.run([mount, *options], capture_output=True).returncode == 0


def unmount(folder: Path) -> None:
    """Take the disk away again, once nobody holds a file of it open."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
