"""The whole federation on a GPU: real processes, one site, one release."""

import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.benchmarks.gpu_check.machine import Machine
from tests.benchmarks.gpu_check.report import Row
from tests.support.bases import save_tiny_sd
from tests.support.pictures import save_pictures
from tests.support.programs import Program

Add = Callable[[Row], None]

SITE: Final = "north"
SECTION: Final = "federation"


def measure_federation(machine: Machine, add: Add) -> None:
    """From pictures to a release that the site holds, `--device cuda` throughout."""
    for package in ("flwr", "cryptography"):
        if importlib.util.find_spec(package) is None:
            add(Row(SECTION, "mini", skipped=f"{package} is not installed here"))
            return
    from mos_runtime.flower_env import free_port

    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        base = str(save_tiny_sd(folder / "base")) if machine.smoke else "mini"
        _run(machine, add, folder, base, f"127.0.0.1:{free_port()}")


def _run(machine: Machine, add: Add, folder: Path, base: str, address: str) -> None:
    centre, home, device = folder / "centre", folder / SITE, machine.device.type
    begun = time.perf_counter()
    common = ("--home", centre, "--address", address, "--base", base)
    running = [
        Program("server", "serve", *common, "--fuse-after", 0, "--device", device)
    ]
    try:
        running[0].wait_for("listening")
        request, welcome = folder / "request", folder / "welcome"
        _typed("client", "enroll", "--name", SITE, "--home", home, "--out", request)
        _typed("server", "admit", request, "--out", welcome, *common)
        running[0].wait_for("door-open", site=SITE)
        side = 16 if machine.smoke else 64
        pictures = save_pictures(folder / "rex", count=4, side=side)
        tuned = time.perf_counter()
        _typed(
            *("client", "tune", "--data", pictures, "--base", base, "--home", home),
            *("--out", folder / "rex.safetensors", "--class-word", "cat"),
            *("--steps", 2 if machine.smoke else 50, "--device", device),
            "--skip-privacy-check",
        )
        tuned = time.perf_counter() - tuned
        running.append(Program("client", "join", welcome, "--home", home))
        running[1].wait_for("accepted", concept="rex")
        release = running[1].wait_for("release", version=1)
        figures = {
            "seconds": round(time.perf_counter() - begun, 1),
            "tune_command_seconds": round(tuned, 1),
            "release": release["version"],
            "device": device,
        }
        add(Row(SECTION, f"{base if base == 'mini' else 'tiny'}, one site", figures))
    finally:
        for program in running:
            program.kill()


def _typed(which: str, *words: object) -> None:
    """Run one command to its end.

    Raises:
        RuntimeError: it did not end well; with what it said.
    """
    code = f"from mos_{which}.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{which} {words[0]}: {done.stderr.strip()[-600:]}")
