"""What is refused, and that nothing moved."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_protocol.messages import Verdict
from mos_protocol.signed.bundle import Bundle
from mos_runtime.errors import StorageError
from tests.support.disk import no_file_larger_than, snapshot
from tests.support.sites import NOW, Centre, signed, small_inventory


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre.at(tmp_path / "centre")


@pytest.fixture
def north(tmp_path: Path, centre: Centre) -> SiteHome:
    home = SiteHome.open(tmp_path / "north", create=True)
    centre.enrol(home, "north")
    return home


def standing(centre: Centre) -> tuple[Any, ...]:
    """All that a refusal must leave as it is."""
    registry = centre.registry
    blobs = snapshot(centre.home.blobs) if centre.home.blobs.exists() else {}
    return (
        registry.membership.sites(),
        registry.bundles.current(),
        registry.published.all(),
        blobs,
    )


def refused(centre: Centre, content: bytes, **told: Any) -> Verdict:
    """Hand in a bundle that must be refused; everything else stays."""
    before = standing(centre)
    verdict = centre.desk.receive(content, now=NOW, **told)
    assert not verdict.accepted
    assert standing(centre) == before
    last = centre.registry.refusals.all()[-1]
    assert f"{last.reason}: {last.text}" == verdict.reason
    assert last.path is not None
    assert last.path.read_bytes() == content
    beside = last.path.with_suffix(".reason.txt")
    assert beside.read_text() == f"{verdict.reason}\n"
    return verdict


def test_honest_bundle_is_accepted_and_its_sender_told(
    centre: Centre, north: SiteHome
) -> None:
    bundle = signed(north, centre.inventory)
    verdict = centre.desk.receive(bundle.to_bytes(), now=NOW)
    assert verdict == Verdict(bundle.digest, True, "")
    key_id = north.signing_key().public.key_id
    assert centre.registry.bundles.verdicts_for(key_id) == (verdict,)


@pytest.mark.parametrize("part", ["manifest", "signature", "payload", "first", "last"])
def test_one_flipped_bit_is_refused_on_both_ends(
    centre: Centre, north: SiteHome, part: str
) -> None:
    centre.desk.receive(signed(north, centre.inventory, "bolt").to_bytes(), now=NOW)
    bundle = signed(north, centre.inventory)
    content = bytearray(bundle.to_bytes())
    sealed = bundle.sealed()
    place = {
        "manifest": content.index(sealed.payload) + len(sealed.payload) // 2,
        "signature": content.index(sealed.signature) + 17,
        "payload": len(content) - len(bundle.payload) // 3,
        "first": 0,
        "last": len(content) - 1,
    }[part]
    content[place] ^= 1
    key_id = north.signing_key().public.key_id
    told = {"sender_key_id": key_id, "offered": bundle.digest}
    verdict = refused(centre, bytes(content), **told)
    assert verdict.digest == bundle.digest
    # The site is told, and keeps the bundle aside with the reason.
    assert verdict in centre.registry.bundles.verdicts_for(key_id, {bundle.digest})
    outbox = Outbox(north)
    outbox.settle(verdict)
    (entry,) = outbox.refused()
    assert (entry.concept, entry.reason) == ("rex", verdict.reason)
    assert "rex" not in [waiting.concept for waiting in outbox.entries()]


def test_bundle_of_a_key_that_was_not_admitted_is_refused(
    centre: Centre, north: SiteHome, tmp_path: Path
) -> None:
    stranger = SiteHome.open(tmp_path / "stranger", create=True)
    bundle = signed(stranger, centre.inventory, site="north")
    verdict = refused(centre, bundle.to_bytes())
    assert verdict.reason.startswith("unknown-signer: ")
    assert verdict.digest == bundle.digest


def test_bundle_signed_under_another_sites_name_is_refused(
    centre: Centre, north: SiteHome, tmp_path: Path
) -> None:
    south = SiteHome.open(tmp_path / "south", create=True)
    centre.enrol(south, "south")
    verdict = refused(centre, signed(south, centre.inventory, site="north").to_bytes())
    assert verdict.reason.startswith("unknown-signer: ")


def test_replayed_bundle_is_refused_and_still_counts_as_accepted(
    centre: Centre, north: SiteHome
) -> None:
    bundle = signed(north, centre.inventory)
    key_id = north.signing_key().public.key_id
    accepted = centre.desk.receive(bundle.to_bytes(), now=NOW, sender_key_id=key_id)
    verdict = refused(centre, bundle.to_bytes(), sender_key_id=key_id)
    assert verdict.reason.startswith("replayed: ")
    assert centre.registry.bundles.verdicts_for(key_id) == (accepted,)


def test_older_bundle_is_refused_after_a_newer_one(
    centre: Centre, north: SiteHome
) -> None:
    old = signed(north, centre.inventory, seed=1)
    new = signed(north, centre.inventory, seed=2)
    assert centre.desk.receive(new.to_bytes(), now=NOW).accepted
    assert refused(centre, old.to_bytes()).reason.startswith("rolled-back: ")


def test_bundle_of_a_revoked_site_is_refused(centre: Centre, north: SiteHome) -> None:
    centre.registry.membership.revoke("north")
    verdict = refused(centre, signed(north, centre.inventory).to_bytes())
    assert verdict.reason.startswith("revoked-signer: ")


def test_withdrawn_concept_cannot_be_replayed(centre: Centre, north: SiteHome) -> None:
    bundle = signed(north, centre.inventory)
    centre.desk.receive(bundle.to_bytes(), now=NOW)
    centre.registry.bundles.withdraw("north", "rex")
    assert refused(centre, bundle.to_bytes()).reason.startswith("replayed: ")


def test_payload_of_another_bundle_is_refused(centre: Centre, north: SiteHome) -> None:
    one = signed(north, centre.inventory, seed=1)
    other = signed(north, centre.inventory, seed=2)
    mixed = replace(one, payload=other.payload)
    assert refused(centre, mixed.to_bytes()).reason.startswith("tampered: ")


@pytest.mark.parametrize("content", [b"", b"no", b"MOSB1\n", b"\x80\x04pickle"])
def test_bytes_that_are_no_bundle_are_refused_without_a_digest(
    centre: Centre, content: bytes
) -> None:
    verdict = refused(centre, content)
    assert verdict.reason.startswith("malformed: ")
    assert verdict.digest == ""


def test_refusal_is_told_to_its_sender_alone(
    centre: Centre, north: SiteHome, tmp_path: Path
) -> None:
    south = SiteHome.open(tmp_path / "south", create=True)
    centre.enrol(south, "south")
    bundle = signed(north, centre.inventory)
    broken = Bundle(bundle.envelope, b"").to_bytes()
    south_key = south.signing_key().public.key_id
    refused(centre, broken, sender_key_id=south_key, offered=bundle.digest)
    assert centre.registry.bundles.verdicts_for(north.signing_key().public.key_id) == ()
    assert len(centre.registry.bundles.verdicts_for(south_key)) == 1


def test_full_disk_tells_no_verdict_and_changes_nothing(tmp_path: Path) -> None:
    centre = Centre.at(tmp_path / "centre", small_inventory(width=2**13))
    north = SiteHome.open(tmp_path / "north", create=True)
    centre.enrol(north, "north")
    bundle = signed(north, centre.inventory)
    before = standing(centre)
    with no_file_larger_than(2**19), pytest.raises(StorageError):
        centre.desk.receive(bundle.to_bytes(), now=NOW)
    assert standing(centre) == before
    assert centre.desk.receive(bundle.to_bytes(), now=NOW).accepted


def test_full_disk_keeps_no_refused_bundle_without_its_reason(centre: Centre) -> None:
    before = standing(centre)
    with no_file_larger_than(2**19), pytest.raises(StorageError):
        centre.desk.receive(bytes(2**20), now=NOW)
    assert snapshot(centre.home.refused) == {}
    assert centre.registry.refusals.all() == ()
    assert standing(centre) == before
