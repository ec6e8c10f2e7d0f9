"""No command of a site replaces a file that is there, nor begins before it knows."""

from pathlib import Path

import pytest

from mos_client.cli import app
from mos_model.bases import base as base_module
from tests.support.bases import save_tiny_sd
from tests.support.pictures import save_pictures
from tests.support.typing_in import type_in

TAKEN = {
    "tune": ("rex.safetensors", ("--data", "rex", "--class-word", "dog")),
    "tune's signature": ("rex.safetensors.sig", ("--data", "rex")),
    "tune --check": ("rex.check.png", ("--data", "rex", "--check")),
    "sample": ("rex.png", ("--prompt", "a cat")),
    "layout preview": ("rex.png", ("rex.json",)),
    "import": ("rex.safetensors", ("other.safetensors", "--class-word", "dog")),
    "import's signature": ("rex.safetensors.sig", ("other.safetensors",)),
    "export": ("rex/0.png", ("other.safetensors",)),
    "enroll": ("rex.request", ("--name", "north")),
}
"""A command -> the file that is there, and what follows the command."""

OUT = {"tune --check": "rex.safetensors", "export": "rex"}
"""`--out`, where it is not the file itself without `.sig`."""


@pytest.mark.parametrize("command", TAKEN)
def test_file_that_is_there_is_kept_and_nothing_begins(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOS_SITE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(base_module, "load_base", pytest.fail)
    base = save_tiny_sd(tmp_path / "base")
    save_pictures(tmp_path / "rex", count=2)
    file, rest = TAKEN[command]
    taken = tmp_path / file
    taken.write_bytes(b"mine")
    out = OUT.get(command, file.removesuffix(".sig"))
    words = [*command.removesuffix("'s signature").split(), *rest, "--out", out]
    if words[0] in ("tune", "sample", "import"):
        words += ["--base", str(base)]
    if words[0] == "import":
        words += ["--class-word", "dog"]
    assert type_in(app, *words) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "exists already" in told or "not empty" in told
    assert "--force" in told
    assert taken.read_bytes() == b"mine"
    assert not (tmp_path / "home").exists()
