"""The size and shape of the code, as figures; of any revision.

    python -m tests.benchmarks.house [--revision REV] [--duplicates]

JSON lines: one for each package, one for all of it, one for what a site installs.

- `files`, `lines`: modules and their lines, without generated ones; `data_bytes`: what
  else the package carries, mostly weights;
- `longest_function`: in lines, of a command without its signature; `most_parameters`:
  of a function that is no command;
- `modules_per_folder`: in the folder that has most;
- `modules_in_circles`: modules that import themselves through others (grimp; imports
  within functions count, those for types alone do not);
- `duplicates`: blocks of five lines or more that stand twice, by pylint
  (`pip install pylint`);
- the site: its wheels with all they require, as installed in this environment.
  `missing` are requirements that are not installed here, and so not counted.
"""

import argparse
import importlib.metadata
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import grimp
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.benchmarks._sources import (
    PRODUCT,
    ROOT,
    Function,
    functions_of,
    product_modules,
)

EQUAL_LINES: Final = 5
_MIB: Final = 2**20


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description="The code in figures.")
    parser.add_argument("--revision", help="default: the files as they stand")
    parser.add_argument("--duplicates", action="store_true")
    options = parser.parse_args()
    revision = options.revision
    holder = tempfile.TemporaryDirectory() if revision else nullcontext(str(ROOT))
    with holder as folder:
        root = Path(folder)
        if revision:
            _unpack(revision, root)
        label = revision or "here"
        packages = packages_of(root)
        for package in packages:
            _say(revision=label, package=package.name, **measured(root, package))
        whole = {**measured(root), "modules_in_circles": len(in_circles(packages))}
        if options.duplicates:
            whole["duplicates"] = duplicates(packages)
        _say(revision=label, package="all", **whole)
        _say(revision=label, installed="site", **installed(root))


def _say(**facts: Any) -> None:
    print(json.dumps({"benchmark": "house", **facts}), flush=True)


def _unpack(revision: str, folder: Path) -> None:
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", revision]
    content = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")


def packages_of(root: Path) -> list[Path]:
    """The folders of all packages."""
    return sorted(
        path.parent
        for folder in PRODUCT
        for path in (root / folder).glob("mos_*/__init__.py")
    )


def measured(root: Path, package: Path | None = None) -> dict[str, Any]:
    """Figures of one package, or of all."""
    modules = [
        path
        for path in product_modules(root)
        if package is None or path.is_relative_to(package)
    ]
    functions = [(path, one) for path in modules for one in functions_of(path)]
    longest = max(functions, key=lambda pair: pair[1].lines)
    plain = [pair for pair in functions if not pair[1].is_command]
    most = max(plain, key=lambda pair: pair[1].parameters)
    fullest, count = Counter(path.parent for path in modules).most_common(1)[0]
    folders = packages_of(root) if package is None else [package]
    return {
        "files": len(modules),
        "lines": sum(len(path.read_text("utf-8").splitlines()) for path in modules),
        "data_bytes": sum(_bytes(folder, ".py") for folder in folders),
        "longest_function": longest[1].lines,
        "longest": _named(root, longest),
        "most_parameters": most[1].parameters,
        "most": _named(root, most),
        "modules_per_folder": count,
        "fullest": str(fullest.relative_to(root)),
    }


def _named(root: Path, pair: tuple[Path, Function]) -> str:
    return f"{pair[0].relative_to(root)}: {pair[1].name}"


def in_circles(packages: Iterable[Path]) -> list[str]:
    """Modules that import themselves through others."""
    packages = list(packages)
    before = list(sys.path)
    sys.path[:0] = [str(package.parent) for package in packages]
    try:
        graph = grimp.build_graph(
            *(package.name for package in packages),
            exclude_type_checking_imports=True,
            cache_dir=None,
        )
    finally:
        sys.path[:] = before
    return sorted(
        name
        for name in graph.modules
        if any(
            name in graph.find_upstream_modules(next_)
            for next_ in graph.find_modules_directly_imported_by(name)
        )
    )


def duplicates(packages: Iterable[Path]) -> int | str:
    """How many blocks stand twice, by pylint; or why that is not known."""
    command = [sys.executable, "-m", "pylint", "--disable=all"]
    command += ["--enable=duplicate-code", f"--min-similarity-lines={EQUAL_LINES}"]
    command += ["--ignore-imports=y", "--ignore-signatures=y"]
    command += ["--ignore-docstrings=y", "--ignore-patterns=.*_pb2.py"]
    command += ["--output-format=json", *map(str, packages)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        return f"not measured: {done.stderr.strip().splitlines()[-1]}"
    return len(json.loads(done.stdout))


def installed(root: Path) -> dict[str, Any]:
    """What a site installs, from the requirements that the projects declare."""
    own: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in (root, *(root / folder for folder in PRODUCT)):
        if (file := path / "pyproject.toml").exists():
            settings = tomllib.loads(file.read_text("utf-8"))
            own[canonicalize_name(settings["project"]["name"])] = path, settings
    pending = ["mix-of-show-site" if "mix-of-show-site" in own else next(iter(own))]
    found: dict[str, int] = {}
    missing = []
    while pending:
        name = pending.pop()
        if name in found or name in missing:
            continue
        if name in own:
            path, settings = own[name]
            wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
            found[name] = sum(_bytes(path / one) for one in wheel["packages"])
            pending += _required(settings["project"]["dependencies"])
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        found[name] = sum(file.size or 0 for file in distribution.files or ())
        pending += _required(distribution.requires or ())
    mine = sum(size for name, size in found.items() if name in own)
    return {
        "distributions": len(found),
        "mib": round(sum(found.values()) / _MIB),
        "mib_without_torch": round((sum(found.values()) - found["torch"]) / _MIB),
        "own_mib": round(mine / _MIB, 1),
        "missing": missing,
    }


def _bytes(folder: Path, *without: str) -> int:
    files = (path for path in folder.rglob("*") if path.is_file())
    left = (path for path in files if path.suffix not in (".pyc", *without))
    return sum(path.stat().st_size for path in left)


def _required(lines: Iterable[str]) -> list[str]:
    requirements = map(Requirement, lines)
    return [
        canonicalize_name(one.name)
        for one in requirements
        if one.marker is None or one.marker.evaluate({"extra": ""})
    ]


if __name__ == "__main__":
    main()
