"""One federation of real processes, and one fault after another.

After each fault, with nobody's help but a restart of what was killed: every concept is
there once, the release is right, every site that is connected holds it. At the end no
process is left. The tests run in the order in which they stand.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_client.store.releases import ReleaseStore
from mos_server.registry.home import CentreHome
from mos_server.registry.registry import Registry
from tests.support.disk import mount_small_disk, unmount
from tests.support.federation import Federation
from tests.support.programs import orphans_unreaped, processes_about
from tests.support.relay import Relay

pytestmark = pytest.mark.slow
"""Those with the mark `faults` besides are left out of CI, for want of time."""

CENTRES_DISK_BYTES = 96 * 2**20
AHEAD = 3 * 3600
"""Seconds; a bundle says the hour alone, and clocks may differ by ten minutes."""

SKEWED = """
import datetime, os, time
ahead = int(os.environ["CLOCK_AHEAD"])
real = time.time
time.time = lambda: real() + ahead
class Skewed(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=ahead)
datetime.datetime = Skewed
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("federation")


@pytest.fixture(scope="module")
def small_disk(folder: Path) -> Iterator[bool]:
    """Whether the centre's home has a disk of its own."""
    mounted = mount_small_disk(folder / "centre", CENTRES_DISK_BYTES)
    yield mounted
    if mounted:
        unmount(folder / "centre")


@pytest.fixture(scope="module")
def federation(folder: Path, small_disk: bool) -> Iterator[Federation]:
    """A centre that serves, where orphans are not reaped; nobody is admitted yet."""
    with orphans_unreaped(), Federation.running(folder) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def relay(federation: Federation) -> Iterator[Relay]:
    """The way of `south` to the centre; `north`, `south` and `east` have joined."""
    made = Relay(federation.address)
    for site, address in (("north", ""), ("south", made.address), ("east", "")):
        federation.admit(site, address)
        federation.programs["centre"].wait_for("door-open", site=site)
        federation.join(site)
    yield made
    made.close()


def test_centre_killed_in_the_middle_of_a_fusion(federation: Federation) -> None:
    centre = federation.programs["centre"]
    federation.put("north", "rex")
    centre.wait_for("fusion-started")
    worker = federation.part("centre", "fusion_worker")
    worker.kill()
    federation.lose("centre")
    registry = Registry(CentreHome.open(federation.centre_home))
    assert registry.published.newest() is None
    federation.serve()
    federation.settle()
    federation.assert_all_is_well()


def test_serve_killed(federation: Federation) -> None:
    federation.end("east")  # it stays away for the next releases
    federation.lose("centre")
    federation.put("north", "bolt")
    federation.serve()
    federation.settle()
    federation.assert_all_is_well()


@pytest.mark.faults
def test_superlink_killed(federation: Federation) -> None:
    federation.part("centre", "flower-superlink").kill()
    federation.put("south", "luna")
    federation.settle()
    federation.assert_all_is_well()


def test_serverapp_killed(federation: Federation) -> None:
    federation.part("centre", "flwr-serverapp").kill()
    federation.put("south", "miso")
    federation.settle()
    federation.assert_all_is_well()


@pytest.mark.faults
def test_site_that_was_offline_for_three_releases(federation: Federation) -> None:
    store = ReleaseStore(federation.home("east"))
    held = store.held()
    newest = Registry(CentreHome.open(federation.centre_home)).published.newest()
    assert held is not None
    assert newest is not None
    assert newest.version >= held.version + 3
    federation.join("east")
    federation.settle()
    federation.assert_all_is_well()
    assert store.versions() == (held.version, newest.version)


def test_supernode_killed_and_another_site_killed_in_the_middle_of_an_upload(
    federation: Federation, relay: Relay
) -> None:
    federation.part("north", "mos_client.federation.supernode").kill()
    federation.put("north", "kiki")
    relay.hold_after(200_000)
    federation.put("south", "goliath", rank=64)
    (waiting,) = Outbox(federation.home("south")).entries()
    assert waiting.bytes > 400_000
    relay.wait_until_held()
    federation.lose("south")
    relay.release()
    registry = Registry(CentreHome.open(federation.centre_home))
    assert not registry.bundles.has(waiting.digest)
    federation.join("south")
    federation.settle()
    federation.assert_all_is_well()


@pytest.mark.faults
def test_disk_full_at_the_centre(federation: Federation, small_disk: bool) -> None:
    if not small_disk:
        pytest.skip("this system lets no test mount a small disk")
    filler = federation.centre_home / "filler"
    room = 100_000
    filler.write_bytes(bytes(shutil.disk_usage(federation.centre_home).free - room))
    federation.put("north", "titan", rank=64)
    reason = ""
    while "No space left" not in reason:  # the killed SuperNode's failures come first
        told = federation.programs["centre"].wait_for("failed", site="north")
        reason = told["reason"]
    filler.unlink()
    federation.settle()
    federation.assert_all_is_well()


@pytest.mark.faults
def test_clock_of_a_site_that_is_hours_ahead(
    federation: Federation, folder: Path
) -> None:
    federation.end("south")
    (folder / "skewed").mkdir()
    (folder / "skewed" / "sitecustomize.py").write_text(SKEWED)
    skew = {"PYTHONPATH": str(folder / "skewed"), "CLOCK_AHEAD": str(AHEAD)}
    federation.put("south", "early", now=int(time.time()) + AHEAD)
    # Flower's node key signs the time: the centre shuts its door before anything else.
    federation.join("south", **skew).wait_for("disconnected")
    federation.put("north", "prompt")
    federation.end("south")
    # The clock was set right; what was signed before is refused, and why is told.
    refused = federation.join("south").wait_for("refused", concept="early")
    assert refused["reason"].startswith("expired: it was signed")
    assert "set the clocks" in refused["reason"]
    federation.put("south", "early")
    federation.settle()
    federation.assert_all_is_well()


def test_no_process_is_left_behind(federation: Federation, folder: Path) -> None:
    families = [one for p in federation.programs.values() for one in p.family()]
    for name in sorted(federation.programs, key=lambda name: name == "centre"):
        federation.end(name)
    assert [one for one in families if one.is_running()] == []
    assert processes_about(folder) == []
    assert Outbox(SiteHome.open(folder / "north")).entries() == ()
