"""`mos-client sample` as a user types it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mos_client.cli import app
from mos_client.home import SiteHome
from mos_client.releases import ReleaseStore
from mos_protocol.release import Release, ReleasedConcept
from mos_shared.applying import as_fused
from mos_shared.base_files import read_inventory
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.sites import NOW, Centre
from tests.support.typing_in import type_in


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def release(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("release") / "1.safetensors"
    concept = random_concept(read_inventory(base), "rex")
    path.write_bytes(as_fused(concept, site="north").to_bytes())
    return path


def test_regions_of_a_release_become_pictures(
    base: str, release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pictures" / "both.png"
    words = ["sample", "--prompt", "a dog", "--region", "0,0,.5,1: <rex>"]
    words += ["--region", "0.5,0,1,1: <north/rex>", "--release", str(release)]
    words += ["--base", base, "--size", "32x16", "--out", str(out)]
    assert type_in(app, *words, "--steps", 2, "--images", 2, "--json") == 0
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
    assert type_in(app, *line) == 2
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
    assert type_in(app, *line, "--out", tmp_path / "a.png") == 2
    assert "not a fused model" in capsys.readouterr().err


@pytest.fixture
def member(base: str, release: Path, tmp_path: Path) -> SiteHome:
    """A site that holds one release of its centre."""
    home = SiteHome.open(tmp_path / "home", create=True)
    centre = Centre.at(tmp_path / "centre", read_inventory(base))
    welcome = centre.enrol(home, "north")
    signed = Release.sign(
        release.read_bytes(),
        version=1,
        previous="",
        concepts=[ReleasedConcept("north", "rex", "cat", "1" * 64, "2" * 64)],
        key=centre.home.signing_key(),
        created=NOW,
        expires=NOW + 60,
    )
    ReleaseStore(home).take(signed.to_bytes(), welcome=welcome, now=NOW)
    return home


@pytest.mark.parametrize("named", ["newest", "1"])
def test_release_received_is_sampled_by_its_number(
    base: str, member: SiteHome, tmp_path: Path, named: str
) -> None:
    out = tmp_path / "a.png"
    words: tuple[object, ...] = ("sample", "--prompt", "<rex>", "--release", named)
    words += ("--out", out)
    words += ("--base", base, "--home", member.folder, "--size", "16x16")
    assert type_in(app, *words, "--steps", 1) == 0
    assert out.exists()


def test_release_changed_on_the_disk_is_refused(
    base: str, member: SiteHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ReleaseStore(member).path("newest")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    out = tmp_path / "a.png"
    words = ("sample", "--prompt", "<rex>", "--release", "1", "--out", out)
    assert type_in(app, *words, "--base", base, "--home", member.folder) == 2
    assert "not the one that was signed" in capsys.readouterr().err.replace("\n", " ")
    assert not out.exists()


def test_release_that_never_came_is_named(
    base: str, member: SiteHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words: tuple[object, ...] = ("sample", "--prompt", "<rex>", "--release", "7")
    words += ("--base", base)
    words += ("--home", member.folder, "--out", tmp_path / "a.png")
    assert type_in(app, *words) == 2
    assert "release 7: not held; there are 1" in capsys.readouterr().err


def test_several_concepts_are_added_up(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words: list[object] = ["sample", "--prompt", "<rex> and <bolt>", "--base", base]
    for seed, name in enumerate(("rex", "bolt")):
        path = tmp_path / f"{name}.safetensors"
        concept = random_concept(read_inventory(base), name, seed=seed)
        path.write_bytes(concept.to_bytes())
        words += ["--concept", path]
    out = tmp_path / "both.png"
    words += ["--out", out, "--size", "16x16", "--steps", 1]
    assert type_in(app, *words) == 0
    assert out.exists()
    assert type_in(app, *words, "--concept", tmp_path / "rex.safetensors") == 2
    assert "two concepts are named rex" in capsys.readouterr().err
