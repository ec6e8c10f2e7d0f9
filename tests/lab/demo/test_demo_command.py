"""`mos-lab demo` as a user types it: a whole federation, then its page."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mos_lab.cli import app
from mos_protocol.rules.at_rest import release_as_signed
from mos_protocol.signed.release import Release
from mos_server.registry.home import CentreHome
from tests.support.bases import save_tiny_sd
from tests.support.typing_in import type_in

PROGRAM = "from mos_lab.cli import main; main()"


@pytest.mark.slow
def test_demo_leaves_picture_page_and_signed_release(tmp_path: Path) -> None:
    base, out = save_tiny_sd(tmp_path / "base"), tmp_path / "out"
    words = ["demo", "--out", str(out), "--base", str(base), "--steps", "2"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(out / "picture.png"), str(out / "report.html")]
    for news in ("centre: release 1 is published", "drawing: 27/27"):
        assert news in done.stderr

    with Image.open(out / "picture.png") as picture:
        assert picture.size == (1152, 384)  # three squares of 16 pixels, enlarged
    page = (out / "report.html").read_text()
    for name in ("studio", "lab", "museum", "&lt;miso&gt;", "&lt;bolt&gt;"):
        assert name in page

    centre = CentreHome.open(out / "federation" / "centre")
    release = Release.read(out / "release.safetensors")
    facts = release_as_signed(release, centre.signing_key().public)
    assert [concept.key for concept in facts.concepts] == [
        "lab/bolt",
        "museum/rex",
        "studio/miso",
    ]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["digest"] == release.digest
    assert manifest["digest"] in page


def test_unknown_base_ends_in_one_line_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert type_in(app, "demo", "--out", out, "--base", tmp_path / "nowhere") == 2
    told = capsys.readouterr().err
    assert told.count("error:") == 1
    assert "no such directory" in told
    assert not out.exists()
