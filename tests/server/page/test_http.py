"""What the page's server shows, does and refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mos_client.store.enrolment import keep_welcome
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_model.bases.base_files import read_inventory
from mos_pages import Keys
from mos_protocol.errors import Reason
from mos_protocol.signed.bundle import Bundle
from mos_runtime.journal import Journal
from mos_server.federation.events import Joined, Page
from mos_server.federation.names import JOURNAL_FILE
from mos_server.page.acts import Acts
from mos_server.registry.records import StoredBundle
from tests.server.page.conftest import Tab, request_of, send
from tests.support.disk import snapshot
from tests.support.sites import Centre

DEEDS = ("request", "admit", "revoke", "withdraw", "hold", "release", "refuse", "tune")


def first(centre: Centre) -> StoredBundle:
    return centre.registry.bundles.current()[0]


def drawn(centre: Centre, digest: str) -> Path:
    """What the gate leaves of a bundle that it holds, of one prompt."""
    folder = centre.home.quarantine / digest
    folder.mkdir(parents=True)
    figures = {
        "beyond": ["pictures of 'a dog' moved: 3 (limit 1)"],
        "found": {"words": {"a dog": 3.0}},
        "rest": {"words": {"a dog": 0.1}},
        "prompts": ["a dog"],
    }
    (folder / "figures.json").write_text(json.dumps(figures))
    for side in ("base", "without", "with"):
        Image.new("RGB", (8, 8)).save(folder / f"00-{side}.png")
    return folder


def test_sites_bundles_and_what_stands_are_shown(operator: Tab, centre: Centre) -> None:
    found = operator.get("/api/centre")
    assert [(one["site"], one["connected"]) for one in found["sites"]] == [
        ("north", False),
        ("south", False),
    ]
    (bundle,) = found["bundles"]
    assert (bundle["site"], bundle["concept"]) == ("north", "rex")
    assert bundle["state"] == "current"
    assert found["status"]["due"]
    assert found["status"]["key"] == centre.home.signing_key().public.key_id


def test_refusal_is_shown_with_its_exact_reason(
    viewer: Tab, centre: Centre, tmp_path: Path
) -> None:
    (again,) = Outbox(SiteHome(tmp_path / "north")).entries()
    verdict = send(centre, tmp_path / "north", Bundle.read(again.path))
    assert not verdict.accepted
    (shown,) = viewer.get("/api/centre")["refusals"]
    assert f"{shown['reason']}: {shown['text']}" == verdict.reason
    assert shown["site"] == "north"


def test_nothing_is_sent_again_to_who_has_seen_it(operator: Tab) -> None:
    seen = operator.get("/api/centre")["seen"]
    assert operator.get(f"/api/centre?seen={seen}") == {"seen": seen}
    operator.post("withdraw", site="north", concept="rex")
    changed = operator.get(f"/api/centre?seen={seen}")
    assert changed["seen"] != seen
    assert changed["bundles"][0]["state"] == "withdrawn"


def test_viewer_reads_all_and_is_refused_every_deed(
    viewer: Tab, centre: Centre
) -> None:
    assert viewer.get("/api/about")["operator"] is False
    assert viewer.get("/api/centre")["bundles"]
    assert viewer.get("/api/releases") == {"releases": []}
    before = snapshot(centre.home.folder)
    for deed in DEEDS:
        body = {"site": "north", "concept": "rex", "digest": first(centre).digest}
        status, reason = viewer.refused(deed, body)
        assert (status, "only reads" in reason) == (403, True), deed
    assert snapshot(centre.home.folder) == before
    assert not any(site.revoked for site in centre.registry.membership.sites())


def test_every_deed_is_among_those_a_viewer_is_refused(centre: Centre) -> None:
    assert set(Acts(centre.registry, base="mini", insecure=False).by_name()) == set(
        DEEDS
    )


def test_request_gets_a_welcome_that_its_site_joins_with(
    operator: Tab, centre: Centre, base: str, tmp_path: Path
) -> None:
    request = request_of(tmp_path, "west")
    asked = operator.post("request", request=request)
    assert asked["site"] == "west"
    assert len(centre.registry.membership.sites()) == 2
    told = operator.post(
        "admit", request=request, address="centre.example:9092", quota="concepts=3"
    )
    assert told["fingerprint"] == asked["fingerprint"]
    welcome = keep_welcome(SiteHome(tmp_path / "west"), told["welcome"].encode())
    assert welcome.site == "west"
    assert welcome.address == "centre.example:9092"
    assert welcome.base == read_inventory(base).base
    assert welcome.ca_certificate == (centre.home.tls / "ca.crt").read_bytes()
    (west,) = (s for s in centre.registry.membership.sites() if s.name == "west")
    assert west.quota.concepts == 3
    assert "west" in [one["site"] for one in operator.get("/api/centre")["sites"]]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"request": "no request", "address": "a.example:1"}, "enrolment request"),
        ({"address": "nowhere"}, "host:port"),
        ({"address": "a.example:1", "quota": "concepts=-1"}, "quota"),
        ({}, "address: a text is needed"),
        ({"address": ["a.example:1"]}, "address: a text is needed"),
        ({"address": "a.example:1", "request": 5}, "request: a text is needed"),
    ],
)
def test_mistaken_admission_is_one_line_and_admits_nobody(
    operator: Tab, centre: Centre, tmp_path: Path, given: Any, reason: str
) -> None:
    body = {"request": request_of(tmp_path, "west"), **given}
    status, told = operator.refused("admit", body)
    assert (status, reason in told, "\n" in told) == (400, True, False), told
    assert [one.name for one in centre.registry.membership.sites()] == [
        "north",
        "south",
    ]


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 400), (b"[]", 400), (b'"x"', 400), (b"\xff", 400), (b"[" * 2**20, 400)],
)
def test_garbage_is_refused_in_one_line(
    operator: Tab, content: bytes, status: int
) -> None:
    assert operator.refused("revoke", content)[0] == status


def test_body_beyond_the_limit_is_refused(operator: Tab) -> None:
    assert operator.refused("admit", b"x" * (2**20 + 1))[0] == 413


@pytest.mark.parametrize("keep", [True, False])
def test_revoked_site_is_revoked_as_by_the_command(
    operator: Tab, centre: Centre, keep: bool
) -> None:
    operator.post("revoke", site="north", keep_concepts=keep)
    (north,) = (s for s in centre.registry.membership.sites() if s.name == "north")
    assert (north.revoked, north.kept) == (True, keep)
    shown = operator.get("/api/centre")
    assert shown["bundles"][0]["state"] == ("current" if keep else "revoked")
    assert bool(centre.registry.bundles.current()) == keep


def test_withdrawn_concept_leaves_what_is_fused(operator: Tab, centre: Centre) -> None:
    operator.post("withdraw", site="north", concept="rex")
    assert centre.registry.bundles.current() == ()
    assert operator.get("/api/centre")["bundles"][0]["state"] == "withdrawn"
    status, reason = operator.refused("withdraw", {"site": "north", "concept": "rex"})
    assert (status, "no such concept" in reason) == (400, True)


def test_held_concept_is_released_or_refused_as_by_the_command(
    operator: Tab, centre: Centre
) -> None:
    digest = first(centre).digest
    operator.post("hold", site="north", concept="rex")
    assert centre.registry.bundles.current() == ()
    (held,) = operator.get("/api/centre")["quarantine"]
    assert (held["digest"], held["reason"]) == (digest, Reason.QUARANTINED)
    assert held["text"] == "held by the operator"
    operator.post("release", digest=digest)
    assert [one.exempt for one in centre.registry.bundles.current()] == [True]
    operator.post("hold", site="north", concept="rex")
    operator.post("refuse", digest=digest)
    assert centre.registry.quarantine.held() == ()
    (out,) = operator.get("/api/centre")["left_out"]
    assert out["reason"] == Reason.REJECTED


def test_order_to_tune_goes_to_one_site_or_to_all(
    operator: Tab, centre: Centre
) -> None:
    given = {"concept": "bolt", "steps": 40, "rank": 4, "seed": 7}
    assert operator.post("tune", site="south", **given) == {"sites": ["south"]}
    assert operator.post("tune", concept="tail")["sites"] == ["north", "south"]
    orders = centre.registry.orders.all()
    assert (orders[0].steps, orders[0].rank, orders[0].seed) == (40, 4, 7)
    assert [one["concept"] for one in operator.get("/api/centre")["orders"]] == [
        "tail",
        "tail",
        "bolt",
    ]
    for bad in ({"concept": "../x"}, {"concept": "x", "steps": -1}, {"concept": 1}):
        assert operator.refused("tune", bad)[0] == 400
    assert len(centre.registry.orders.all()) == 3


def test_what_the_gate_drew_is_shown_and_no_other_file(
    viewer: Tab, centre: Centre
) -> None:
    digest = first(centre).digest
    folder = drawn(centre, digest)
    (row,) = viewer.get(f"/api/evidence/{digest}")["rows"]
    assert (row["prompt"], row["moved"], row["moved_without"]) == ("a dog", 3.0, 0.1)
    for side, name in row["pictures"].items():
        answer = viewer.client.get(f"/api/evidence/{digest}/{name}")
        assert answer.content == (folder / f"00-{side}.png").read_bytes()
    key = "..%2F..%2Fcentre.key"
    for path in (
        f"{digest}/figures.json",
        f"{digest}/{key}",
        f"..%2F..%2F/{key}",
        f"{'0' * 64}/00-with.png",
        f"{digest}/00-with.png%00",
    ):
        answer = viewer.client.get(f"/api/evidence/{path}")
        assert answer.status_code in (400, 404), path
        assert b"PRIVATE" not in answer.content


def test_activity_is_in_the_words_of_serve_without_the_pages_own_paths(
    viewer: Tab, centre: Centre, tmp_path: Path
) -> None:
    journal = Journal(centre.home.flower / JOURNAL_FILE)
    journal.write(Page("/secret/addresses"))
    journal.write(Joined("north", release=0))
    with (centre.home.flower / JOURNAL_FILE).open("a") as file:  # another version's
        file.write('{"event": "accepted", "site": "north", "time": 1.0}\n')
    shown = viewer.get("/api/centre")["activity"]
    assert [one["text"] for one in shown] == ["north is connected and holds release 0"]


def test_viewers_are_told_no_secret(viewer: Tab, keys: Keys, centre: Centre) -> None:
    text = "".join(
        viewer.client.get(path).text
        for path in ("/", "/api/about", "/api/centre", "/api/releases")
    )
    secret = centre.home.signing_key_path.read_text().splitlines()[1]
    for one in (keys.token, keys.session, keys.page, secret, str(centre.home.folder)):
        assert one not in text
