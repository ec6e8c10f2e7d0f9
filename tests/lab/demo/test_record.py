"""What a simulation left behind is verified before it is read."""

from dataclasses import replace
from pathlib import Path

import pytest

from mos_client.store.home import SiteHome
from mos_lab.demo.record import Record, read_record
from mos_lab.errors import SimulationError
from mos_lab.simulation.outcome import SimulationOutcome, SiteOutcome
from mos_model.bases.base import Base, load_base
from mos_protocol.errors import Reason, ReleaseError
from mos_protocol.signed.release import RELEASE_LIFETIME_SECONDS
from mos_runtime.errors import MosError
from mos_server.federation.publishing import publish
from mos_server.fusion import FusionSettings
from tests.support.bases import save_tiny_sd
from tests.support.sites import NOW, Centre, signed

QUICK = FusionSettings(steps=1, scenes=("",), prior_subjects=("dog",))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


@pytest.fixture
def outcome(tmp_path: Path, base: Base) -> SimulationOutcome:
    """Two sites' concepts, fused and published in `tmp_path`, as simulations do."""
    centre = Centre.at(tmp_path / "centre", base.inventory)
    sites = []
    for seed, (site, concept) in enumerate((("north", "rex"), ("south", "bolt"))):
        home = SiteHome.open(tmp_path / "sites" / site, create=True)
        centre.enrol(home, site)
        bundle = signed(home, base.inventory, concept, site=site, seed=seed)
        assert centre.desk.receive(bundle.to_bytes(), now=NOW).accepted
        sites.append(
            SiteOutcome(site, 8, concept, "cat", "", True, "", 1000, 2000, 1.0, 1)
        )
    publish(centre.home, centre.registry, base, now=NOW, settings=QUICK)
    newest = centre.registry.published.newest()
    assert newest is not None
    return SimulationOutcome(
        base=base.name,
        seed=0,
        steps=1,
        sites=tuple(sites),
        release=1,
        release_file=str(newest.path.relative_to(tmp_path)),
        release_bytes=newest.size,
        concepts=newest.concepts,
        seconds={"total": 1.0},
    )


def read(
    folder: Path, outcome: SimulationOutcome, base: Base, now: int = NOW
) -> Record:
    return read_record(folder, outcome, base.inventory, now=now)


def test_record_holds_release_concepts_and_report(
    tmp_path: Path, outcome: SimulationOutcome, base: Base
) -> None:
    record = read(tmp_path, outcome, base)
    assert {s: c.facts.name for s, c in record.concepts.items()} == {
        "north": "rex",
        "south": "bolt",
    }
    assert record.rank() == 2 * 4
    assert record.manifest()["version"] == 1
    assert set(record.kept("north")) == {"all", "text", "cross", "spatial"}
    listed = 2 * len(base.inventory.projections) + base.inventory.layers
    assert record.tensors == {"north": listed, "south": listed}


def test_changed_release_is_refused(
    tmp_path: Path, outcome: SimulationOutcome, base: Base
) -> None:
    path = tmp_path / outcome.release_file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ReleaseError) as refused:
        read(tmp_path, outcome, base)
    assert refused.value.reason is Reason.TAMPERED


def test_expired_release_is_refused(
    tmp_path: Path, outcome: SimulationOutcome, base: Base
) -> None:
    with pytest.raises(ReleaseError) as refused:
        read(tmp_path, outcome, base, now=NOW + RELEASE_LIFETIME_SECONDS)
    assert refused.value.reason is Reason.EXPIRED


def test_changed_bundle_is_refused(
    tmp_path: Path, outcome: SimulationOutcome, base: Base
) -> None:
    for path in (tmp_path / "centre" / "blobs").iterdir():
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))
    with pytest.raises(MosError, match="not what was accepted"):
        read(tmp_path, outcome, base)


def test_site_without_a_concept_ends_in_its_reason(
    tmp_path: Path, outcome: SimulationOutcome, base: Base
) -> None:
    north, south = outcome.sites
    left = replace(south, accepted=False, reason="no usable picture")
    with pytest.raises(SimulationError, match="south brought no concept: no usable"):
        read(tmp_path, replace(outcome, sites=(north, left)), base)


def test_site_without_the_release_is_told(
    tmp_path: Path, outcome: SimulationOutcome, base: Base
) -> None:
    north, south = outcome.sites
    behind = replace(south, release=0)
    with pytest.raises(SimulationError, match="south holds release 0, not 1"):
        read(tmp_path, replace(outcome, sites=(north, behind)), base)
