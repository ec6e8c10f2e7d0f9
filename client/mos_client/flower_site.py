"""Which site a Flower context speaks for.

A real site says so itself, in the node configuration that `mos-client join` writes. In
a simulation the node configuration holds a partition id instead, and the run says where
the simulation lies. What a centre writes into a run can therefore never point a real
site to another folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mos_client.errors import SiteError
from mos_client.home import SiteHome
from mos_protocol.journal import Journal
from mos_protocol.simulation_plan import SimulationPlan

HOME_KEY: Final = "site-home"
PARTITION_KEY: Final = "partition-id"
SIMULATION_KEY: Final = "simulation-dir"
JOURNAL_FILE: Final = "journal.jsonl"
HEARD_FILE: Final = "heard"
"""Touched whenever the centre speaks to the site."""


@dataclass(frozen=True)
class SiteTuning:
    """What a site is to tune on, where the centre asks."""

    pictures: Path
    base: str
    steps: int | None
    seed: int
    threads: int
    max_steps: int | None = None
    """Optimiser steps at most, whatever the base's own number is."""


@dataclass(frozen=True)
class Site:
    """The site that a message is for."""

    home: SiteHome
    tuning: SiteTuning | None
    """None at a real site, where its policy decides."""

    @property
    def journal(self) -> Journal:
        """Where it tells its own people what happens."""
        return Journal(journal_path(self.home))


def journal_path(home: SiteHome) -> Path:
    """The journal of a site."""
    return home.flower / JOURNAL_FILE


def site_of(node: Mapping[str, Any], run: Mapping[str, Any]) -> Site:
    """The site of a Flower node.

    Args:
        node: The node configuration, which the site wrote.
        run: The run configuration, which the centre wrote.

    Raises:
        SiteError: neither names a site.
        IdentityError: the site's home is not there.
    """
    if HOME_KEY in node:
        return Site(SiteHome.open(Path(str(node[HOME_KEY]))), None)
    folder = str(run.get(SIMULATION_KEY, ""))
    if PARTITION_KEY not in node or not folder:
        raise SiteError("this Flower node belongs to no site; start it by join")
    from mos_client.simulated_sites import open_home

    plan = SimulationPlan.read(Path(folder))
    site = plan.sites[int(node[PARTITION_KEY])]
    home = open_home(Path(folder), site.name)
    if not site.pictures:
        return Site(home, None)
    tuning = SiteTuning(
        Path(site.pictures), plan.base, plan.steps, plan.seed, plan.threads
    )
    return Site(home, tuning)
