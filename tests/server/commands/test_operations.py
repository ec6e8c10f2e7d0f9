"""What operators do while a federation runs: real processes, TLS, node keys."""

import json
from pathlib import Path
from typing import Any

import pytest

from mos_client.cli import app as client_app
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_client.store.releases import ReleaseStore
from mos_server.cli import app as server_app
from mos_server.federation.names import ALIVE_FILE
from mos_server.registry.home import CentreHome
from mos_server.registry.registry import Registry
from tests.support.federation import Federation
from tests.support.pictures import save_pictures
from tests.support.programs import processes_about
from tests.support.typing_in import type_in

pytestmark = pytest.mark.slow


@pytest.fixture
def federation(tmp_path: Path) -> Any:
    with Federation.running(tmp_path) as made:
        yield made


def test_orders_keys_withdrawals_and_a_dead_server_app_while_all_runs(
    federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, base = federation.folder, federation.base
    centre_home = ("--home", federation.centre_home)
    for name in ("north", "south"):
        federation.admit(name)
    pictures = save_pictures(folder / "pictures", side=16)
    (pictures / "concept.toml").write_text('class_word = "dog"')
    (folder / "north" / "policy.toml").write_text(
        f'[tune]\nmax_steps = 3\nbases = ["{base}"]\n[tune.data]\nrex = "{pictures}"\n'
    )
    north, south = (federation.join(name) for name in ("north", "south"))
    order = ("tune", "--concept", "rex", "--steps", 2, *centre_home)
    assert type_in(server_app, *order) == 0
    assert "does not tune" in south.wait_for("tune-refused")["reason"]
    for site in (north, south):
        assert site.wait_for("release", version=1)["concepts"] == ["north/rex"]
    # A second centre and a second site on the same homes are refused.
    words = ("serve", *centre_home, "--base", base, "--address", federation.address)
    assert type_in(server_app, *words) == 2
    assert type_in(client_app, "join", "--home", folder / "north") == 2
    assert capsys.readouterr().err.count("runs from this home") == 2
    assert type_in(server_app, "change-key", *centre_home) == 0
    for site in (north, south):
        site.wait_for("release", version=2)
    assert type_in(client_app, "enroll", "--rotate", "--home", folder / "north") == 0
    north.wait_for("key-changed")
    assert type_in(client_app, "withdraw", "rex", "--home", folder / "north") == 0
    north.wait_for("withdrawn", concept="rex")
    for site in (north, south):
        assert site.wait_for("release", version=3)["concepts"] == []
    federation.put("south", "luna")
    south.wait_for("release", version=4)
    centre = federation.programs["centre"]
    capsys.readouterr()
    assert type_in(server_app, "status", *centre_home, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"]
    assert told["concepts"] == ["south/luna"]
    assert all(site["connected"] for site in told["sites"])
    pid = int((CentreHome(federation.centre_home).flower / ALIVE_FILE).read_text())
    (app,) = [one for one in centre.family() if one.pid == pid]
    app.kill()
    centre.wait_for("resubmitting")
    federation.put("north", "bolt")
    for site in (north, south):
        site.wait_for("release", version=5)
    for name in ("north", "south", "centre"):
        federation.end(name)
    assert processes_about(folder) == []
    registry = Registry(CentreHome.open(federation.centre_home))
    assert registry.published.check_chain() == 5
    answers = {order.site: order.error for order in registry.orders.all()}
    assert answers == {"north": "", "south": "this site does not tune on request"}
    home = SiteHome.open(folder / "north")
    assert len(home.public_keys()) == 2
    assert [entry.concept for entry in Outbox(home).withdrawn()] == ["rex"]
    assert ReleaseStore(home).read("newest").digest == (
        registry.published.all()[-1].digest
    )
