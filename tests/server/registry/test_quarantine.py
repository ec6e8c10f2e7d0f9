"""What the gate holds: kept, named to its site, released or refused by the operator."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_model.bases.base import Base, load_base
from mos_protocol.errors import Reason
from mos_protocol.signed.bundle import Bundle
from mos_protocol.signed.release import Release
from mos_server.cli import app
from mos_server.errors import RegistryError
from mos_server.federation.publishing import publish
from mos_server.fusion import FusionSettings
from mos_server.fusion.gate import GateLimits
from mos_server.registry.registry import Registry
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.sites import NOW, Centre, signed
from tests.support.typing_in import type_in

QUICK = FusionSettings(steps=1, scenes=("",), prior_subjects=("dog",))
GATE = GateLimits(generic=0.05, words=0.05, lost=5.0, concepts=5.0, seeds=1, steps=2)
HONEST, HOSTILE = 0.001, 1.0
"""Strengths of random concepts: far within the limits, and far beyond."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


@pytest.fixture
def centre(tmp_path: Path, base: Base) -> Centre:
    return Centre.at(tmp_path / "centre", base.inventory)


@pytest.fixture
def sites(tmp_path: Path, centre: Centre) -> dict[str, SiteHome]:
    homes = {n: SiteHome.open(tmp_path / n, create=True) for n in ("north", "south")}
    for name, home in homes.items():
        centre.enrol(home, name)
    return homes


def bring(
    centre: Centre, home: SiteHome, site: str, concept: str, strength: float, seed: int
) -> str:
    """Have a concept accepted; its digest."""
    made = random_concept(centre.inventory, concept, seed=seed, strength=strength)
    bundle = Bundle.read(Outbox(home).put(made.to_bytes(), site, NOW).path)
    assert centre.desk.receive(bundle.to_bytes(), now=NOW).accepted
    return bundle.digest


def published(centre: Centre, base: Base) -> Release | None:
    return publish(
        centre.home, centre.registry, base, now=NOW, settings=QUICK, gate=GATE
    )


def held(centre: Centre, sites: dict[str, SiteHome]) -> str:
    """A hostile concept in quarantine, without any release; its digest."""
    digest = bring(centre, sites["south"], "south", "evil", HOSTILE, 2)
    centre.registry.bundles.leave_out(
        digest, "pictures moved", NOW, reason=Reason.QUARANTINED
    )
    return digest


def test_hostile_concept_is_held_and_the_others_are_published(
    centre: Centre, sites: dict[str, SiteHome], base: Base
) -> None:
    bring(centre, sites["north"], "north", "rex", HONEST, 1)
    digest = bring(centre, sites["south"], "south", "evil", HOSTILE, 2)
    bring(centre, sites["north"], "north", "bolt", HONEST, 3)
    assert published(centre, base) is not None
    newest = centre.registry.published.newest()
    assert newest is not None
    assert newest.concepts == ("north/bolt", "north/rex")
    (one,) = centre.registry.quarantine.held()
    assert (one.site, one.concept, one.digest) == ("south", "evil", digest)
    assert "moved" in one.text
    folder = centre.home.quarantine / one.digest
    figures = json.loads((folder / "figures.json").read_text())
    assert figures["concept"] == "south/evil"
    assert "south/evil" in (folder / "index.html").read_text()
    for side in ("base", "with", "without"):
        with Image.open(folder / f"00-{side}.png") as picture:
            assert picture.size[0] > 0
    report = json.loads(newest.path.with_suffix(".report.json").read_text())
    assert report["gate"]["exceeded"] == []


def test_held_release_leaves_the_last_good_one_in_force(
    centre: Centre, sites: dict[str, SiteHome], base: Base
) -> None:
    bring(centre, sites["north"], "north", "rex", HONEST, 1)
    first = published(centre, base)
    assert first is not None
    bring(centre, sites["south"], "south", "evil", HOSTILE, 2)
    assert published(centre, base) is None
    newest = centre.registry.published.newest()
    assert newest is not None
    assert (newest.version, newest.digest) == (1, first.digest)
    assert published(centre, base) is None  # and it is not fused again and again


def test_newer_version_that_is_held_leaves_the_released_one_in_its_place(
    centre: Centre, sites: dict[str, SiteHome], base: Base
) -> None:
    good = bring(centre, sites["north"], "north", "rex", HONEST, 1)
    assert published(centre, base) is not None
    bring(centre, sites["north"], "north", "rex", HOSTILE, 2)
    assert published(centre, base) is None
    assert [one.digest for one in centre.registry.bundles.current()] == [good]


def test_released_bundle_is_published_and_never_held_again(
    centre: Centre, sites: dict[str, SiteHome], base: Base
) -> None:
    bring(centre, sites["north"], "north", "rex", HONEST, 1)
    digest = bring(centre, sites["south"], "south", "evil", HOSTILE, 2)
    assert published(centre, base) is not None
    assert type_in(app, *("quarantine", "release", "south/evil", *at(centre))) == 0
    assert published(centre, base) is not None
    newest = centre.registry.published.newest()
    assert newest is not None
    assert digest in newest.bundles
    # Nobody else is held for what the operator has let pass.
    bring(centre, sites["north"], "north", "bolt", HONEST, 3)
    assert published(centre, base) is not None
    assert centre.registry.quarantine.held() == ()


def test_quarantine_outlives_the_process_with_the_bundle_and_its_reason(
    centre: Centre, sites: dict[str, SiteHome]
) -> None:
    digest = held(centre, sites)
    again = Registry(centre.home)
    again.bundles.prune()
    assert [one.digest for one in again.quarantine.held()] == [digest]
    assert again.bundles.content(digest)
    assert again.bundles.current() == ()


def test_site_learns_that_it_is_held_and_that_it_is_released(
    centre: Centre, sites: dict[str, SiteHome]
) -> None:
    digest = held(centre, sites)
    outbox, key_id = Outbox(sites["south"]), sites["south"].public_keys()[0].key_id
    (news,) = centre.registry.bundles.news_for(key_id)
    assert (news.accepted, news.reason) == (False, "quarantined: pictures moved")
    assert outbox.settle(news) is not None
    assert outbox.sent() == ()
    centre.registry.bundles.note_notified([digest])
    centre.registry.quarantine.release("south/evil", now=NOW)
    (news,) = centre.registry.bundles.news_for(key_id)
    assert news.accepted
    assert centre.registry.bundles.verdicts_for(key_id) == (news,)
    outbox.settle(news)
    assert [entry.digest for entry in outbox.sent()] == [digest]


def test_refused_bundle_is_left_out_for_good_and_its_site_learns_it(
    centre: Centre, sites: dict[str, SiteHome]
) -> None:
    digest = held(centre, sites)
    key_id = sites["south"].public_keys()[0].key_id
    assert type_in(app, *("quarantine", "refuse", "south/evil", *at(centre))) == 0
    (news,) = centre.registry.bundles.news_for(key_id)
    assert (news.digest, news.accepted) == (digest, False)
    assert news.reason.startswith("rejected: refused by the operator")
    assert centre.registry.quarantine.held() == ()
    assert centre.registry.bundles.current() == ()
    with pytest.raises(RegistryError, match="0 such bundles in quarantine"):
        centre.registry.quarantine.release("south/evil")


def test_newer_version_takes_the_place_of_a_quarantined_one(
    centre: Centre, sites: dict[str, SiteHome]
) -> None:
    held(centre, sites)
    newer = signed(sites["south"], centre.inventory, "evil", site="south", seed=9)
    assert centre.desk.receive(newer.to_bytes(), now=NOW).accepted
    assert centre.registry.quarantine.held() == ()
    (one,) = centre.registry.bundles.current()
    assert (one.digest, one.exempt) == (newer.digest, False)


def test_quarantine_is_listed_and_shown(
    centre: Centre, sites: dict[str, SiteHome], capsys: pytest.CaptureFixture[str]
) -> None:
    digest = held(centre, sites)
    assert type_in(app, *("quarantine", "list", "--json", *at(centre))) == 0
    (row,) = json.loads(capsys.readouterr().out)["quarantine"]
    assert (row["concept"], row["digest"]) == ("south/evil", digest)
    assert type_in(app, *("quarantine", "show", "south/evil", *at(centre))) == 0
    assert "pictures moved" in capsys.readouterr().err
    assert type_in(app, *("quarantine", "show", "south/else", *at(centre))) == 2


def at(centre: Centre) -> tuple[str, str]:
    return ("--home", str(centre.home.folder))
