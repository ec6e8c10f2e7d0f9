"""`mos-client sample` as a user types it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mos_client.cli import app
from mos_client.commands.sampling.display import SamplingDisplay
from mos_client.sampling import SamplingStep
from mos_client.store.home import SiteHome
from mos_client.store.releases import ReleaseStore
from mos_model.bases.base_files import read_inventory
from mos_model.concepts.applying import as_fused
from mos_model.sampling.record import read_record
from mos_protocol.signed.release import Release, ReleasedConcept
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
        (("--size", "17x16"), "nearest are 16x16 or 24x16"),
        (("--region", "0,0,1,1: <bolt>"), "<bolt>: no concept is loaded"),
        (("--prompt", "a cat and " * 60), "tokens, the base takes"),
        (("--control", "mini-adapter:none.png"), "none.png: no such file; a control"),
        (("--layout", "none.json"), "none.json: no such file; a layout"),
        (("--from-picture", "none.png"), "leave out --layout and --prompt"),
        (("--device", "abacus"), "device 'abacus'"),
        (("--precision", "float16", "--device", "cpu"), "precision 'float16'"),
        (("--offload", "--device", "cpu"), "frees a GPU's memory"),
        (("--size", "big"), "write it as"),
        (("--size", "0x16"), "both sides are at least 1 pixel"),
        (("--scheduler", "Magic"), "scheduler 'Magic': diffusers has none"),
        (("--steps", "2000"), "the base's noise schedule has 1000"),
        (("--guidance", "nan"), "guidance nan; a finite number"),
        (("--seed", str(2**64)), "seed 18446744073709551616; from"),
        (("--region", "0,0,1,1: " + "snow " * 200), "tokens, the base takes"),
        (("--region", "0,0,1,1"), "write `x0,y0,x1,y1: prompt`"),
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


def test_nothing_to_draw_is_told(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_in(app, "sample", "--base", base, "--out", tmp_path / "a.png") == 2
    assert "give --prompt, --layout or --from-picture" in capsys.readouterr().err


def test_name_of_two_sites_is_refused_and_both_are_named(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inventory = read_inventory(base)
    north = as_fused(random_concept(inventory, "rex"), site="north")
    south = as_fused(random_concept(inventory, "rex", seed=1), site="south")
    path = tmp_path / "release.safetensors"
    both = replace(north, concepts=north.concepts + south.concepts)
    path.write_bytes(both.to_bytes())
    words: list[object] = ["sample", "--base", base, "--release", path]
    words += ["--size", "16x16", "--steps", 1, "--out", tmp_path / "a.png"]
    assert type_in(app, *words, "--prompt", "<rex>") == 2
    told = capsys.readouterr().err
    assert "<rex>" in told
    assert "north/rex" in told
    assert "south/rex" in told
    assert type_in(app, *words, "--prompt", "<south/rex>") == 0


def test_grid_is_one_sheet_of_prompts_and_seeds(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grid.png"
    words: list[object] = ["sample", "--prompt", "a cat", "--prompt", "a dog"]
    words += ["--images", 3, "--grid", "--batch", 4, "--steps", 1, "--json"]
    words += ["--preview-every", 1, "--size", "32x16", "--base", base, "--out", out]
    assert type_in(app, *words) == 0
    assert json.loads(capsys.readouterr().out)["seeds"] == [0, 1, 2] * 2
    with Image.open(out) as image:
        assert image.size == (3 * 36 - 4, 2 * 20 - 4)
    assert list(tmp_path.iterdir()) == [out]


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    path = tmp_path / "secret folder" / "layout.json"
    path.parent.mkdir()
    region = {"prompt": "<rex>", "box": [0, 0, 0.5, 1], "feather": 0.1}
    whole = {"prompt": "a dog", "width": 32, "height": 16, "regions": [region]}
    path.write_text(json.dumps(whole))
    return path


def test_picture_tells_how_it_was_made_and_is_made_again(
    base: str, release: Path, layout: Path, tmp_path: Path
) -> None:
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    words: list[object] = ["sample", "--base", base, "--release", release]
    made = ("--layout", layout, "--seed", 5, "--steps", 2, "--guidance", 3)
    assert type_in(app, *words, *made, "--out", first) == 0
    assert b"secret folder" not in first.read_bytes()
    assert str(release.name).encode() not in first.read_bytes()
    assert read_record(first).seed == 5
    assert type_in(app, *words, "--from-picture", first, "--out", again) == 0
    assert again.read_bytes() == first.read_bytes()


def test_picture_is_not_made_again_with_another_model(
    base: str, release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tmp_path / "first.png"
    words: list[object] = ["sample", "--base", base, "--steps", 1]
    drawn = ("--prompt", "<rex>", "--release", release, "--size", "16x16")
    assert type_in(app, *words, *drawn, "--out", first) == 0
    again = ("--from-picture", first, "--out", tmp_path / "again.png")
    assert type_in(app, *words, *again) == 2
    assert "made with files" in capsys.readouterr().err
    assert not (tmp_path / "again.png").exists()


def test_no_metadata_leaves_the_pixels_alone(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.png"
    words: list[object] = ["sample", "--base", base, "--steps", 1, "--out", out]
    words += ["--prompt", "a cat", "--size", "16x16", "--no-metadata"]
    assert type_in(app, *words) == 0
    with Image.open(out) as image:
        image.load()
        assert not image.info
    again = ("--from-picture", out, "--out", tmp_path / "b.png", "--base", base)
    assert type_in(app, "sample", *again) == 2
    assert "holds no record" in capsys.readouterr().err


def test_layout_preview_is_drawn_without_a_model(layout: Path) -> None:
    assert type_in(app, "layout", "preview", layout) == 0
    with Image.open(layout.with_suffix(".preview.png")) as image:
        width, height = image.size
        assert (width, height) > (32, 16)
        left, right = (image.getpixel((x, height // 3)) for x in (40, width - 40))
        assert left != right


def test_layout_that_is_none_has_no_preview(
    layout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout.write_text(layout.read_text().replace("0.5", "1.5"))
    assert type_in(app, "layout", "preview", layout) == 2
    told = capsys.readouterr().err.replace("\n", " ")
    assert "leaves the picture" in told
    assert not layout.with_suffix(".preview.png").exists()


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
    twice = ("--concept", tmp_path / "rex.safetensors", "--force")
    assert type_in(app, *words, *twice) == 2
    assert "two concepts are named rex" in capsys.readouterr().err


def test_previews_leave_a_file_of_the_users_alone(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "ex.preview.png"
    own.write_bytes(b"mine")
    out = tmp_path / "ex.png"
    words: list[object] = ["sample", "--prompt", "a cat", "--base", base, "--steps", 2]
    assert type_in(app, *words, "--preview-every", 1, "--out", out) == 0
    assert own.read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ex.png",
        "ex.preview.png",
    ]
    shown = capsys.readouterr().err.replace("\n", "").split("preview: ")[1]
    preview = Path(shown.partition(".preview.png")[0] + ".preview.png")
    assert not preview.exists(), "the run's own is removed"


def test_random_seed_is_printed_and_gives_the_picture_again(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words: list[object] = ["sample", "--prompt", "a cat", "--base", base, "--steps", 1]
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    assert type_in(app, *words, "--seed", -1, "--out", first) == 0
    seed = capsys.readouterr().err.split("seed ")[1].split()[0]
    assert type_in(app, *words, "--seed", seed, "--out", again) == 0
    assert again.read_bytes() == first.read_bytes()


def test_interrupted_run_names_what_it_finished(
    base: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    show = SamplingDisplay.show

    def stopping(display: SamplingDisplay, step: SamplingStep) -> None:
        show(display, step)
        if step.step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(SamplingDisplay, "show", stopping)
    words: list[object] = ["sample", "--prompt", "a cat", "--base", base, "--steps", 1]
    words += ["--images", 3, "--batch", 1, "--out", tmp_path / "a.png"]
    assert type_in(app, *words) == 130
    told = capsys.readouterr().err
    assert "finished: " in told
    assert "stopped" in told
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
