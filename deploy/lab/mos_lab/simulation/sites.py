"""The sites of a simulation come into being: homes, keys, requests.

A synthetic site has no pictures, and finds a signed concept of random numbers in its
outbox instead. The centre admits them as it would admit anyone, and each site takes up
its welcome when it is first spoken to.
"""

from pathlib import Path
from typing import Final

from mos_client.federation.events import Signed
from mos_client.pictures import read_folder
from mos_client.store.enrolment import keep_welcome, make_request, read_welcome
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_lab.simulation.plan import SimulationPlan
from mos_runtime.files import read_whole, write_atomically
from mos_runtime.journal import Journal

_MAX_WELCOME_BYTES: Final = 2**20

SYNTHETIC_NAME: Final = "noise"
"""What every synthetic site calls its concept; the sites' names keep them apart."""


def make_sites(folder: Path) -> dict[str, int]:
    """Make the homes and requests of all sites of a plan.

    Args:
        folder: The simulation's, with its plan.

    Returns:
        Site -> number of pictures that can be read.

    Raises:
        DataError: a site has no usable picture, or no concept has the size asked for.
        StorageError: a home cannot be written.
    """
    plan, counts = SimulationPlan.read(folder), {}
    for site in plan.sites:
        counts[site.name] = 0
        if site.pictures:
            found = read_folder(Path(site.pictures), min_side=1)
            counts[site.name] = len(found.pictures)
    for site in plan.sites:
        home = SiteHome.open(plan.home(folder, site.name), create=True)
        write_atomically(plan.request(folder, site.name), make_request(home, site.name))
    if plan.synthetic:
        _sign_random_concepts(folder, plan)
    return counts


def _sign_random_concepts(folder: Path, plan: SimulationPlan) -> None:
    from mos_lab.simulation.synthetic import CLASS_WORD, synthetic_concept
    from mos_model.bases.base_files import read_inventory

    inventory = read_inventory(plan.base)
    for number, site in enumerate(plan.sites):
        concept = synthetic_concept(
            inventory, SYNTHETIC_NAME, size=plan.bundle_bytes, seed=plan.seed + number
        )
        home = SiteHome(plan.home(folder, site.name))
        entry = Outbox(home).put(concept.to_bytes(), site.name)
        Journal(plan.site_journal(folder, site.name)).write(
            Signed(entry.concept, CLASS_WORD, entry.bytes)
        )


def open_home(folder: Path, name: str) -> SiteHome:
    """The home of a simulated site, which takes up its welcome at the first time.

    Raises:
        MosError: the simulation has not been prepared.
    """
    plan = SimulationPlan.read(folder)
    home = SiteHome.open(plan.home(folder, name))
    if read_welcome(home) is None:
        path = plan.welcome(folder, name)
        content = read_whole(path, what="a welcome", max_bytes=_MAX_WELCOME_BYTES)
        keep_welcome(home, content)
    return home
