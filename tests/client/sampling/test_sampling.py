"""Requests to sample: what is refused before the base is loaded, what is kept."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mos_client.sampling import SampleRequest, SamplingStep, sample
from mos_client.sampling import run as runs
from mos_model.bases.base import load_base
from mos_model.errors import LayoutError, PromptError
from mos_model.sampling import Layout, Region
from mos_model.sampling.record import read_record
from mos_runtime.errors import MosError, OutputError
from tests.support.bases import save_tiny_sd

LEFT = (0.0, 0.0, 0.5, 1.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


def request_of(base: str, **other: object) -> SampleRequest:
    given: dict[str, object] = {"prompts": ("a cat",), "settings": {"steps": 2}}
    return SampleRequest(base=base, **(given | other))  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("given", "kind", "reason"),
    [
        ({"out": "taken.png"}, OutputError, "exists already"),
        ({"out": "a.png", "images": 3}, OutputError, "a-3.png: exists already"),
        ({"out": "a.gif"}, OutputError, ".png, .jpg, .jpeg or .webp is written"),
        ({"out": "v1.2", "images": 2}, OutputError, "name it v1.2.png"),
        ({"out": "a"}, OutputError, "name it a.png"),
        ({"out": ".png"}, OutputError, "no name before the suffix"),
        ({"out": ""}, OutputError, "a folder; name a file in it"),
        ({"out": "taken.png/a.png"}, OutputError, "is a file, not a folder"),
        ({"prompts": ("<rex>",)}, PromptError, "no concept is loaded"),
        ({"prompts": ("a cat " * 40,)}, PromptError, "tokens, the base takes"),
        ({"size": (17, 16)}, LayoutError, "the nearest are"),
        ({"seed": -2}, LayoutError, "--seed -2: 0 or more, or -1 for a random one"),
        ({"seed": 2**64 - 1, "images": 2}, LayoutError, "seed 18446744073709551616;"),
        ({"settings": {"guidance": 0.0}}, LayoutError, "at least 1"),
        ({"settings": {"scheduler": "Euler"}}, LayoutError, "none of that name"),
        ({"negative": "red " * 40}, PromptError, "tokens, the base takes"),
    ],
)
def test_what_needs_no_weights_is_refused_before_the_base_is_loaded(
    base: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, object],
    kind: type[MosError],
    reason: str,
) -> None:
    monkeypatch.setattr(runs, "load_base", pytest.fail)
    monkeypatch.chdir(tmp_path)
    for name in ("taken.png", "a-3.png"):
        Path(name).write_bytes(b"mine")
    if "out" in given:
        given = given | {"out": Path(str(given["out"]))}
    with pytest.raises(kind) as error:
        sample(request_of(base, **given))
    assert reason in str(error.value)
    assert names(tmp_path) == ["a-3.png", "taken.png"]
    assert Path("taken.png").read_bytes() == b"mine"


def test_existing_files_are_replaced_by_force(base: str, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    out.write_bytes(b"mine")
    sampled = sample(request_of(base, out=out, images=2, force=True))
    assert sampled.paths == (out, tmp_path / "a-2.png")
    with Image.open(out) as image:
        assert image.size == (16, 16)


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.jpeg", "a.webp"])
def test_format_is_the_suffixes_and_carries_the_record(
    base: str, tmp_path: Path, name: str
) -> None:
    out = tmp_path / name
    kind = {"png": "PNG", "webp": "WEBP"}.get(name[2:], "JPEG")
    (picture,) = sample(request_of(base, out=out, seed=5)).pictures
    with Image.open(out) as image:
        assert image.format == kind
        if kind != "JPEG":
            assert image.convert("RGB").tobytes() == picture.tobytes()
    assert read_record(out).seed == 5
    again = sample(SampleRequest(base=base, from_picture=out))
    assert again.pictures[0].tobytes() == picture.tobytes()
    bare = tmp_path / f"bare-{name}"
    sample(request_of(base, out=bare, metadata=False))
    with pytest.raises(LayoutError, match="holds no record"):
        read_record(bare)


def test_random_seeds_differ_and_are_given(base: str) -> None:
    seeds = [sample(request_of(base, seed=-1, images=2)).seeds for _ in range(2)]
    assert seeds[0] != seeds[1]
    assert all(first >= 0 and second == first + 1 for first, second in seeds)
    assert sample(request_of(base)).seeds == (0,)


def test_callback_hears_every_step_of_every_batch_and_of_what_is_written(
    base: str, tmp_path: Path
) -> None:
    heard: list[SamplingStep] = []
    out = tmp_path / "a.png"
    sample(request_of(base, out=out, images=3, batch=2, preview_every=2), heard.append)
    assert [step.step for step in heard if step.previews] == [2, 4]
    assert [len(step.previews) for step in heard if step.previews] == [2, 1]
    assert all(step.steps == 4 for step in heard[1:])
    assert [step.step for step in heard] == [0, 1, 2, 2, 3, 4, 4, 4]
    assert [len(step.paths) for step in heard] == [0, 0, 0, 2, 2, 2, 3, 3]


def stop_at(step: int) -> Callable[[SamplingStep], None]:
    def callback(heard: SamplingStep) -> None:
        if heard.step == step:
            raise KeyboardInterrupt

    return callback


def test_stopped_run_keeps_finished_pictures_and_nothing_half_written(
    base: str, tmp_path: Path
) -> None:
    out = tmp_path / "a.png"
    wanted = request_of(base, out=out, images=3, batch=1)
    with pytest.raises(KeyboardInterrupt) as stopped:
        sample(wanted, stop_at(5))
    assert stopped.value.__notes__[1] == f"finished: {tmp_path / 'a-2.png'}"
    assert names(tmp_path) == ["a-2.png", "a.png"]
    assert read_record(tmp_path / "a-2.png").seed == 1
    grid = request_of(base, out=tmp_path / "grid.png", images=3, batch=1, grid=True)
    with pytest.raises(KeyboardInterrupt) as stopped:
        sample(grid, stop_at(5))
    assert stopped.value.__notes__ == [f"finished: {tmp_path / 'grid.png'}"]
    with Image.open(tmp_path / "grid.png") as sheet:
        assert sheet.size == (3 * 20 - 4, 16)


def test_loaded_base_is_used_again(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sample(request_of(base)).pictures[0]
    loaded = load_base(base)
    monkeypatch.setattr(runs, "load_base", pytest.fail)
    again = sample(request_of(base), base=loaded).pictures[0]
    assert again.tobytes() == first.tobytes()


def test_layout_object_and_regions_are_drawn_and_notes_given(base: str) -> None:
    layout = Layout("a dog", 32, 16, negative_prompt="red")
    sampled = sample(
        SampleRequest(
            layout=layout,
            regions=(Region("a cat", LEFT),),
            base=base,
            settings={"steps": 1, "guidance": 1.0},
        )
    )
    assert sampled.pictures[0].size == (32, 16)
    assert sampled.paths == ()
    assert "negative prompts have no effect" in sampled.notes[0]
