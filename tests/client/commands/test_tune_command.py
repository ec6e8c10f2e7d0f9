"""`mos-client tune` as a user types it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mos_client.cli import app
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_model.concepts.concept import Concept
from mos_protocol.rules.at_rest import bundle_as_signed
from mos_protocol.signed.blob import signature_path
from tests.support.bases import save_tiny_sd
from tests.support.disk import snapshot
from tests.support.pictures import save_pictures
from tests.support.typing_in import type_in


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SiteHome:
    """Where this site's keys and outbox are; nothing is there yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("MOS_SITE_HOME", str(folder))
    return SiteHome(folder)


def test_folder_becomes_a_concept_named_after_it(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = save_pictures(tmp_path / "rex")
    out = tmp_path / "concepts" / "rex.safetensors"
    words = ("tune", "--data", data, "--out", out, "--base", base, "--steps", 2)
    assert type_in(app, *words, "--class-word", "cat", "--json") == 0
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert told["concept"] == "rex"
    assert told["pictures"] == 3
    assert "memorisation check: no sample repeats" in " ".join(shown.err.split())
    assert told["memorisation"]["repeats"] is False
    concept = Concept.from_bytes(out.read_bytes())
    assert concept.facts.class_word == "cat"
    left = sorted(path.name for path in out.parent.iterdir())
    assert left == ["rex.safetensors", "rex.safetensors.sig"]
    assert type_in(app, "verify", out) == 0


def test_concept_is_signed_into_the_outbox(
    base: str, home: SiteHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = save_pictures(tmp_path / "rex")
    out = tmp_path / "rex.safetensors"
    words: tuple[object, ...] = (
        "tune",
        "--skip-privacy-check",
        "--data",
        data,
        "--out",
        out,
        "--base",
        base,
    )
    words += ("--steps", 1, "--class-word", "cat", "--site", "north", "--json")
    assert type_in(app, *words) == 0
    told = json.loads(capsys.readouterr().out)
    (entry,) = Outbox(home).entries()
    assert (entry.site, entry.concept, entry.counter) == ("north", "rex", 1)
    assert told["digest"] == entry.digest
    bundle = Outbox(home).bundle(entry.digest)
    bundle_as_signed(bundle, home.signing_key().public)
    assert bundle.payload == out.read_bytes()


def test_concept_that_is_not_to_be_shared_needs_no_keys(
    base: str, home: SiteHome, tmp_path: Path
) -> None:
    data = save_pictures(tmp_path / "rex")
    out = tmp_path / "rex.safetensors"
    signature_path(out).write_bytes(b"an older concept's")
    words = (
        "tune",
        "--skip-privacy-check",
        "--data",
        data,
        "--out",
        out,
        "--base",
        base,
        "--steps",
        1,
    )
    line = (*words, "--class-word", "cat", "--no-share")
    assert type_in(app, *line) == 2
    assert signature_path(out).read_bytes() == b"an older concept's"
    assert type_in(app, *line, "--force") == 0
    assert out.exists()
    assert not signature_path(out).exists()
    assert not home.folder.exists()


def test_read_only_outbox_ends_in_one_line_and_keeps_the_concept(
    base: str, home: SiteHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SiteHome.open(home.folder, create=True)
    home.outbox.write_text("a file where the folder should be")
    data = save_pictures(tmp_path / "rex")
    out = tmp_path / "rex.safetensors"
    words = (
        "tune",
        "--skip-privacy-check",
        "--data",
        data,
        "--out",
        out,
        "--base",
        base,
        "--steps",
        1,
    )
    assert type_in(app, *words, "--class-word", "cat") == 2
    told = capsys.readouterr().err
    assert told.count("error:") == 1
    assert "cannot be written" in told
    assert f"mos-client share {out}" in told.replace("\n", " ")
    assert "Traceback" not in told
    Concept.from_bytes(out.read_bytes())
    left = sorted(path.name for path in tmp_path.glob("*rex*"))
    assert left == ["rex", "rex.safetensors"]


def test_name_that_contradicts_the_enrolment_is_told_before_any_tuning(
    base: str, home: SiteHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SiteHome.open(home.folder, create=True).set_name("north")
    data = save_pictures(tmp_path / "rex")
    out = tmp_path / "rex.safetensors"
    words = (
        "tune",
        "--skip-privacy-check",
        "--data",
        data,
        "--out",
        out,
        "--base",
        base,
        "--site",
        "south",
    )
    assert type_in(app, *words) == 2
    assert "called 'north'" in capsys.readouterr().err
    assert not out.exists()


def test_class_word_is_inferred_and_told(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = save_pictures(tmp_path / "rex")
    out = tmp_path / "rex.safetensors"
    assert (
        type_in(
            app,
            "tune",
            "--skip-privacy-check",
            "--data",
            data,
            "--out",
            out,
            "--base",
            base,
            "--steps",
            1,
        )
        == 0
    )
    told = capsys.readouterr().err
    assert "class word:" in told
    assert "next best:" in told


def test_licence_that_cannot_be_signed_is_told_before_any_tuning(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = save_pictures(tmp_path / "rex")
    out = tmp_path / "rex.safetensors"
    words = (
        "tune",
        "--skip-privacy-check",
        "--data",
        data,
        "--out",
        out,
        "--base",
        base,
    )
    assert type_in(app, *words, "--licence", "all rights " * 50) == 2
    assert "printable characters" in capsys.readouterr().err.replace("\n", " ")
    assert not out.exists()


def spoil(data: Path) -> Path:
    """Add one broken file, one text file and one picture of 20 pixels."""
    data.mkdir(exist_ok=True)
    (data / "broken.png").write_bytes(b"\x89PNG no more than that")
    (data / "notes.txt").write_text("no picture")
    Image.new("RGB", (20, 20)).save(data / "tiny.png")
    return data


REFUSED = ("broken.png: ", "notes.txt: ", "tiny.png: 20x20 pixels")


def test_unusable_files_are_named_and_the_rest_goes_on(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = spoil(save_pictures(tmp_path / "rex", count=2))
    out = tmp_path / "rex.safetensors"
    words: tuple[object, ...] = (
        "tune",
        "--skip-privacy-check",
        "--data",
        data,
        "--out",
        out,
        "--base",
        base,
    )
    words += ("--steps", 1, "--class-word", "cat", "--min-side", 32, "--json")
    assert type_in(app, *words) == 0
    told = capsys.readouterr()
    for name in REFUSED:
        assert f"left out: {name}" in told.err.replace("\n", " ")
    result = json.loads(told.out)
    assert result["pictures"] == 2
    assert len(result["left_out"]) == 3
    assert out.exists()


def test_no_usable_picture_ends_in_one_line_and_writes_nothing(
    base: str, home: SiteHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = spoil(tmp_path / "rex")
    before = snapshot(tmp_path)
    out = tmp_path / "out" / "rex.safetensors"
    words = (
        "tune",
        "--skip-privacy-check",
        "--data",
        data,
        "--out",
        out,
        "--base",
        base,
        "--min-side",
        32,
    )
    assert type_in(app, *words) == 2
    told = capsys.readouterr().err
    assert told.count("error:") == 1
    assert "Traceback" not in told
    assert all(name in told for name in REFUSED)
    assert snapshot(tmp_path) == before
    assert not out.parent.exists()
    assert not home.folder.exists()


def test_unknown_base_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = save_pictures(tmp_path / "rex")
    assert (
        type_in(
            app,
            "tune",
            "--skip-privacy-check",
            "--data",
            data,
            "--base",
            tmp_path / "nowhere",
        )
        == 2
    )
    assert "no such directory" in capsys.readouterr().err
