"""What a site may take back or change by its own signature; nobody else may."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from mos_client.store.home import SiteHome
from mos_protocol.messages import Verdict
from mos_protocol.signed.enrolment import EnrolmentRequest
from mos_protocol.signed.keys import SigningKey
from mos_protocol.signed.statement import SignedStatement
from mos_server.errors import RegistryError
from mos_server.registry.registry import Registry
from tests.support.sites import NOW, Centre, signed


@dataclass
class Site:
    """An enrolled site, and what it brings to the desk."""

    centre: Centre
    home: SiteHome
    name: str

    def bring(self, concept: str, seed: int = 0) -> Verdict:
        bundle = signed(
            self.home, self.centre.inventory, concept, site=self.name, seed=seed
        )
        return self.centre.desk.receive(bundle.to_bytes(), now=NOW)

    def withdrawal(
        self,
        concept: str,
        counter: int,
        *,
        site: str = "",
        key: SigningKey | None = None,
    ) -> bytes:
        return SignedStatement.sign_withdrawal(
            site=site or self.name,
            concept=concept,
            counter=counter,
            key=key or self.home.signing_key(),
            created=NOW,
        ).to_bytes()

    def rotation(self, new_key: SigningKey, counter: int) -> bytes:
        return SignedStatement.sign_rotation(
            site=self.name,
            new_key=new_key,
            counter=counter,
            key=self.home.signing_key(),
            created=NOW,
        ).to_bytes()


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre.at(tmp_path / "centre")


def enrolled(centre: Centre, folder: Path, name: str) -> Site:
    home = SiteHome.open(folder / name, create=True)
    centre.enrol(home, name)
    return Site(centre, home, name)


@pytest.fixture
def north(centre: Centre, tmp_path: Path) -> Site:
    return enrolled(centre, tmp_path, "north")


@pytest.fixture
def south(centre: Centre, tmp_path: Path) -> Site:
    return enrolled(centre, tmp_path, "south")


def current(centre: Centre) -> list[str]:
    return [f"{b.site}/{b.concept}" for b in centre.registry.bundles.current()]


def told(centre: Centre, content: bytes) -> str:
    """The desk's answer to a statement: "" where it was taken, else the reason."""
    verdict = centre.desk.receive(content, now=NOW)
    return "" if verdict.accepted else verdict.reason.partition(":")[0]


def test_site_withdraws_its_own_concept_and_no_other_goes(
    centre: Centre, north: Site, south: Site
) -> None:
    north.bring("rex")
    north.bring("luna")
    south.bring("rex")
    statement = north.withdrawal("rex", 3)
    assert told(centre, statement) == ""
    assert current(centre) == ["north/luna", "south/rex"]
    digest = SignedStatement.from_bytes(statement).digest
    key_id = north.home.signing_key().public.key_id
    assert centre.registry.bundles.verdicts_for(key_id, [digest]) == (
        Verdict(digest, True, ""),
    )


def test_site_cannot_withdraw_another_sites_concept(
    centre: Centre, north: Site, south: Site
) -> None:
    south.bring("rex")
    in_its_name = north.withdrawal("rex", 1, site="south")
    assert told(centre, in_its_name) == "unknown-signer"
    assert told(centre, north.withdrawal("rex", 1)) == ""  # of a rex of its own: none
    assert current(centre) == ["south/rex"]


def test_withdrawal_sent_again_does_not_take_the_concepts_return_away(
    centre: Centre, north: Site
) -> None:
    north.bring("rex")
    statement = north.withdrawal("rex", 2)
    assert told(centre, statement) == ""
    (north.home.counter_path).write_text("2\n")
    assert north.bring("rex", seed=1).accepted
    assert told(centre, statement) == "rolled-back"
    assert current(centre) == ["north/rex"]


def test_bundle_that_was_withdrawn_cannot_be_sent_again(
    centre: Centre, north: Site
) -> None:
    bundle = signed(north.home, centre.inventory, "rex")
    assert centre.desk.receive(bundle.to_bytes(), now=NOW).accepted
    assert told(centre, north.withdrawal("rex", 2)) == ""
    assert not centre.desk.receive(bundle.to_bytes(), now=NOW).accepted
    assert current(centre) == []


def change_key(site: Site, new_key: SigningKey, counter: int) -> str:
    answer = told(site.centre, site.rotation(new_key, counter))
    if not answer:
        site.home.signing_key_path.write_bytes(new_key.to_pem())
        site.home.counter_path.write_text(f"{counter}\n")
    return answer


def test_new_key_takes_the_old_ones_place_for_all_that_the_site_has(
    centre: Centre, north: Site
) -> None:
    north.bring("rex")
    north.bring("luna")
    old = north.home.signing_key()
    assert change_key(north, SigningKey.generate(), 3) == ""
    assert current(centre) == ["north/luna", "north/rex"]
    by_old = north.withdrawal("rex", 4, key=old)
    assert told(centre, by_old) == "revoked-signer"
    assert north.bring("rex", seed=1).accepted
    assert current(centre) == ["north/luna", "north/rex"]
    assert told(centre, north.withdrawal("luna", 5)) == ""
    assert current(centre) == ["north/rex"]
    centre.registry.membership.revoke("north")
    assert current(centre) == []


def test_key_that_another_site_holds_is_no_new_key(
    centre: Centre, north: Site, south: Site
) -> None:
    answer = change_key(north, south.home.signing_key(), 1)
    assert answer == "out-of-bounds"
    assert north.bring("rex").accepted


def test_revoked_sites_concepts_are_kept_where_that_is_asked_for(
    centre: Centre, north: Site, tmp_path: Path
) -> None:
    north.bring("rex")
    centre.registry.membership.revoke("north", keep_concepts=True)
    assert not north.bring("luna").accepted
    assert current(centre) == ["north/rex"]
    # A stranger under the same name must not come to own them.
    with pytest.raises(RegistryError, match="still fused"):
        enrolled(centre, tmp_path / "other", "north")
    centre.registry.membership.revoke("north")
    assert current(centre) == []
    other = enrolled(centre, tmp_path / "another", "north")
    assert other.bring("rex", seed=2).accepted
    assert current(centre) == ["north/rex"]


def test_registry_of_the_first_schema_is_brought_up_to_date(
    centre: Centre, north: Site
) -> None:
    north.bring("rex")
    with sqlite3.connect(centre.home.database_path) as raw:
        for table in ("withdrawals", "rotations", "tune_orders", "left_out"):
            raw.execute(f"DROP TABLE {table}")
        for column in ("kept", "successor", "quota"):
            raw.execute(f"ALTER TABLE sites DROP COLUMN {column}")
        raw.execute("ALTER TABLE releases DROP COLUMN signer")
        raw.execute("ALTER TABLE bundles DROP COLUMN exempt")
        raw.execute("PRAGMA user_version=1")
    raw.close()
    again = Registry(centre.home)
    assert [b.concept for b in again.bundles.current()] == ["rex"]
    (site,) = again.membership.sites()
    assert (site.revoked, site.kept, site.successor) == (False, False, "")
    assert again.orders.all() == ()


def test_order_to_tune_is_answered_once_and_needs_an_admitted_site(
    centre: Centre, north: Site
) -> None:
    registry = centre.registry
    order = registry.orders.add("north", "rex", steps=5, now=NOW)
    with pytest.raises(RegistryError, match="ordered already"):
        registry.orders.add("north", "rex", now=NOW)
    with pytest.raises(RegistryError, match="no active site of that name"):
        registry.orders.add("west", "rex", now=NOW)
    registry.orders.answer(order.number, "not at this hour", now=NOW + 1)
    (answered,) = registry.orders.all()
    assert (answered.error, answered.answered) == ("not at this hour", NOW + 1)
    registry.orders.add("north", "rex", now=NOW + 2)


def test_request_of_a_rotated_site_is_still_its_own(
    centre: Centre, north: Site
) -> None:
    new_key = SigningKey.generate()
    assert change_key(north, new_key, 1) == ""
    other = SiteHome.open(north.home.folder.with_name("other"), create=True)
    node_key = other.node_public_path.read_bytes()
    request = EnrolmentRequest.sign(
        site="north", key=new_key, node_key=node_key, created=NOW
    )
    centre.registry.membership.admit(request.site, request.site_key, request.node_key)
    newest = [site for site in centre.registry.membership.sites() if not site.successor]
    assert [site.node_key for site in newest] == [node_key.strip()]


def test_files_of_what_is_fused_no_more_are_deleted(
    centre: Centre, north: Site, south: Site
) -> None:
    north.bring("rex")
    gone = centre.registry.bundles.current()[0].digest
    north.bring("rex", seed=1)
    south.bring("luna")
    left = [b.digest for b in centre.registry.bundles.current()]
    assert len(list(centre.home.blobs.iterdir())) == 2
    assert all(centre.registry.bundles.content(digest) for digest in left)
    assert centre.registry.bundles.has(gone)
    assert told(centre, south.withdrawal("luna", 2)) == ""
    assert centre.registry.bundles.prune() == 1
    assert centre.registry.bundles.prune() == 0
