"""What a centre bears: bundles judged per second, and a federation of many sites.

    python -m tests.benchmarks.federation [--sites 200] [--bundle-mb 2] [--judged 50]
        [--base mini] [--scenes 8] [--capture-steps 20] [--out FOLDER]

Two JSON lines. `desk`: bundles through the whole admission desk (rules, file, registry,
flushed to the disk) and through the rules alone, one process, one core. `simulation`:
`mos-lab simulate --synthetic-sites`, that is real bundles through Flower's engine,
the real desk and the real fusion; seconds until all were admitted, fused, and hold the
release, bundles admitted a second, seconds of fusion per concept (the capture is most
of them), and the largest resident memory of each kind of process of the centre, with
and without pages of mapped files. It fails where one site was not admitted, or holds
another release than the others.

The base's own fusion captures every concept in 9 pictures of 20 sampling steps. With
`--scenes` or `--capture-steps` the base is one whose `mos_defaults.json` asks for less;
the line says how many.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from mos_lab.simulation.outcome import SimulationOutcome
from mos_lab.simulation.synthetic import synthetic_concept
from mos_model.bases.base import DEFAULTS_FILE
from mos_model.bases.base_files import read_inventory, resolve_base
from mos_model.bases.inventory import Inventory
from mos_protocol import Admission, Bundle, KnownSite, SigningKey
from mos_runtime.journal import JournalReader
from mos_server.federation.desk import Desk
from mos_server.federation.events import CENTRE_EVENTS, Fusing
from mos_server.fusion.settings import SCENES
from mos_server.registry.home import CentreHome
from mos_server.registry.registry import Registry

MB: Final = 10**6
_LOOK_EVERY_SECONDS: Final = 0.2
_ROLES: Final = {
    "flower-superlink": "superlink",
    "flwr-simulation": "serverapp",
    "flwr-serverapp": "serverapp",
    "mos_server.federation.fusion_worker": "fusion",
}


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description="A federation under load.")
    parser.add_argument("--sites", type=int, default=200)
    parser.add_argument("--bundle-mb", type=float, default=2.0)
    parser.add_argument("--judged", type=int, default=50)
    parser.add_argument("--base", default="mini")
    parser.add_argument("--scenes", type=int)
    parser.add_argument("--capture-steps", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    inventory = read_inventory(options.base)
    size = round(options.bundle_mb * MB)
    if options.judged:
        print(json.dumps(_desk(inventory, options.judged, size)), flush=True)
    if options.sites:
        with (
            tempfile.TemporaryDirectory() as folder,
            _base(options.base, options.scenes, options.capture_steps) as base,
        ):
            out = options.out or Path(folder) / "out"
            line = _simulation(base, options.sites, options.bundle_mb, out)
        print(json.dumps({**line, "base": options.base}), flush=True)


def _desk(inventory: Inventory, count: int, size: int) -> dict[str, Any]:
    key, now = SigningKey.generate(), int(time.time())
    payload = synthetic_concept(inventory, "rex", size=size, seed=0).to_bytes()
    bundles = [
        Bundle.sign(
            payload,
            site="north",
            counter=counter,
            key=key,
            created=now,
            expires=now + 3600,
        ).to_bytes()
        for counter in range(1, count + 1)
    ]
    known = {key.public.key_id: KnownSite("north", key.public, False, 0)}
    rules = Admission(inventory)
    begun = time.process_time()
    for content in bundles:
        rules.admit(content, sites=known, now=now)
    ruled = time.process_time() - begun
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(CentreHome.open(Path(folder), create=True))
        registry.membership.admit("north", key.public, b"a node's key")
        desk = Desk(registry, inventory)
        begun, computed = time.perf_counter(), time.process_time()
        verdicts = [desk.receive(content) for content in bundles]
        received = time.perf_counter() - begun
        computed = time.process_time() - computed
    assert all(verdict.accepted for verdict in verdicts)
    return {
        "benchmark": "desk",
        "bundles": count,
        "bundle_bytes": len(bundles[0]),
        "bundles_per_second": round(count / received, 1),
        "bundles_per_cpu_second": round(count / computed, 1),
        "rules_alone_per_cpu_second": round(count / ruled, 1),
    }


@contextmanager
def _base(name: str, scenes: int | None, steps: int | None) -> Iterator[str]:
    """A base, or the same one with a shorter capture."""
    if scenes is None and steps is None:
        yield name
        return
    with tempfile.TemporaryDirectory() as made:
        folder, own = Path(made) / "base", resolve_base(name)
        folder.mkdir()
        for part in own.iterdir():
            if part.name != DEFAULTS_FILE:
                (folder / part.name).symlink_to(part)
        told = own / DEFAULTS_FILE
        defaults = json.loads(told.read_text()) if told.exists() else {}
        fusion = defaults.setdefault("fusion", {})
        if scenes is not None:
            fusion["scenes"] = list(SCENES[:scenes])
        if steps is not None:
            fusion["steps"] = steps
        (folder / DEFAULTS_FILE).write_text(json.dumps(defaults))
        yield str(folder)


def _simulation(base: str, sites: int, bundle_mb: float, out: Path) -> dict[str, Any]:
    words = ["simulate", "--synthetic-sites", str(sites), "--base", base]
    words += ["--bundle-mb", str(bundle_mb), "--out", str(out), "--json"]
    code = "from mos_lab.cli import main; main()"
    begun, clock = time.time(), time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL
    ) as run:
        memory = _Memory(run.pid)
        returned = run.wait()
        peaks = memory.end()
    seconds = time.perf_counter() - clock
    if returned != 0:
        raise SystemExit(returned)
    outcome = SimulationOutcome.read(out)
    assert all(site.accepted for site in outcome.sites)
    assert {site.release for site in outcome.sites} == {outcome.release} == {1}
    assert len(outcome.concepts) == len(outcome.sites) == sites
    report = CentreHome(out / "centre").releases / "0001.report.json"
    settings = json.loads(report.read_text())["settings"]
    times = _times(out)
    admitting = times["accepted"][-1] - times["serving"][0]
    fusing = times["published"][-1] - times["fusion-started"][0]
    return {
        "benchmark": "simulation",
        "sites": sites,
        "bundle_mb": bundle_mb,
        "captured_pictures": len(settings["scenes"]) + 1,
        "captured_steps": settings["steps"],
        "seconds": round(seconds, 1),
        "seconds_until_serving": round(times["serving"][0] - begun, 1),
        "seconds_of_admission": round(admitting, 1),
        "bundles_admitted_per_second": round(sites / admitting, 2),
        "seconds_of_fusion": round(fusing, 1),
        "seconds_of_fusion_per_concept": round(fusing / sites, 2),
        "seconds_of_solving": round(times["published"][-1] - times["solving"][0], 1),
        "seconds_of_delivery": round(
            times["delivered"][-1] - times["published"][-1], 1
        ),
        "bytes_per_site": outcome.sites[0].bytes_sent,
        "release_bytes": outcome.release_bytes,
        "peak_mb": {role: round(peak.all / MB) for role, peak in sorted(peaks.items())},
        "own_peak_mb": {
            role: round(peak.own / MB) for role, peak in sorted(peaks.items())
        },
    }


def _times(out: Path) -> dict[str, list[float]]:
    """Event -> when it happened, as the centre's journal has it."""
    found: dict[str, list[float]] = {}
    for entry in JournalReader(out / "journal.jsonl", CENTRE_EVENTS).new():
        event = entry.event
        solving = isinstance(event, Fusing) and event.what == "solving"
        found.setdefault("solving" if solving else entry.kind, []).append(entry.time)
    return found


@dataclass
class _Peak:
    """The largest memory of one kind of process, bytes."""

    all: int = 0

    own: int = 0
    """Without pages of mapped files, which the kernel drops when memory is short."""

    def look(self, process: psutil.Process) -> None:
        now = process.memory_info()
        self.all = max(self.all, now.rss)
        self.own = max(self.own, now.rss - getattr(now, "shared", 0))


class _Memory:
    """The largest resident memory of each kind of process below one."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._peaks: dict[str, _Peak] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def end(self) -> Mapping[str, _Peak]:
        """Stop looking; peaks by kind."""
        self._over.set()
        self._thread.join()
        return self._peaks

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_EVERY_SECONDS):
            try:
                family = [self._root, *self._root.children(recursive=True)]
            except psutil.Error:
                return
            for one in family:
                with suppress(psutil.Error):
                    words = " ".join(one.cmdline())
                    for word, role in _ROLES.items():
                        if word in words:
                            self._peaks.setdefault(role, _Peak()).look(one)


if __name__ == "__main__":
    main()
