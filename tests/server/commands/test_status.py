"""How a centre tells that it stands: status, metrics, health; and that it is alone."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mos_client.store.home import SiteHome
from mos_runtime.journal import Entry
from mos_runtime.locking import locked
from mos_server.cli import app
from mos_server.federation import events
from mos_server.federation.events import CentreEvent
from mos_server.federation.names import ALIVE_FILE
from mos_server.serving.monitoring import metrics, monitored
from mos_server.serving.status import centre_status, has_ended, status_line
from mos_server.serving.watching import LiveFacts, Watch, is_serving
from tests.support.bases import save_tiny_sd
from tests.support.sites import NOW, Centre, signed
from tests.support.typing_in import type_in


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    """A centre with two sites, one of which has brought a concept."""
    made = Centre.at(tmp_path / "centre")
    for name in ("north", "south"):
        made.enrol(SiteHome.open(tmp_path / name, create=True), name)
    bundle = signed(SiteHome(tmp_path / "north"), made.inventory)
    assert made.desk.receive(bundle.to_bytes(), now=NOW).accepted
    return made


def watched(centre: Centre, *happened: CentreEvent) -> Watch:
    watch = Watch(centre.home, "127.0.0.1:9092")
    for event in happened:
        watch.see(Entry(event, float(NOW)))
    return watch


LIVELY: tuple[CentreEvent, ...] = (
    events.Serving(),
    events.Joined("north", release=0),
    events.Joined("south", release=0),
    events.Left("south"),
    events.Accepted("north", digest="ab", reason="", bytes=1),
    events.FusionStarted(concepts=1),
    events.Fusing("solving", share=0.4),
)


def alive(centre: Centre) -> None:
    centre.home.flower.mkdir(parents=True, exist_ok=True)
    (centre.home.flower / ALIVE_FILE).write_text(str(os.getpid()))


def test_status_tells_who_is_here_and_what_is_under_way(centre: Centre) -> None:
    alive(centre)
    status = centre_status(centre.home, centre.registry, watched(centre, *LIVELY).facts)
    here = {site["site"]: site["connected"] for site in status["sites"]}
    assert here == {"north": True, "south": False}
    assert status["healthy"]
    assert status["counts"]["accepted"] == 1
    assert status_line(status) == (
        "1 of 2 sites here (north), 1 concept(s), no release yet, fusing 40%"
    )
    assert json.loads(json.dumps(status)) == status


def test_centre_that_starts_anew_knows_nobody_until_they_are_back(
    centre: Centre,
) -> None:
    alive(centre)
    watch = watched(centre, *LIVELY, events.Resubmitting("gone"))
    status = centre_status(centre.home, centre.registry, watch.facts)
    assert not status["healthy"]
    assert not any(site["connected"] for site in status["sites"])
    assert status["fusing"] is None


def test_failed_fusion_stands_in_the_status_until_one_works(centre: Centre) -> None:
    failed = events.FusionFailed("the disk is full")
    watch = watched(centre, *LIVELY, failed)
    line = status_line(centre_status(centre.home, centre.registry, watch.facts))
    assert line.endswith("the last fusion failed: the disk is full")
    watch.see(Entry(events.Published(1, concepts=(), bytes=1)))
    assert watch.facts.failure == ""


def test_live_facts_survive_their_file(centre: Centre) -> None:
    watch = watched(centre, *LIVELY)
    watch.write()
    assert LiveFacts.read(centre.home.live_path) == watch.facts


def test_metrics_are_prometheus_text(centre: Centre) -> None:
    alive(centre)
    status = centre_status(centre.home, centre.registry, watched(centre, *LIVELY).facts)
    families = list(text_string_to_metric_families(metrics(status)))
    samples = [sample for family in families for sample in family.samples]
    values = {
        sample.name: sample.value
        for sample in samples
        if sample.labels in ({}, {"event": "accepted"})
    }
    assert values["mos_up"] == values["mos_sites_connected"] == 1
    assert values["mos_sites_admitted"] == 2
    assert values["mos_fusing_share"] == 0.4
    assert values["mos_events_total"] == 1
    assert all(family.documentation for family in families)


def got(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_is_200_while_sites_can_be_talked_to_and_503_otherwise(
    centre: Centre,
) -> None:
    watch = watched(centre, *LIVELY)

    def status() -> dict[str, Any]:
        return centre_status(centre.home, centre.registry, watch.facts)

    with monitored(0, status) as port:
        assert got(port, "/healthz")[0] == 503
        alive(centre)
        assert got(port, "/healthz") == (200, "ok\n")
        assert "mos_concepts 1" in got(port, "/metrics")[1]
        assert got(port, "/")[0] == 404
        watch.see(Entry(events.Crashed("a bug")))
        assert got(port, "/healthz")[0] == 503


def test_second_server_on_one_home_is_refused(
    tmp_path: Path, centre: Centre, capsys: pytest.CaptureFixture[str]
) -> None:
    base = save_tiny_sd(tmp_path / "base")
    words = ("serve", "--home", centre.home.folder, "--base", base, "--insecure")
    assert not is_serving(centre.home)
    with locked(centre.home.serving_lock):
        assert is_serving(centre.home)
        assert type_in(app, *words) == 2
    assert "another `mos-server serve` runs" in capsys.readouterr().err
    assert not centre.home.flower.exists()


def test_status_command_tells_a_centre_that_does_not_serve(
    centre: Centre, capsys: pytest.CaptureFixture[str]
) -> None:
    watched(centre, *LIVELY).write()  # left behind by one that was killed
    assert type_in(app, "status", "--home", centre.home.folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["serving"], told["healthy"]) == (False, False)
    assert not any(site["connected"] for site in told["sites"])
    assert type_in(app, "status", "--home", centre.home.folder) == 0
    assert "not serving" in capsys.readouterr().err


def test_killed_server_app_is_noticed_by_its_process_not_by_its_silence(
    centre: Centre,
) -> None:
    alive(centre)
    assert not has_ended(centre.home)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (centre.home.flower / ALIVE_FILE).write_text(str(ended.pid))
    assert has_ended(centre.home)
    (centre.home.flower / ALIVE_FILE).write_text("")
    assert not has_ended(centre.home)


def test_init_makes_keys_and_certificates_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("init", "--home", tmp_path / "new", "--host", "centre.example", "--json")
    assert type_in(app, *words) == 0
    told = json.loads(capsys.readouterr().out)
    assert type_in(app, *words) == 0
    assert json.loads(capsys.readouterr().out) == told
    assert (tmp_path / "new" / "tls" / "server.crt").is_file()


def test_keys_made_under_a_passphrase_need_it(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOS_KEY_PASSPHRASE_FILE", "")
    file = tmp_path / "passphrase"
    file.write_text("secret\n")
    home = tmp_path / "new"
    assert type_in(app, "init", "--home", home, "--passphrase-file", file) == 0
    for path in (home / "centre.key", home / "tls" / "ca.key"):
        assert b"ENCRYPTED" in path.read_bytes(), path
    assert type_in(app, "change-key", "--home", home) == 0
    monkeypatch.setenv("MOS_KEY_PASSPHRASE_FILE", "")
    assert type_in(app, "change-key", "--home", home) == 2
    assert "--passphrase-file" in capsys.readouterr().err
    # Flower's SuperLink reads the server's key by itself.
    assert b"ENCRYPTED" not in (home / "tls" / "server.key").read_bytes()
