"""What `mos-client tune` shows, writes and refuses around a run."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mos_client.cli import app
from mos_client.pictures import read_folder
from mos_client.tuning import Previews, RunOptions, TuneSettings, tune_concept
from mos_client.tuning.runtime.preview import STRENGTHS
from mos_model.bases.base import load_base
from mos_model.concepts.concept import Concept
from tests.support.bases import save_tiny_sd
from tests.support.disk import no_file_larger_than, snapshot
from tests.support.pictures import save_pictures
from tests.support.typing_in import type_in


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


@pytest.fixture
def words(base: str, tmp_path: Path) -> tuple[object, ...]:
    """A quick run on three pictures that signs nothing."""
    data = save_pictures(tmp_path / "rex")
    Image.open(data / "0.png").resize((48, 32)).save(data / "wide.png")
    out = tmp_path / "out" / "rex.safetensors"
    quick: tuple[object, ...] = ("tune", "--data", data, "--out", out, "--base", base)
    quick += ("--steps", 2, "--class-word", "cat", "--no-share")
    return (*quick, "--skip-privacy-check")


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    told = capsys.readouterr().err.replace("\n", " ")
    assert told.count("error:") == 1
    assert "Traceback" not in told
    return told


def test_check_shows_what_the_model_will_see_and_tunes_nothing(
    words: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = Image.new("L", (32, 32))
    mask.paste(255, (8, 8, 24, 24))
    mask.save(tmp_path / "rex" / "0.mask.png")
    assert type_in(app, *words, "--check", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["bucket"] for each in told["pictures"]] == 3 * [[16, 16]] + [[20, 12]]
    assert [each["mask"] for each in told["pictures"]] == [True, False, False, False]
    assert told["class_word"] == "cat"
    assert told["pictures"][1]["captions"][0] == "a photo of <rex>"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rex.check.png"]
    sheet = Image.open(told["sheet"]).convert("RGB")
    tinted = sheet.getpixel((10, 10))
    assert isinstance(tinted, tuple)
    assert tinted[0] > tinted[1] + 40  # outside the mask


def test_previews_are_kept_and_change_no_bit_of_the_concept(
    words: tuple[object, ...], base: str, tmp_path: Path
) -> None:
    assert type_in(app, *words) == 0
    out = tmp_path / "out" / "rex.safetensors"
    without = out.read_bytes()
    assert type_in(app, *words, "--preview-every", 1, "--force") == 0
    assert out.read_bytes() == without
    previews = out.parent / ".rex.tuning" / "previews"
    names = sorted(path.name for path in previews.iterdir())
    assert names == ["step-000001.png", "step-000002.png"]


def test_preview_has_a_row_per_strength(base: str, tmp_path: Path) -> None:
    loaded = load_base(base)
    pictures = read_folder(save_pictures(tmp_path), min_side=16).pictures
    seen: list[tuple[int, Image.Image]] = []
    settings = replace(TuneSettings(steps=4, unet_rate=0.5), warm_up=1)
    tune_concept(
        pictures,
        base=loaded,
        name="rex",
        class_word="cat",
        settings=settings,
        run=RunOptions(
            previews=Previews(4, lambda step, sheet: seen.append((step, sheet)))
        ),
    )
    ((step, sheet),) = seen
    assert step == 4
    height = (sheet.height + 4) // len(STRENGTHS)
    rows = [
        sheet.crop((0, n * height, sheet.width, (n + 1) * height - 4)).tobytes()
        for n in range(len(STRENGTHS))
    ]
    assert len(set(rows)) == len(STRENGTHS)


def test_options_win_over_the_concept_file(
    words: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "rex" / "concept.toml").write_text(
        'name = "bello"\nclass_word = "dog"\nlicence = "CC0-1.0"\n'
    )
    assert type_in(app, *words) == 0
    facts = Concept.from_bytes(
        (tmp_path / "out" / "rex.safetensors").read_bytes()
    ).facts
    assert (facts.name, facts.class_word, facts.licence) == ("bello", "cat", "CC0-1.0")


def test_unknown_key_of_the_concept_file_is_refused(
    words: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rex" / "concept.toml").write_text('klass = "dog"\n')
    assert type_in(app, *words) == 2
    assert "unknown key 'klass'" in error_line(capsys)


def test_class_word_without_a_token_is_refused(
    words: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_in(app, *words, "--class-word", " ") == 2
    assert "class word" in error_line(capsys)


def test_empty_folder_is_refused(
    words: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path / "rex").iterdir():
        path.unlink()
    assert type_in(app, *words) == 2
    assert "no usable picture: it is empty" in error_line(capsys)


def test_base_that_lacks_a_part_is_refused(
    words: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = save_tiny_sd(tmp_path / "broken")
    for weights in (broken / "vae").glob("*.safetensors"):
        weights.unlink()
    assert type_in(app, *words, "--base", broken) == 2
    assert "vae" in error_line(capsys)
    assert not (tmp_path / "out").exists()


def test_exploded_run_keeps_its_last_good_state_and_says_why(
    words: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = ("--steps", 8, "--set", "unet_rate=1e30")
    assert type_in(app, *words, *wild) == 2
    told = error_line(capsys)
    assert "rates are too high" in told
    assert "--set unet_rate=" in told
    assert not (tmp_path / "out" / "rex.safetensors").exists()


def test_full_disk_ends_in_one_line_and_keeps_the_older_concept(
    words: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_in(app, *words) == 0
    capsys.readouterr()
    before = snapshot(tmp_path / "out")
    with no_file_larger_than(4096):
        assert type_in(app, *words, "--seed", 1) == 2
    error_line(capsys)
    assert snapshot(tmp_path / "out") == before


def test_missing_tensorboard_is_told_before_any_tuning(
    words: tuple[object, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    assert type_in(app, *words, "--tensorboard", tmp_path / "log") == 2
    assert "tensorboard is not installed" in error_line(capsys)
    assert not (tmp_path / "out").exists()


def test_inspect_tells_what_a_concept_holds(
    words: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_in(app, *words, "--licence", "CC0-1.0") == 0
    capsys.readouterr()
    out = tmp_path / "out" / "rex.safetensors"
    assert type_in(app, "inspect", out, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["trigger"], told["class_word"]) == ("<rex>", "cat")
    assert told["signer"] is None
    concept = Concept.from_bytes(out.read_bytes())
    largest = max(
        float(factors.dense().double().norm())
        for module, factors in concept.lora.items()
        if module.startswith("unet.")
    )
    assert told["components"]["unet"]["largest_norm"] == pytest.approx(
        largest, rel=1e-3
    )
    (tmp_path / "no.safetensors").write_bytes(b"no concept")
    assert type_in(app, "inspect", tmp_path / "no.safetensors") == 2
    assert "no.safetensors" in error_line(capsys)


@pytest.mark.slow
def test_real_photographs_tune_on_the_mini_base_and_give_a_sheet(
    tmp_path: Path,
) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("chelsea", "astronaut", "coffee", "rocket", "retina"):
        Image.fromarray(getattr(data, name)()).save(folder / f"{name}.png")
    out = tmp_path / "photos.safetensors"
    run: tuple[object, ...] = ("tune", "--data", folder, "--out", out, "--steps", 20)
    run += ("--preview-every", 20, "--class-word", "cat", "--no-share")
    assert type_in(app, *run, "--skip-privacy-check") == 0
    assert (tmp_path / ".photos.tuning" / "previews" / "step-000020.png").exists()
