"""Bundles that wait, and that nothing half-written is among them."""

import subprocess
import sys
from pathlib import Path

import pytest

from mos_client.errors import StoreError
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_protocol.errors import ProtocolError
from mos_protocol.messages import Verdict
from mos_protocol.rules.at_rest import bundle_as_signed
from mos_runtime.errors import StorageError
from tests.support.concepts import random_concept
from tests.support.disk import no_file_larger_than, snapshot
from tests.support.sites import NOW, small_inventory

INVENTORY = small_inventory()


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return SiteHome.open(tmp_path / "site", create=True)


def concept(name: str = "rex", seed: int = 0) -> bytes:
    return random_concept(INVENTORY, name, seed=seed).to_bytes()


def test_concept_in_the_outbox_is_signed_and_opens_elsewhere(home: SiteHome) -> None:
    content = concept()
    entry = Outbox(home).put(content, "north", NOW)
    assert entry.path.read_bytes() == content
    bundle = Outbox(home).bundle(entry.digest)
    facts = bundle_as_signed(bundle, home.signing_key().public)
    assert (facts.site, facts.concept, facts.counter) == ("north", "rex", 1)
    assert entry.bytes == len(bundle.to_bytes())
    assert Outbox(home).entries() == (entry,)


def test_second_of_signing_leaves_with_no_bundle(home: SiteHome) -> None:
    hour = NOW - NOW % 3600
    for now in (hour, hour + 1, hour + 3599):
        entry = Outbox(home).put(concept(), "north", now)
        facts = Outbox(home).bundle(entry.digest).verified(home.signing_key().public)
        assert (facts.created, facts.expires % 3600) == (hour, 0)


def test_counter_rises_with_every_signature(home: SiteHome) -> None:
    outbox = Outbox(home)
    counters = [outbox.put(concept(name), "north").counter for name in ("a", "b", "a")]
    assert counters == [1, 2, 3]


def test_newer_concept_replaces_the_waiting_one(home: SiteHome) -> None:
    outbox = Outbox(home)
    old = outbox.put(concept(seed=1), "north")
    new = outbox.put(concept(seed=2), "north")
    assert outbox.entries() == (new,)
    assert not old.path.exists()
    with pytest.raises(StoreError, match="a newer one may have replaced it"):
        outbox.bundle(old.digest)


def test_counter_is_on_the_disk_before_anything_is_signed(
    home: SiteHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    sign = SiteHome.signing_key(home).sign

    def watched(key: object, message: bytes) -> bytes:
        seen.append(home.counter_path.read_text().strip())
        return sign(message)

    monkeypatch.setattr("mos_protocol.signed.keys.SigningKey.sign", watched)
    Outbox(home).put(concept(), "north")
    assert seen == ["1"]


def test_failed_signature_uses_its_counter_up(home: SiteHome) -> None:
    outbox = Outbox(home)
    with pytest.raises(ProtocolError):
        outbox.put(b"not a concept", "north")
    assert outbox.entries() == ()
    assert outbox.put(concept(), "north").counter == 2


def test_full_disk_keeps_the_older_bundle_and_no_half_of_the_new(
    home: SiteHome,
) -> None:
    outbox = Outbox(home)
    outbox.put(concept(seed=1), "north")
    before = snapshot(home.outbox)
    with no_file_larger_than(1024), pytest.raises(StorageError, match="cannot be"):
        outbox.put(concept(seed=2), "north")
    assert snapshot(home.outbox) == before


def test_disk_that_fills_between_payload_and_envelope_leaves_neither(
    home: SiteHome,
) -> None:
    content = concept()
    envelope = Outbox(home).put(content, "north").path.with_suffix(".safetensors.sig")
    assert len(content) > envelope.stat().st_size
    before = snapshot(home.outbox)
    blocked = home.outbox / "bolt.2.safetensors.sig"
    blocked.mkdir()  # the envelope cannot take a folder's place
    with pytest.raises(StorageError):
        Outbox(home).put(concept("bolt"), "north")
    blocked.rmdir()
    assert snapshot(home.outbox) == before


def test_outbox_that_cannot_be_written_ends_in_one_line(home: SiteHome) -> None:
    home.outbox.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"rex\.1\.safetensors: cannot be written"):
        Outbox(home).put(concept(), "north")
    assert home.outbox.read_text() == "a file where the folder should be"


def test_accepted_bundle_moves_to_sent(home: SiteHome) -> None:
    outbox = Outbox(home)
    entry = outbox.put(concept(), "north")
    verdict = Verdict(entry.digest, True, "")
    moved = outbox.settle(verdict)
    assert moved is not None
    assert moved.path.parent == home.sent
    assert outbox.entries() == ()
    assert outbox.sent() == (moved,)
    assert outbox.bundle(entry.digest).payload == concept()
    before = snapshot(home.folder)
    assert outbox.settle(verdict) is None
    assert snapshot(home.folder) == before


def test_refused_bundle_is_kept_with_its_reason(home: SiteHome) -> None:
    outbox = Outbox(home)
    entry = outbox.put(concept(), "north")
    outbox.settle(Verdict(entry.digest, False, "expired: it expired 3 s ago"))
    assert outbox.entries() == ()
    (kept,) = outbox.refused()
    assert kept.reason == "expired: it expired 3 s ago"
    assert kept.digest == entry.digest


def test_verdict_on_an_unknown_bundle_changes_nothing(home: SiteHome) -> None:
    outbox = Outbox(home)
    outbox.put(concept(), "north")
    before = snapshot(home.folder)
    for accepted in (True, False):
        assert outbox.settle(Verdict("0" * 64, accepted, "")) is None
    assert snapshot(home.folder) == before


def test_newer_accepted_bundle_replaces_the_older(home: SiteHome) -> None:
    outbox = Outbox(home)
    for seed in (1, 2):
        entry = outbox.put(concept(seed=seed), "north")
        outbox.settle(Verdict(entry.digest, True, ""))
    assert [sent.counter for sent in outbox.sent()] == [2]
    assert len(snapshot(home.sent)) == 2


def test_full_disk_lets_a_settled_bundle_wait_on(home: SiteHome) -> None:
    outbox = Outbox(home)
    entry = outbox.put(concept(), "north")
    with no_file_larger_than(1024), pytest.raises(StorageError):
        outbox.settle(Verdict(entry.digest, True, ""))
    assert outbox.entries() == (entry,)
    assert outbox.sent() == ()
    assert outbox.settle(Verdict(entry.digest, True, "")) is not None


def test_half_a_pair_and_strange_files_are_no_entries(home: SiteHome) -> None:
    outbox = Outbox(home)
    entry = outbox.put(concept(), "north")
    other = outbox.put(concept("bolt"), "north")
    other.path.unlink()
    (home.outbox / "notes.safetensors.sig").write_bytes(b"no envelope")
    (home.outbox / "notes.safetensors").write_bytes(b"no concept")
    assert outbox.entries() == (entry,)


def test_counter_that_is_no_number_ends_in_one_line(home: SiteHome) -> None:
    home.counter_path.write_text("many")
    with pytest.raises(StoreError, match="not a number"):
        Outbox(home).put(concept(), "north")


_PUTTING = """
import sys
from pathlib import Path
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox

outbox = Outbox(SiteHome.open(Path(sys.argv[1]), create=True))
content = Path(sys.argv[2]).read_bytes()
print(*[outbox.put(content, "north").counter for _ in range(10)])
"""


def test_two_processes_never_sign_with_one_counter(tmp_path: Path) -> None:
    content = tmp_path / "rex.safetensors"
    content.write_bytes(concept())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PUTTING, str(tmp_path / "site"), str(content)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    counters = [int(c) for p in processes for c in p.communicate()[0].split()]
    assert sorted(counters) == list(range(1, 21))
    (entry,) = Outbox(SiteHome(tmp_path / "site")).entries()
    assert entry.counter == 20
