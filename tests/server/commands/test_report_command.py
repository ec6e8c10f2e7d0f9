"""`mos-server report` and `mos-server sizes`, as one types them."""

import json
from pathlib import Path

import pytest

from mos_client.store.home import SiteHome
from mos_model.bases.base import load_base
from mos_server.cli import app
from mos_server.federation.publishing import publish
from mos_server.fusion import FusionSettings
from tests.support.bases import save_tiny_sd
from tests.support.sites import NOW, Centre, signed
from tests.support.typing_in import type_in


def test_page_of_the_newest_release_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = load_base(str(save_tiny_sd(tmp_path / "base")))
    centre = Centre.at(tmp_path / "centre", base.inventory)
    home, page = SiteHome.open(tmp_path / "north", create=True), tmp_path / "page.html"
    centre.enrol(home, "north")
    asked = ("report", "--out", page, "--home", centre.home.folder)
    assert type_in(app, *asked) == 2
    assert "no release yet" in capsys.readouterr().err
    bundle = signed(home, base.inventory, "rex", site="north")
    assert centre.desk.receive(bundle.to_bytes(), now=NOW).accepted
    quick = FusionSettings(steps=1, scenes=("",), prior_subjects=("dog",))
    publish(centre.home, centre.registry, base, now=NOW, settings=quick)
    assert type_in(app, *asked) == 0
    assert "north/rex" in page.read_text()
    assert type_in(app, *asked, 7, "--force") == 2
    assert "release 7: none such" in capsys.readouterr().err


def test_sizes_of_a_base_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert type_in(app, "sizes", "--base", "mini", "--concepts", 3, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert 0 < told["bundle"] < told["release"] * 2
    assert told["ledger_concept"] > told["bundle"]
