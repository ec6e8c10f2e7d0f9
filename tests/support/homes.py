"""The home of a site that holds a release, without a federation having run."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mos_client.store.home import SiteHome
from mos_client.store.releases import ReleaseStore
from mos_model.bases.base_files import read_inventory
from mos_model.concepts.applying import as_fused
from mos_protocol.signed.release import Release, ReleasedConcept
from tests.support.concepts import random_concept
from tests.support.sites import Centre


def home_with_release(
    folder: Path, base: str, concepts: Sequence[tuple[str, str]] = (("north", "rex"),)
) -> SiteHome:
    """A site `north` that holds release 1, whose concepts are of random numbers.

    Args:
        folder: Where site and centre go.
        base: Name or directory of the base.
        concepts: Site and name of each; the weights are the first one's.
    """
    home = SiteHome.open(folder / "home", create=True)
    inventory = read_inventory(base)
    centre = Centre.at(folder / "centre", inventory)
    welcome = centre.enrol(home, "north")
    parts = [
        as_fused(random_concept(inventory, name, seed=seed), site=site)
        for seed, (site, name) in enumerate(concepts)
    ]
    fused = replace(
        parts[0], concepts=tuple(c for part in parts for c in part.concepts)
    )
    now = int(time.time())
    signed = Release.sign(
        fused.to_bytes(),
        version=1,
        previous="",
        concepts=[
            ReleasedConcept(site, name, "cat", f"{index + 1:x}" * 64, "2" * 64)
            for index, (site, name) in enumerate(concepts)
        ],
        key=centre.home.signing_key(),
        created=now,
        expires=now + 86_400,
    )
    ReleaseStore(home).take(signed.to_bytes(), welcome=welcome, now=now)
    return home
