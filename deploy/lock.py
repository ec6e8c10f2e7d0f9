"""Write deploy/locks anew from constraints.txt and the pyproject files: `make lock`.

A lock holds every package of one installation with its version and the SHA-256 of each
of its files, and no address: pip takes a file from wherever it is set to look, and
refuses it unless the hash is one of these. torch and the CUDA packages it brings from
the index are a lock of their own, `torch-cuda.txt`: the build of torch for processors
is offered elsewhere, under the same version, and takes its place (`torch-cpu.txt`,
written by hand).
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "deploy" / "locks"
INSTALLATIONS = {
    "centre": (".", "./server[postgresql]", "hatchling"),
    "site": (".", "./client", "hatchling"),
    "development": (".[dev,docs]", "./client", "./server[postgresql]", "./deploy/lab"),
}
"""What is installed, by the lock's name; hatchling builds the packages themselves."""

OURS = ("federated", "site", "centre", "lab")
CUDA = re.compile(r"(torch|triton|nvidia-.*|cuda-.*)==")
"""torch, and what only its CUDA build needs."""

OLDEST_PYTHON = "3.11.5"
"""The documentation's packages want it; the others are content with 3.11."""


def resolve(uv: str, wanted: tuple[str, ...], constraints: Path) -> list[str]:
    """The packages of one installation: each its line, with the hashes below it."""
    ours = [f"--no-emit-package=mix-of-show-{name}" for name in OURS]
    lines = [f"-e {one}" if one.startswith(".") else one for one in wanted]
    with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
        file.write("\n".join(lines))
        file.flush()
        command = [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes"]
        command += ["--no-header", "--no-annotate", "--no-emit-index-url", *ours]
        command += ["--python-version", OLDEST_PYTHON, "--constraint", str(constraints)]
        done = subprocess.run(
            [*command, file.name],
            cwd=ROOT,
            check=True,
            text=True,
            capture_output=True,
        )
    # What uv left out is named in a comment at the end.
    text = done.stdout.split("\n\n#", 1)[0].strip()
    return [f"{one}\n" for one in re.split(r"\n(?=\S)", text)]


def main() -> None:
    """Resolve every installation, and take torch out of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uv", default="uv", help="The uv to resolve with.")
    uv = parser.parse_args().uv
    head = "# Written by `make lock`; how to use it: deploy/docs/supply.md.\n"
    torch: dict[str, None] = {}
    for name, wanted in INSTALLATIONS.items():
        packages = resolve(uv, wanted, ROOT / "constraints.txt")
        torch |= dict.fromkeys(one for one in packages if CUDA.match(one))
        rest = [one for one in packages if not CUDA.match(one)]
        (LOCKS / f"{name}.txt").write_text(head + "".join(rest))
        print(f"{name}.txt: {len(rest)} packages")
    (LOCKS / "torch-cuda.txt").write_text(head + "".join(torch))
    print(f"torch-cuda.txt: {len(torch)} packages")


if __name__ == "__main__":
    main()
