"""The gate: what it asks, how it counts, and one whole run on a tiny random base."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import T2IAdapter
from torch import Tensor, nn

from mos_model import mini as path
from mos_model.errors import BaseError, ZooError
from mos_zoo import judging
from mos_zoo.gate import TARGETS, Counts, Models, Target, main, measure
from mos_zoo.judging import (
    Prompt,
    Samples,
    pair_prompts,
    pattern_prompts,
    shares_kept,
    single_prompts,
)
from mos_zoo.models.classifier import HEADS, ClassifierStage
from mos_zoo.training.loop import Span, train
from mos_zoo.training.tokenizer import CONTEXT, load_tokenizer
from mos_zoo.world.world import CLASSES, COLORS
from tests.support.bases import save_tiny_sd

FEW = Counts(4, 2, 2, 2, 2, 2, 1, 1)


def test_single_prompts_name_every_class_in_every_colour() -> None:
    prompts = single_prompts(64)
    pairs = {(prompt.classes[0], prompt.colour) for prompt in prompts}
    assert len(pairs) == len(CLASSES) * len(COLORS)
    for prompt in prompts:
        assert {prompt.classes[0], prompt.colour} <= set(prompt.text.split())


def test_pattern_prompts_name_both_patterns_of_every_class() -> None:
    prompts = pattern_prompts(64)
    for kind in CLASSES:
        own = [prompt.pattern for prompt in prompts if prompt.classes == (kind,)]
        assert sorted(own, key=str) == ["spots"] * 4 + ["stripes"] * 4


def test_pair_prompts_name_two_different_classes() -> None:
    prompts = pair_prompts(64)
    for prompt in prompts:
        assert len(set(prompt.classes)) == 2
        assert set(prompt.classes) <= set(prompt.text.split())
    assert len({frozenset(prompt.classes) for prompt in prompts}) > 16


def test_every_prompt_fits_the_base() -> None:
    texts = [
        prompt.text
        for prompts in (single_prompts(64), pattern_prompts(64), pair_prompts(64))
        for prompt in prompts
    ]
    ids = load_tokenizer()(texts).input_ids
    assert max(len(own) for own in ids) <= CONTEXT


class Convinced(nn.Module):
    """Always says: a red striped cat and a dog, on the beach."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        said = {"class": "cat", "colour": "red", "pattern": "stripes"}
        scores = {}
        for name, answers in HEADS.items():
            scores[name] = torch.zeros(len(x), len(answers))
            scores[name][:, answers.index(said.get(name, "beach"))] = 1
        present = torch.tensor([1.0 if c in ("cat", "dog") else -1.0 for c in CLASSES])
        places = torch.zeros(len(x), 64, 64)
        return {**scores, "present": present.expand(len(x), -1), "subject": places}


def test_only_what_a_prompt_names_is_judged() -> None:
    prompts = [
        Prompt("a red cat on the beach", ("cat",), "red", None, "beach"),
        Prompt("a blue striped cat", ("cat",), "blue", "stripes", None),
        Prompt("a cat and a dog in the snow", ("cat", "dog"), background="snow"),
        Prompt("a cat and a car", ("cat", "car")),
    ]
    pixels = np.zeros((4, 64, 64, 3), np.uint8)
    assert shares_kept(Convinced(), Samples(prompts, pixels, 1.0)) == {
        "class": 1.0,
        "colour": 0.5,
        "pattern": 1.0,
        "background": 0.5,
        "all classes present": 0.75,
    }


@pytest.mark.parametrize(
    ("figure", "at_most", "holds"),
    [
        (0.98, False, True),
        (0.979, False, False),
        (0.98, True, True),
        (0.981, True, False),
        (None, False, False),
        (None, True, False),
    ],
)
def test_targets(figure: float | None, at_most: bool, holds: bool) -> None:
    assert Target(0.98, at_most=at_most).holds(figure) is holds


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier after one step."""
    folder = tmp_path_factory.mktemp("state")
    stage = ClassifierStage(folder, count=4, held_out=4, batch_size=4)
    span = Span(1e9, max_steps=1)
    train(stage, folder, span, workers=1, device=torch.device("cpu"))
    return folder


def test_a_whole_run_gives_every_figure_and_its_grids(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path, "_WEIGHTS", tmp_path / "nothing")
    monkeypatch.setattr(judging, "STEPS", 2)
    base = save_tiny_sd(tmp_path / "base")
    adapter = tmp_path / "adapter"
    T2IAdapter(
        in_channels=1, channels=[32, 64], num_res_blocks=1, downscale_factor=2
    ).save_pretrained(adapter)
    models = Models(str(base), None, adapter, None, state)
    result = measure(models, FEW, tmp_path / "out")
    gates = result["gates"]
    assert gates.keys() == TARGETS.keys()
    without = {name for name, gate in gates.items() if gate["figure"] is None}
    assert without == {"clip: caption among 32"}
    assert "'mini-clip' is missing" in gates["clip: caption among 32"]["why"]
    # A random base passes for its size and speed, but not for its pictures.
    assert gates["base megabytes"]["holds"]
    assert not gates["reconstruction psnr"]["holds"]
    assert not result["all_hold"]
    json.dumps(result)
    grids = {file.name for file in (tmp_path / "out").iterdir()}
    assert grids == {"single.png", "pattern.png", "pair.png", "adapter.png"}


def test_no_classifier_no_gate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--state", str(tmp_path / "empty"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "no trained 'classifier'" in captured.err
    assert captured.out == ""
    assert not (tmp_path / "out").exists()


def test_missing_base_is_told(state: Path, tmp_path: Path) -> None:
    models = Models(str(tmp_path / "nowhere"), None, None, None, state)
    with pytest.raises(BaseError):
        measure(models, FEW, tmp_path / "out")


def test_unusable_model_is_told_before_anything_is_sampled(
    state: Path, tmp_path: Path
) -> None:
    (tmp_path / "clip").mkdir()
    base = save_tiny_sd(tmp_path / "base")
    models = Models(str(base), tmp_path / "clip", None, None, state)
    with pytest.raises(ZooError, match="no usable 'mini-clip' there"):
        measure(models, FEW, tmp_path / "out")
    assert not (tmp_path / "out").exists()
