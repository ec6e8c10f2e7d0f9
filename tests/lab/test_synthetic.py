"""Concepts of random numbers are concepts like any other, but for what they show."""

from pathlib import Path

import pytest

from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_lab.simulation.plan import SimulatedSite, SimulationPlan
from mos_lab.simulation.sites import make_sites
from mos_lab.simulation.synthetic import rank_for, synthetic_concept
from mos_model.errors import DataError
from tests.support.bases import save_tiny_sd
from tests.support.sites import Centre, small_inventory

INVENTORY = small_inventory()


@pytest.mark.parametrize("size", [0, 20_000])
def test_synthetic_concept_is_admitted_and_about_as_large_as_asked(
    tmp_path: Path, size: int
) -> None:
    centre = Centre.at(tmp_path / "centre", INVENTORY)
    home = SiteHome.open(tmp_path / "north", create=True)
    centre.enrol(home, "north")
    concept = synthetic_concept(INVENTORY, "noise", size=size, seed=3)
    entry = Outbox(home).put(concept.to_bytes(), "north")
    verdict = centre.desk.receive(Outbox(home).bundle(entry.digest).to_bytes())
    assert verdict.accepted, verdict.reason
    per_rank = 4 * sum(map(sum, INVENTORY.projections.values()))
    assert size <= entry.bytes <= size + per_rank + 5000


def test_equal_seeds_give_equal_concepts_and_others_do_not() -> None:
    one, same, other = (
        synthetic_concept(INVENTORY, "noise", size=0, seed=seed).to_bytes()
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_size_that_no_admitted_rank_gives_is_refused_with_the_largest() -> None:
    with pytest.raises(DataError, match="ask for less"):
        rank_for(INVENTORY, 10**9)


def test_every_synthetic_site_has_its_own_key_and_a_signed_concept(
    tmp_path: Path,
) -> None:
    base = save_tiny_sd(tmp_path / "base")
    sites = (SimulatedSite("site-1", ""), SimulatedSite("site-2", ""))
    SimulationPlan(sites, str(base), None, 0, 1, 0).write(tmp_path)
    assert make_sites(tmp_path) == {"site-1": 0, "site-2": 0}
    homes = [SiteHome.open(SimulationPlan.home(tmp_path, s.name)) for s in sites]
    assert len({home.signing_key().public.key_id for home in homes}) == 2
    entries = [Outbox(home).entries() for home in homes]
    assert [[entry.site for entry in waiting] for waiting in entries] == [
        ["site-1"],
        ["site-2"],
    ]
    assert entries[0][0].digest != entries[1][0].digest
