"""What each setting of the method does to a concept."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mos_client.pictures import Picture, read_folder
from mos_client.tuning import RunOptions, TuneProgress, TuneSettings, tune_concept
from mos_client.tuning.runtime.checkpoint import FILE
from mos_client.tuning.training import objective
from mos_client.tuning.training.objective import Objective
from mos_client.tuning.training.optimiser import Optimiser
from mos_client.tuning.training.words import Words, initial_words
from mos_model.bases.base import Base, load_base
from mos_model.concepts.concept import Concept
from mos_model.errors import TuningError
from mos_model.prompts.layerwise import layerwise
from tests.support.bases import save_tiny_sd
from tests.support.pictures import save_pictures

QUICK = TuneSettings(
    steps=3, rank=2, embedding_rate=1e-2, unet_rate=1e-2, warm_up=1, augmentations=1
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def base(folder: Path) -> Base:
    return load_base(str(folder))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    folder = save_pictures(tmp_path_factory.mktemp("pictures"), side=16)
    return list(read_folder(folder, min_side=16).pictures)


@pytest.fixture(scope="module")
def usual(base: Base, pictures: list[Picture]) -> Concept:
    return tune(base, pictures)


def tune(
    base: Base,
    pictures: list[Picture],
    settings: TuneSettings = QUICK,
    **options: Any,
) -> Concept:
    return tune_concept(
        pictures,
        base=base,
        name="rex",
        class_word="cat",
        settings=settings,
        run=RunOptions(**options),
    )


def first_words(base: Base, settings: TuneSettings = QUICK) -> Words:
    generator = torch.Generator().manual_seed(settings.seed)
    return initial_words(base, "cat", generator, settings.method)


def test_plain_lora_has_one_trained_vector_for_all_layers(
    base: Base, pictures: list[Picture]
) -> None:
    plain = replace(QUICK, method="lora")
    concept = Concept.from_bytes(tune(base, pictures, plain).to_bytes())
    vectors = concept.embeddings["text_encoder"]
    assert vectors.shape[:2] == (2, base.inventory.layers)
    assert torch.equal(vectors, vectors[:, :1].expand_as(vectors))
    before = first_words(base, plain).finished()["text_encoder"]
    assert not torch.equal(vectors[0], before[0])
    assert torch.equal(vectors[1], before[1])


def test_gradient_checkpointing_changes_no_bit(
    base: Base, pictures: list[Picture], usual: Concept
) -> None:
    frugal = replace(QUICK, gradient_checkpointing=True)
    assert tune(base, pictures, frugal).to_bytes() == usual.to_bytes()
    assert not base.unet.is_gradient_checkpointing
    assert not any(m.training for m in base.text_encoders["text_encoder"].modules())


def test_narrow_base_trains_float32_parameters(
    folder: Path, pictures: list[Picture]
) -> None:
    narrow = load_base(str(folder), dtype=torch.bfloat16)
    concept = tune(narrow, pictures)
    tensors = [f.up for f in concept.lora.values()]
    tensors += [f.down for f in concept.lora.values()]
    tensors += concept.embeddings.values()
    assert {t.dtype for t in tensors} == {torch.float32}
    assert all(t.isfinite().all() for t in tensors)
    assert all(f.up.abs().max() > 0 for f in concept.lora.values())


def test_words_rest_beyond_the_norm_threshold(
    base: Base, pictures: list[Picture]
) -> None:
    concept = tune(base, pictures, replace(QUICK, embedding_norm=0.0))
    before = first_words(base).finished()["text_encoder"]
    assert torch.equal(concept.embeddings["text_encoder"], before)
    assert all(f.up.abs().max() > 0 for f in concept.lora.values())


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_each_part_has_its_own_rate(
    part: str, base: Base, pictures: list[Picture]
) -> None:
    off: dict[str, Any] = {"unet_rate" if part == "unet" else "text_rate": 0.0}
    concept = tune(base, pictures, replace(QUICK, **off))
    for name, factors in concept.lora.items():
        assert bool(factors.up.any()) is not name.startswith(f"{part}.")


def test_accumulated_gradients_are_averaged(
    base: Base, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    slopes = iter([3.0, 1.0])
    seen: list[torch.Tensor] = []

    def sloping(self: Objective, *args: Any, **options: Any) -> torch.Tensor:
        return next(slopes) * self._words.trained["text_encoder"].sum()

    def look(self: Optimiser, number: int) -> None:
        gradient = self.parameters["words.text_encoder"].grad
        assert gradient is not None
        seen.append(gradient.clone())

    monkeypatch.setattr(Objective, "loss", sloping)
    monkeypatch.setattr(Optimiser, "step", look)
    tune(base, pictures, replace(QUICK, steps=1, accumulate=2))
    (gradient,) = seen
    assert torch.equal(gradient, torch.full_like(gradient, 2.0))


@pytest.mark.parametrize("frugal", [False, True])
def test_attention_penalty_reaches_the_words(base: Base, frugal: bool) -> None:
    from mos_client.tuning.runtime.memory import gradient_checkpointing

    words = first_words(base)
    word = words.trained["text_encoder"]
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    subjects = torch.zeros(2, 1, 8, 8)
    subjects[:, :, 2:5, 2:5] = 1
    gradients = []
    with layerwise(base.unet), gradient_checkpointing(base, wanted=frugal):
        for weight in (0.0, 1.0, 2.0):
            settings = replace(QUICK, attention_weight=weight)
            loss = Objective(base, "rex", words, settings).loss(
                latents,
                ["a photo of <rex>", "<rex>"],
                torch.Generator().manual_seed(0),
                subjects=subjects,
            )
            gradients.append(torch.autograd.grad(loss, word)[0])
    without, once, twice = gradients
    assert not torch.equal(without, once)
    torch.testing.assert_close(twice - without, 2 * (once - without))


def test_nothing_is_watched_where_no_mask_is(
    base: Base,
    pictures: list[Picture],
    usual: Concept,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(unet: object) -> None:
        raise AssertionError("hooks were set without a mask")

    monkeypatch.setattr(objective, "watched", forbidden)
    assert tune(base, pictures).to_bytes() == usual.to_bytes()


def test_gradients_that_are_not_finite_are_not_applied(
    base: Base,
    pictures: list[Picture],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mos_client.tuning.tune.CHECKPOINT_EVERY", 1)
    genuine = Objective.loss
    calls = 0

    def breaks_down(self: Objective, *args: Any, **options: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        loss = genuine(self, *args, **options)
        # A finite loss whose gradient is not: d sqrt(x) / dx at 0.
        return loss + (loss - loss).sqrt() if calls == 3 else loss

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "loss", breaks_down)
        with pytest.raises(TuningError, match=r"step 3: .*--resume --set unet_rate="):
            tune(base, pictures, work_dir=tmp_path)
    assert (tmp_path / FILE).exists()
    steps: list[int] = []

    def note(progress: TuneProgress) -> None:
        steps.append(progress.step)

    calmer = replace(QUICK, unet_rate=1e-3)
    tune(base, pictures, calmer, work_dir=tmp_path, resume=True, on_progress=note)
    assert steps == [3]


def test_interrupted_optimiser_step_is_finished_first(
    base: Base,
    pictures: list[Picture],
    usual: Concept,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    genuine = Optimiser.step

    def interrupted(self: Optimiser, number: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        genuine(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(Optimiser, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tune(base, pictures, work_dir=tmp_path)
    resumed = tune(base, pictures, work_dir=tmp_path, resume=True)
    assert resumed.to_bytes() == usual.to_bytes()


def test_assigned_settings_have_the_last_word(base: Base) -> None:
    given = ["snr_gamma=5", "method=lora", "unet_rate=1e-3", "flip=false"]
    settings = TuneSettings.for_base(base, given, unet_rate=1.0)
    assert settings.snr_gamma == 5.0
    assert (settings.method, settings.unet_rate, settings.flip) == ("lora", 1e-3, False)
    assert TuneSettings.for_base(base, ["snr_gamma=none"]).snr_gamma is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("snr_gamma", "NAME=VALUE"),
        ("speed=9", "one of method, steps"),
        ("steps=1.5", "'1.5' is no int"),
        ("flip=2", "'2' is no bool"),
        ("unet_rate=fast", "'fast' is no float"),
        ("unet_rate=nan", "'nan' is no float"),
        ("unet_rate=-1", "not below 0"),
        ("method=dora", "ed-lora, lora"),
        ("accumulate=0", "at least 1"),
        ("snr_gamma=0", "above 0, or none"),
    ],
)
def test_assignment_that_cannot_be_is_refused(base: Base, text: str, told: str) -> None:
    with pytest.raises(TuningError, match=told):
        TuneSettings.for_base(base, [text])
