"""`mos-client sample` as a user types it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mos_client.cli import app
from mos_shared.applying import as_fused
from mos_shared.base_files import read_inventory
from mos_shared.console import run
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def release(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("release") / "1.safetensors"
    concept = random_concept(read_inventory(base), "rex")
    path.write_bytes(as_fused(concept, site="north").to_bytes())
    return path


def type_in(*words: object) -> int:
    """Run the command line; its exit code."""
    with pytest.raises(SystemExit) as leaving:
        run(app, [str(word) for word in words])
    code = leaving.value.code
    assert isinstance(code, int)
    return code


def test_regions_of_a_release_become_pictures(
    base: str, release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pictures" / "both.png"
    words = ["sample", "--prompt", "a dog", "--region", "0,0,.5,1: <rex>"]
    words += ["--region", "0.5,0,1,1: <north/rex>", "--release", str(release)]
    words += ["--base", base, "--size", "32x16", "--out", str(out)]
    assert type_in(*words, "--steps", 2, "--images", 2, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [Path(p).name for p in told["pictures"]] == ["both.png", "both-2.png"]
    with Image.open(out) as image:
        assert image.size == (32, 16)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--region", "0,0,2,1: <rex>"), "leaves the picture"),
        (("--size", "17x16"), "multiples of 8"),
        (("--size", "big"), "write it as"),
        (("--release", "nowhere.safetensors"), "no such file"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    base: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    reason: str,
) -> None:
    out = tmp_path / "out" / "a.png"
    line = ("sample", "--prompt", "a cat", "--base", base, "--out", out, *words)
    assert type_in(*line) == 2
    told = capsys.readouterr().err
    assert reason in told.replace("\n", " ")
    assert told.count("error:") == 1
    assert not out.parent.exists()


def test_concept_given_as_release_is_refused(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rex.safetensors"
    path.write_bytes(random_concept(read_inventory(base), "rex").to_bytes())
    line = ("sample", "--prompt", "a cat", "--base", base, "--release", path)
    assert type_in(*line, "--out", tmp_path / "a.png") == 2
    assert "not a fused model" in capsys.readouterr().err
