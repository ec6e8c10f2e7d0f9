"""The sites of a simulation come into being: homes, keys, requests.

`python -m mos_client.simulated_sites OUT` reads the simulation's plan, looks at every
site's pictures, makes its home with its own key, and writes its enrolment request; one
JSON object tells how many pictures each has. A synthetic site has none, and finds a
signed concept of random numbers in its outbox instead. The centre admits them as it
would admit anyone, and each site takes up its welcome when it is first spoken to.
"""

import json
import sys
from pathlib import Path
from typing import Final

from mos_client.enrolment import keep_welcome, make_request, read_welcome
from mos_client.home import SiteHome
from mos_client.outbox import Outbox
from mos_client.pictures import read_folder
from mos_protocol.journal import Journal
from mos_protocol.simulation_plan import SimulationPlan
from mos_shared.console import USER_ERROR
from mos_shared.errors import MosError
from mos_shared.files import read_whole, write_atomically

_USAGE: Final = "usage: python -m mos_client.simulated_sites OUT"
_MAX_WELCOME_BYTES: Final = 2**20

SYNTHETIC_NAME: Final = "noise"
"""What every synthetic site calls its concept; the sites' names keep them apart."""


def prepare(folder: Path) -> dict[str, int]:
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
    from mos_client.synthetic import CLASS_WORD, synthetic_concept
    from mos_shared.base_files import read_inventory

    inventory = read_inventory(plan.base)
    for number, site in enumerate(plan.sites):
        concept = synthetic_concept(
            inventory, SYNTHETIC_NAME, size=plan.bundle_bytes, seed=plan.seed + number
        )
        home = SiteHome(plan.home(folder, site.name))
        entry = Outbox(home).put(concept.to_bytes(), site.name)
        Journal(plan.site_journal(folder, site.name)).write(
            "signed",
            concept=entry.concept,
            class_word=CLASS_WORD,
            bytes=entry.bytes,
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


def main() -> None:
    """The program's entry."""
    if len(sys.argv) != 2:
        sys.exit(_USAGE)
    try:
        sys.stdout.write(json.dumps(prepare(Path(sys.argv[1]))) + "\n")
    except MosError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(USER_ERROR)


if __name__ == "__main__":
    main()
