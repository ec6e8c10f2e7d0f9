"""Freeze and expiry at a site: an old release must not pass for the newest.

The centre's statement of its newest release is part of every sync that it signs.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from flwr.app import Message

from mos_client.cli import app
from mos_client.store import releases
from mos_client.store.freshness import FRESH_SECONDS, newest_stated
from mos_client.store.outbox import Outbox
from mos_client.store.releases import ReleaseStore, WhenExpired
from mos_protocol import Reason, SigningKey
from mos_protocol.errors import ReleaseError
from mos_protocol.messages import SyncAsk, Verdict
from mos_protocol.signed.release import release_facts
from tests.support.typing_in import type_in
from tests.support.wire import call, show
from tests.threats.stage import Stage
from tests.threats.test_calls import refused

DAY = 24 * 3600
NOW = int(time.time())


@pytest.fixture
def key(stage: Stage) -> SigningKey:
    return stage.centre.home.signing_key()


def sync(stage: Stage, key: SigningKey, newest: int, *, created: int) -> Message:
    values = SyncAsk(0.0, (), newest).to_dict()
    signed = call(key, "query.sync", values, created=created)
    return show(stage.south, "query.sync", signed.envelope)


def warnings(stage: Stage, now: int) -> str:
    store = ReleaseStore(stage.south)
    facts = store.newest()
    assert facts is not None
    return "; ".join(store.warnings(facts, now=now))


def test_newest_release_is_stated_by_every_sync(stage: Stage) -> None:
    stated = newest_stated(stage.south)
    assert stated is not None
    assert stated.version == 1
    assert abs(stated.stated - time.time()) < FRESH_SECONDS
    assert warnings(stage, stated.stated + FRESH_SECONDS) == ""


def test_centre_that_is_cut_off_shows_within_a_day(stage: Stage) -> None:
    """Nothing comes through: the release held is not taken for the newest for ever."""
    stated = newest_stated(stage.south)
    assert stated is not None
    told = warnings(stage, stated.stated + FRESH_SECONDS + 1)
    assert told.startswith("the centre last stated its newest release 24 hours ago")


def test_release_that_is_held_back_shows_at_once(stage: Stage, key: SigningKey) -> None:
    """Syncs come through, the release does not."""
    sync(stage, key, 2, created=NOW)
    sync(stage, key, 2, created=NOW + 60)
    told = warnings(stage, NOW + 3 * DAY)
    assert "release 2 is the newest, first stated 3 days ago" in told
    assert stage.held("south") == 1


@pytest.mark.parametrize("newest", [0, 1], ids=["none", "older"])
def test_statement_of_an_older_release_is_refused_with_its_verdicts(
    stage: Stage, key: SigningKey, newest: int
) -> None:
    sync(stage, key, 2, created=NOW)
    bundle = stage.put(stage.south, "luna")
    ask = SyncAsk(0.0, (Verdict(bundle.digest, False, "no"),), newest).to_dict()
    old = call(key, "query.sync", ask, created=NOW + 1)
    before = newest_stated(stage.south)
    # Noting the nonce is all that a refused sync does.
    reason = refused(stage.south, "query.sync", old.envelope, but=("calls/",))
    assert reason.startswith(f"rolled-back: release {newest} is stated")
    assert newest_stated(stage.south) == before
    assert [one.concept for one in Outbox(stage.south).entries()] == ["luna"]


def test_statement_older_than_the_release_held_is_refused(
    stage: Stage, key: SigningKey
) -> None:
    """Even where no statement was noted yet."""
    stage.south.newest_path.unlink()
    old = call(key, "query.sync", SyncAsk(0.0, (), 0).to_dict())
    reason = refused(stage.south, "query.sync", old.envelope, but=("calls/",))
    assert reason.startswith("rolled-back: release 0 is stated to be the newest, but")
    assert newest_stated(stage.south) is None


def test_statement_that_was_held_back_makes_nothing_fresher(
    stage: Stage, key: SigningKey
) -> None:
    sync(stage, key, 1, created=NOW + 60)
    before = newest_stated(stage.south)
    assert not sync(stage, key, 1, created=NOW).has_error()
    assert newest_stated(stage.south) == before


def test_statement_by_another_site_is_not_noted(stage: Stage) -> None:
    before = newest_stated(stage.south)
    ask = SyncAsk(0.0, (), 9).to_dict()
    forged = call(stage.north_key, "query.sync", ask)
    assert refused(stage.south, "query.sync", forged.envelope).startswith("unknown")
    assert newest_stated(stage.south) == before


def test_statement_outlives_the_process_and_a_broken_one_is_named(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.south.newest_path.write_bytes(b"{}")
    assert type_in(app, "status", "--home", stage.south.folder) == 2
    assert "delete it, and the centre states it anew" in capsys.readouterr().err


@pytest.fixture
def late(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The release that south holds has expired."""
    release = ReleaseStore(stage.south).read()
    expires = release_facts(release.sealed().payload).expires
    monkeypatch.setattr("time.time", lambda: float(expires))
    return stage


Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(stage: Stage, capsys: pytest.CaptureFixture[str]) -> Typed:
    def run(*words: object) -> tuple[int, str, str]:
        code = type_in(app, *words, "--home", stage.south.folder)
        told = capsys.readouterr()
        return code, told.out, " ".join(told.err.split())

    return run


def test_expired_release_is_named_by_status_and_releases(
    late: Stage, typed: Typed
) -> None:
    assert "note: release 1 expired on" in typed("status")[2]
    assert "expired on" in typed("releases")[2]
    (listed,) = json.loads(typed("releases", "--json")[1])["releases"]
    assert listed["expired"] is True
    told = json.loads(typed("status", "--json")[1])
    assert "either the centre has not renewed it" in told["warnings"][0]
    assert told["newest"]["version"] == 1


def test_expired_release_is_used_with_a_warning_or_refused(
    late: Stage, typed: Typed, tmp_path: Path
) -> None:
    store = ReleaseStore(late.south)
    _, notes = store.usable()
    assert notes[0].startswith("release 1 expired on")
    assert "expired ones are not used" in typed("releases", "--expired", "refuse")[2]
    with pytest.raises(ReleaseError) as refusal:
        store.usable(1)
    assert refusal.value.reason is Reason.EXPIRED
    out = tmp_path / "a.png"
    words = ("sample", "--prompt", "<rex>", "--release", "newest", "--out", out)
    code, _, told = typed(*words)
    assert code == 2
    assert "This site refuses expired releases" in told
    assert not out.exists()
    assert typed("releases", "--expired", "warn")[0] == 0
    assert store.when_expired is WhenExpired.WARN


def test_choice_that_is_none_changes_nothing(stage: Stage, typed: Typed) -> None:
    code, _, told = typed("releases", "--expired", "maybe")
    assert code == 2
    assert "either warn or refuse" in told
    assert not (stage.south.releases / releases._EXPIRED_FILE).exists()
