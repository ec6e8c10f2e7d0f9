"""What a centre bears: bundles judged per second, and a federation of many sites.

    python -m tests.benchmarks.federation [--sites 200] [--bundle-mb 2] [--judged 50]
        [--base mini]

Two JSON lines. `desk`: bundles through the whole admission desk (rules, file, registry,
flushed to the disk) and through the rules alone, one process, one core. `simulation`:
`mos-server simulate --synthetic-sites`, that is real bundles through Flower's engine,
the real desk and the real fusion; seconds until all were admitted and until all hold
the release, seconds from one admission to the next (median), and the largest resident
memory of each kind of process of the centre. It fails where one site was not admitted,
or holds another release than the others.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from mos_client.synthetic import synthetic_concept
from mos_protocol import Admission, Bundle, KnownSite, SigningKey
from mos_protocol.journal import JournalReader
from mos_server.desk import Desk
from mos_server.home import CentreHome
from mos_server.registry import Registry
from mos_shared.base_files import read_inventory
from mos_shared.inventory import Inventory

MB: Final = 10**6
_LOOK_EVERY_SECONDS: Final = 0.2
_ROLES: Final = {
    "flower-superlink": "superlink",
    "flwr-simulation": "serverapp",
    "flwr-serverapp": "serverapp",
    "mos_server.fusion_worker": "fusion",
}


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description="A federation under load.")
    parser.add_argument("--sites", type=int, default=200)
    parser.add_argument("--bundle-mb", type=float, default=2.0)
    parser.add_argument("--judged", type=int, default=50)
    parser.add_argument("--base", default="mini")
    options = parser.parse_args()
    inventory = read_inventory(options.base)
    size = round(options.bundle_mb * MB)
    print(json.dumps(_desk(inventory, options.judged, size)), flush=True)
    if options.sites:
        line = _simulation(options.base, options.sites, options.bundle_mb)
        print(json.dumps(line), flush=True)


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
        registry.admit_site("north", key.public, b"a node's key")
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


def _simulation(base: str, sites: int, bundle_mb: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        words = ["simulate", "--synthetic-sites", str(sites), "--base", base]
        words += ["--bundle-mb", str(bundle_mb), "--out", str(out), "--json"]
        code = "from mos_server.cli import main; main()"
        begun, clock = time.time(), time.perf_counter()
        with (
            (Path(folder) / "said").open("w") as said,
            subprocess.Popen([sys.executable, "-c", code, *words], stdout=said) as run,
        ):
            memory = _Memory(run.pid)
            returned = run.wait()
            peaks = memory.end()
        seconds = time.perf_counter() - clock
        if returned != 0:
            raise SystemExit(returned)
        outcome = json.loads((out / "simulation.json").read_text())
        events = JournalReader(out / "journal.jsonl").new()
    admitted = [one.facts["time"] for one in events if one.kind == "accepted"]
    assert all(site["accepted"] for site in outcome["sites"])
    assert {site["release"] for site in outcome["sites"]} == {outcome["release"]}
    assert len(admitted) == len(outcome["sites"]) == sites
    gaps = [after - before for before, after in itertools.pairwise(admitted)]
    return {
        "benchmark": "simulation",
        "sites": sites,
        "bundle_mb": bundle_mb,
        "seconds": round(seconds, 1),
        "seconds_until_all_admitted": round(admitted[-1] - begun, 1),
        "seconds_per_join": round(statistics.median(gaps), 3) if gaps else None,
        "bytes_per_site": outcome["sites"][0]["bytes_sent"],
        "peak_mb": {role: round(peak / MB) for role, peak in sorted(peaks.items())},
    }


class _Memory:
    """The largest resident memory of each kind of process below one."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._peaks: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def end(self) -> Mapping[str, int]:
        """Stop looking; bytes by kind."""
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
                try:
                    words, size = " ".join(one.cmdline()), one.memory_info().rss
                except psutil.Error:
                    continue
                for word, role in _ROLES.items():
                    if word in words:
                        self._peaks[role] = max(size, self._peaks.get(role, 0))


if __name__ == "__main__":
    main()
