"""What both ends of a simulation read: one JSON file at the top of its folder.

OUT/
    plan.json         this
    journal.jsonl     the centre's journal
    centre/           the centre's home
    sites/NAME/       each site's home, its journal in flower/journal.jsonl
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mos_protocol.errors import MalformedError
from mos_runtime.files import read_whole, write_atomically

PLAN_FILE: Final = "plan.json"

SIMULATION_KEY: Final = "simulation-dir"
"""Of the run configuration: the simulation's folder."""

PARTITION_KEY: Final = "partition-id"
"""Of the node configuration: which of the plan's sites it is."""

CENTRE_FOLDER: Final = "centre"
"""The centre's home within a simulation's folder."""


@dataclass(frozen=True)
class SimulatedSite:
    """One site of a simulation."""

    name: str
    pictures: str
    """The folder of its pictures, absolute; "" where the site is synthetic and brings a
    concept of random numbers."""


@dataclass(frozen=True)
class SimulationPlan:
    """Who takes part in a simulation, and what each is to do."""

    sites: tuple[SimulatedSite, ...]
    """In the order of Flower's partition ids."""

    base: str
    """`mini`, a pipeline directory, or a hub name."""

    steps: int | None
    """Optimiser steps of each site; the base's own number where None."""

    seed: int
    """Seed of every site's tuning."""

    threads: int
    """Threads that each site's tuning may use."""

    bundle_bytes: int = 0
    """About how large a synthetic site's bundle is."""

    @property
    def synthetic(self) -> bool:
        """Whether nobody tunes: the sites bring concepts of random numbers."""
        return all(not site.pictures for site in self.sites)

    @staticmethod
    def home(folder: Path, site: str) -> Path:
        """A site's home."""
        return folder / "sites" / site

    @staticmethod
    def request(folder: Path, site: str) -> Path:
        """A site's enrolment request."""
        return folder / "enrolment" / f"{site}.request"

    @staticmethod
    def welcome(folder: Path, site: str) -> Path:
        """The centre's answer to it."""
        return folder / "enrolment" / f"{site}.welcome"

    @staticmethod
    def site_journal(folder: Path, site: str) -> Path:
        """A site's journal."""
        return folder / "sites" / site / "flower" / "journal.jsonl"

    def write(self, folder: Path) -> None:
        """Put the plan into the simulation's folder.

        Raises:
            StorageError: it cannot be written.
        """
        content = json.dumps(asdict(self), indent=1, sort_keys=True).encode()
        write_atomically(folder / PLAN_FILE, content)

    @staticmethod
    def read(folder: Path) -> "SimulationPlan":
        """The plan of a simulation's folder.

        Raises:
            StorageError: there is none.
            MalformedError: it is not a plan.
        """
        content = read_whole(folder / PLAN_FILE, what="a simulation's plan")
        try:
            facts: dict[str, Any] = json.loads(content)
            sites = tuple(SimulatedSite(**site) for site in facts.pop("sites"))
            return SimulationPlan(sites=sites, **facts)
        except (ValueError, KeyError, TypeError) as error:
            raise MalformedError(f"{folder / PLAN_FILE}: {error}") from error
