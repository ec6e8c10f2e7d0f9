"""A whole federation on one machine: the same two apps on Flower's simulation engine.

    simulate(sites_dir, out_dir, base="mini", steps=None, seed=0)
    simulate(SyntheticSites(200), out_dir)

Every sub-folder of `sites_dir` holds one site's pictures. Each site has its own home
and key and is admitted like any other; each tunes its concept, signs it and offers it;
the centre verifies, fuses, publishes and delivers; each site checks the release and
keeps it. Everything lies in `out_dir` afterwards (`simulation_outcome`). Synthetic
sites do the same, but for the tuning: they sign random numbers.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from mos_lab.errors import SimulationError
from mos_lab.simulation.outcome import OUTCOME_FILE, SimulationOutcome
from mos_lab.simulation.plan import (
    CENTRE_FOLDER,
    PLAN_FILE,
    SIMULATION_KEY,
    SimulatedSite,
    SimulationPlan,
)
from mos_lab.simulation.progress import SimulationProgress, Watch
from mos_lab.simulation.sites import make_sites
from mos_lab.simulation.tally import tally
from mos_model.bases.base_files import read_inventory
from mos_model.concepts.names import checked_name
from mos_protocol.signed.enrolment import EnrolmentRequest, Welcome
from mos_runtime.files import read_whole, write_atomically
from mos_runtime.processes import Stopping, stopping_on_signals
from mos_server.errors import ServingError
from mos_server.federation.names import JOURNAL_FILE
from mos_server.registry.home import CentreHome
from mos_server.registry.registry import Registry
from mos_server.serving.superlink import SuperLink

OnProgress = Callable[[SimulationProgress], None]

_FOLDERS: Final = ("centre", "sites", "enrolment", "flower")
_FILES: Final = (PLAN_FILE, JOURNAL_FILE, f"{JOURNAL_FILE}.1", OUTCOME_FILE)
_LOOK_EVERY_SECONDS: Final = 0.25
_QUIET_SECONDS: Final = 45.0
_GRACE_SECONDS: Final = 2.0
_ADDRESS: Final = "127.0.0.1:9092"
"""What the welcomes of simulated sites say; nobody connects to it."""


@dataclass(frozen=True)
class SyntheticSites:
    """Sites without pictures, which bring real bundles of random numbers."""

    count: int
    bundle_bytes: int = 0
    """About how large each bundle is; 0 for a concept of rank 1."""


def simulate(
    sites_dir: Path | SyntheticSites,
    out_dir: Path,
    *,
    base: str = "mini",
    steps: int | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> SimulationOutcome:
    """Run one federation from pictures to delivered release.

    Args:
        sites_dir: One folder of pictures per site; the folder's name is the site's. Or
            how many synthetic sites there are.
        out_dir: Where everything goes. An earlier simulation in it is replaced;
            anything else in it stays.
        base: `mini`, a pipeline directory, or a hub name.
        steps: Optimiser steps of each site; the base's own number by default.
        seed: Of every site's tuning.
        on_progress: Called a few times a second while something happens.

    Returns:
        What came of it, as written to OUT/simulation.json.

    Raises:
        SimulationError: there are no sites, a site has no usable picture, a bundle
            cannot have that size, no release came of it, or Flower failed.
        MosError: the base cannot be used, or the disk is full.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; nothing is left running.
    """
    begun = time.time()
    fingerprint = read_inventory(base).base
    folder = out_dir.resolve()
    plan = _plan(sites_dir, base, steps, seed)
    _clear(folder)
    plan.write(folder)
    with stopping_on_signals() as stopping:
        make_sites(folder)
        home = _admit(folder, plan, fingerprint)
        watch = Watch(folder, plan)
        _run(folder, plan, watch, stopping, on_progress or (lambda _: None))
        if stopping:
            raise KeyboardInterrupt
    outcome = tally(folder, plan, watch, Registry(home), begun=begun)
    outcome.write(folder)
    return outcome


def _plan(
    who: Path | SyntheticSites, base: str, steps: int | None, seed: int
) -> SimulationPlan:
    where = base if not Path(base).is_dir() else str(Path(base).resolve())
    if isinstance(who, SyntheticSites):
        digits = len(str(who.count))
        names = [f"site-{number + 1:0{digits}d}" for number in range(who.count)]
        sites = tuple(SimulatedSite(name, "") for name in names)
        return SimulationPlan(sites, where, None, seed, 1, who.bundle_bytes)
    sites = _sites_of(who)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    threads = max(1, (cores or os.cpu_count() or 1) // len(sites))
    return SimulationPlan(sites, where, steps, seed, threads)


def _sites_of(sites_dir: Path) -> tuple[SimulatedSite, ...]:
    if not sites_dir.is_dir():
        raise SimulationError(
            f"{sites_dir}: no such folder; --sites takes a folder that holds one "
            "folder of pictures per site"
        )
    found = [path for path in sorted(sites_dir.iterdir()) if path.is_dir()]
    folders = [path for path in found if not path.name.startswith(".")]
    if not folders:
        raise SimulationError(
            f"{sites_dir}: no folders in it; --sites takes a folder that holds one "
            "folder of pictures per site"
        )
    sites = tuple(
        SimulatedSite(checked_name(path.name.lower(), "site"), str(path.resolve()))
        for path in folders
    )
    names = [site.name for site in sites]
    if len(set(names)) != len(names):
        raise SimulationError(
            f"{sites_dir}: two folders differ only in capitals; rename one"
        )
    return sites


def _clear(folder: Path) -> None:
    """Make room: an earlier simulation goes, nothing else is touched."""
    present = [n for n in (*_FOLDERS, *_FILES) if (folder / n).exists()]
    if present and not (folder / PLAN_FILE).is_file():
        raise SimulationError(
            f"{folder}: holds {', '.join(present)}, but no simulation; pass another "
            "--out"
        )
    for name in _FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)


def _admit(folder: Path, plan: SimulationPlan, fingerprint: str) -> CentreHome:
    home = CentreHome.open(folder / CENTRE_FOLDER, create=True)
    registry, key = Registry(home), home.signing_key().public
    for site in plan.sites:
        content = read_whole(
            plan.request(folder, site.name), what="an enrolment request"
        )
        request = EnrolmentRequest.verified(content)
        registry.membership.admit(request.site, request.site_key, request.node_key)
        welcome = Welcome(_ADDRESS, b"", key, request.site, fingerprint)
        write_atomically(plan.welcome(folder, site.name), welcome.to_bytes())
    return home


def _run(
    folder: Path,
    plan: SimulationPlan,
    watch: Watch,
    stopping: Stopping,
    tell: OnProgress,
) -> None:
    tell(watch.progress)
    superlink = SuperLink(folder / "flower", ["--simulation"], certificates=None)
    try:
        superlink.wait_until_ready(stopping)
        if stopping:
            return
        config = folder / "flower" / "run.toml"
        line = f"{SIMULATION_KEY} = {json.dumps(str(folder))}\n"
        write_atomically(config, line.encode())
        sites, threads = len(plan.sites), plan.threads
        federation = (
            f"num-supernodes={sites} client-resources-num-cpus={threads} "
            f"init-args-num-cpus={_workers(sites) * threads}"
        )
        run_id = superlink.submit(
            Path(str(files(__package__) / "flower-app")),
            *("--run-config", str(config), "--federation-config", federation),
        )
        _follow(superlink, run_id, watch, stopping, tell)
    except ServingError as error:
        raise SimulationError(str(error)) from error
    finally:
        # Nothing that Flower or Ray still holds is needed any more.
        superlink.family.stop(grace_seconds=_GRACE_SECONDS)


def _workers(sites: int) -> int:
    """How many sites work at once: as many as there are cores."""
    return min(sites, os.cpu_count() or 1)


def _follow(
    superlink: SuperLink,
    run_id: str,
    watch: Watch,
    stopping: Stopping,
    tell: OnProgress,
) -> None:
    news_at = time.monotonic()
    while not stopping.wait(_LOOK_EVERY_SECONDS):
        if watch.look():
            news_at = time.monotonic()
            tell(watch.progress)
        if watch.progress.finished or watch.progress.failure:
            return
        superlink.family.reap()
        if superlink.family.exit_code() is not None:
            raise SimulationError(f"Flower ended: {superlink.last_words()}")
        if time.monotonic() - news_at > _QUIET_SECONDS:
            news_at = time.monotonic()
            status = superlink.status(run_id)
            if status.startswith("finished") and not watch.look():
                logs = watch.folder / "flower"
                raise SimulationError(f"Flower's run is {status}; see logs in {logs}")
