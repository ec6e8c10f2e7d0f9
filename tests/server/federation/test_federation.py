"""The federation as it is deployed: real processes, TLS, node keys; and simulated."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mos_client.cli import app as client_app
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_client.store.releases import ReleaseStore
from mos_lab.cli import app as lab_app
from mos_lab.simulation.outcome import SimulationOutcome
from mos_lab.simulation.progress import SimulationProgress
from mos_lab.simulation.simulation import SyntheticSites, simulate
from mos_model.bases.base_files import read_inventory
from mos_model.concepts.concept import FusedModel
from mos_runtime.flower_env import free_port
from mos_runtime.processes import Stopping
from mos_server.cli import app as server_app
from mos_server.registry.home import CentreHome
from mos_server.registry.registry import Registry
from mos_server.serving.superlink import SuperLink
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.pictures import save_pictures
from tests.support.programs import Program, processes_about
from tests.support.sites import Centre
from tests.support.typing_in import type_in

QUICK = {"fusion": {"steps": 1, "scenes": [""], "prior_subjects": ["dog"]}}

Start = Callable[..., Program]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = save_tiny_sd(tmp_path / "base")
    (folder / "mos_defaults.json").write_text(json.dumps(QUICK))
    return folder


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Program] = []

    def started(which: str, *words: object) -> Program:
        running.append(Program(which, *words))
        return running[-1]

    yield started
    for program in running:
        program.kill()


def admit(tmp_path: Path, base: Path, address: str, name: str) -> Path:
    """Enrol a site and have it admitted, by the two files; its home."""
    home, request = tmp_path / name, tmp_path / f"{name}.request"
    enroll = ("enroll", "--name", name, "--home", home, "--out", request)
    assert type_in(client_app, *enroll) == 0
    answer = ("admit", request, "--out", tmp_path / f"{name}.welcome")
    where = ("--home", tmp_path / "centre", "--address", address, "--base", base)
    assert type_in(server_app, *answer, *where) == 0
    return home


def put(home: Path, base: Path, concept: str, seed: int) -> None:
    content = random_concept(read_inventory(str(base)), concept, seed=seed).to_bytes()
    Outbox(SiteHome.open(home)).put(content, home.name)


@pytest.mark.slow
def test_two_sites_push_at_different_times_and_both_get_both_releases(
    tmp_path: Path, base: Path, start: Start
) -> None:
    address = f"127.0.0.1:{free_port()}"
    words = ("serve", "--home", tmp_path / "centre", "--address", address)
    # Random numbers on a random base: no gate has limits for those.
    more = ("--base", base, "--fuse-after", 0, "--device", "cpu", "--gate", "off")
    centre = start("server", *words, *more, "--longest-poll", 4)
    centre.wait_for("listening")
    north = admit(tmp_path, base, address, "north")
    centre.wait_for("door-open", site="north")
    at_north = start("client", "join", tmp_path / "north.welcome", "--home", north)
    put(north, base, "rex", 0)
    at_north.wait_for("accepted", concept="rex")
    at_north.wait_for("release", version=1)
    south = admit(tmp_path, base, address, "south")
    centre.wait_for("door-open", site="south")
    at_south = start("client", "join", tmp_path / "south.welcome", "--home", south)
    at_south.wait_for("release", version=1)
    put(south, base, "luna", 1)
    at_south.wait_for("accepted", concept="luna")
    for site in (at_north, at_south):
        told = site.wait_for("release", version=2)
        assert told["concepts"] == ["north/rex", "south/luna"]
    for home in (north, south):
        assert ReleaseStore(SiteHome.open(home)).versions() == (1, 2)
    newest = Registry(CentreHome.open(tmp_path / "centre")).published.newest()
    assert newest is not None
    assert newest.version == 2
    programs = (at_north, centre, at_south)
    families = [one for program in programs for one in program.family()]
    assert len(families) > len(programs)
    assert [program.end() for program in programs] == [0, 0, 0]
    assert [one for one in families if one.is_running()] == []
    assert processes_about(tmp_path) == []


@pytest.mark.slow
def test_simulation_runs_from_pictures_to_a_release_that_every_site_holds(
    tmp_path: Path, base: Path
) -> None:
    for name in ("rex", "luna"):
        save_pictures(tmp_path / "sites" / name, side=16)
    (tmp_path / "sites" / "rex" / "concept.toml").write_text('class_word = "dog"')
    seen: list[SimulationProgress] = []
    outcome = simulate(
        tmp_path / "sites",
        tmp_path / "out",
        base=str(base),
        steps=3,
        seed=1,
        on_progress=seen.append,
    )
    assert outcome.concepts == ("luna/luna", "rex/rex")
    assert SimulationOutcome.read(tmp_path / "out") == outcome
    for site in outcome.sites:
        assert site.accepted
        assert site.release == outcome.release == 1
        store = ReleaseStore(SiteHome.open(tmp_path / "out" / "sites" / site.site))
        assert store.versions() == (1,)
        concept = tmp_path / "out" / site.concept_file
        signature = concept.with_name(f"{concept.name}.sig")
        size = concept.stat().st_size + signature.stat().st_size
        assert size < site.bytes_sent < size + 2048
    assert outcome.sites[1].class_word == "dog"
    release = tmp_path / "out" / outcome.release_file
    model = FusedModel.from_bytes(release.read_bytes())
    assert [concept.key for concept in model.concepts] == ["luna/luna", "rex/rex"]
    assert {site.state for now in seen for site in now.sites.values()} >= {
        *("waiting", "tuning", "tuned", "accepted"),
    }
    assert seen[-1].finished
    assert processes_about(tmp_path) == []


@pytest.mark.slow
def test_dozen_synthetic_sites_are_all_admitted_and_all_hold_one_release(
    tmp_path: Path, base: Path
) -> None:
    out = tmp_path / "out"
    outcome = simulate(SyntheticSites(12, 200_000), out, base=str(base))
    names = [f"site-{number:02d}" for number in range(1, 13)]
    assert outcome.concepts == tuple(f"{name}/noise" for name in names)
    assert all(site.accepted and site.release == 1 for site in outcome.sites)
    assert all(200_000 < site.bytes_sent < 300_000 for site in outcome.sites)
    (newest,) = Registry(CentreHome.open(out / "centre")).published.all()
    for name in names:
        held = ReleaseStore(SiteHome.open(out / "sites" / name)).held()
        assert held is not None
        assert (held.version, held.digest) == (1, newest.digest)
    assert processes_about(tmp_path) == []


def test_simulation_needs_pictures_or_a_number_of_synthetic_sites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_in(lab_app, "simulate", "--out", tmp_path / "out") == 2
    assert "either --sites or --synthetic-sites" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


FOREIGN = {
    "pyproject.toml": """
[project]
name = "foreign"
version = "0.1.0"
description = "An app that brings code."
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "foreign"
[tool.flwr.app.components]
serverapp = "foreign.apps:server"
clientapp = "foreign.apps:client"
""",
    "foreign/__init__.py": "",
    "foreign/apps.py": """
import pathlib, time
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

server = ServerApp()
client = ClientApp()

@server.main()
def main(grid, context):
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.2)
    content = RecordDict({"mos": ConfigRecord({"a": 1})})
    list(grid.push_messages([Message(content, nodes[0], "query")]))
    time.sleep(3600)

@client.query()
def query(message, context):
    pathlib.Path("%s").write_text("the centre's code ran")
    return Message(message.content, reply_to=message)
""",
}


@pytest.mark.slow
def test_code_that_a_centre_sends_never_runs_at_a_site(
    tmp_path: Path, start: Start
) -> None:
    ran = tmp_path / "ran"
    for name, text in FOREIGN.items():
        path = tmp_path / "foreign-app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("%s", str(ran)))
    address = f"127.0.0.1:{free_port()}"
    home = SiteHome.open(tmp_path / "north", create=True)
    welcome = Centre.at(tmp_path / "centre").enrol(home, "north")
    own = replace(welcome, address=address).to_bytes()
    (tmp_path / "north.welcome").write_bytes(own)
    where = ["--fleet-api-address", address]
    superlink = SuperLink(tmp_path / "flower", where, certificates=None)
    try:
        superlink.wait_until_ready(Stopping())
        superlink.submit(tmp_path / "foreign-app")
        words = ("join", tmp_path / "north.welcome", "--home", home.folder)
        told = start("client", *words).wait_for("app-refused")
        assert "foreign/__init__.py" in told["reason"]
    finally:
        superlink.family.stop()
    assert not ran.exists()


def test_centre_off_loopback_without_tls_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("serve", "--address", "0.0.0.0:9092", "--insecure", "--home", tmp_path)
    assert type_in(server_app, *words) == 2
    assert "loopback only" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_device_that_is_not_here_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("serve", "--device", "cuda:99", "--home", tmp_path / "centre")
    assert type_in(server_app, *words) == 2
    assert "'cuda:99' is not here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_simulation_without_a_usable_picture_names_the_site_and_starts_nothing(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_pictures(tmp_path / "sites" / "rex")
    (tmp_path / "sites" / "luna").mkdir()
    (tmp_path / "sites" / "luna" / "broken.png").write_bytes(b"no")
    out = tmp_path / "out"
    words = ("simulate", "--sites", tmp_path / "sites", "--out", out, "--base", base)
    assert type_in(lab_app, *words) == 2
    told = capsys.readouterr().err
    assert "luna" in told
    assert "broken.png" in told
    assert not (out / "flower").exists()


def test_simulation_does_not_replace_another_folder(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_pictures(tmp_path / "sites" / "rex")
    mine = tmp_path / "out" / "sites" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    words = ("simulate", "--sites", tmp_path / "sites", "--out", tmp_path / "out")
    assert type_in(lab_app, *words, "--base", base) == 2
    assert "the folder is not empty" in capsys.readouterr().err
    assert mine.read_text() == "mine"
