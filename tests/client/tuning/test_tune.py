"""Tuning on a small base of random weights: what is kept, what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mos_client.pictures import Picture, read_folder
from mos_client.tuning import RunOptions, TuneProgress, TuneSettings, tune_concept
from mos_model.bases.base import Base, load_base
from mos_model.concepts.concept import Concept
from mos_model.errors import ConceptError, TuningError
from tests.support.bases import save_tiny_sd
from tests.support.pictures import save_pictures

QUICK = TuneSettings(steps=4, rank=2, embedding_rate=1e-2, unet_rate=1e-2, warm_up=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    folder = save_pictures(tmp_path_factory.mktemp("pictures"))
    return list(read_folder(folder, min_side=16).pictures)


def tune(
    base: Base,
    pictures: list[Picture],
    settings: TuneSettings = QUICK,
    **options: object,
) -> Concept:
    return tune_concept(
        pictures,
        base=base,
        name="rex",
        class_word="cat",
        settings=settings,
        run=RunOptions(**options),  # type: ignore[arg-type]
    )


def test_concept_fits_the_base_and_survives_its_bytes(
    base: Base, pictures: list[Picture]
) -> None:
    concept = tune(base, pictures)
    shapes = {
        name: (f.up.shape[0], f.down.shape[1]) for name, f in concept.lora.items()
    }
    assert shapes == dict(base.inventory.projections)
    layers, width = base.inventory.layers, base.inventory.embedding_widths
    assert concept.embeddings["text_encoder"].shape == (
        2,
        layers,
        width["text_encoder"],
    )
    content = concept.to_bytes()
    assert Concept.from_bytes(content).to_bytes() == content


def test_tuning_moves_every_layers_words_and_every_pair(
    base: Base, pictures: list[Picture]
) -> None:
    concept = tune(base, pictures)
    vectors = concept.embeddings["text_encoder"]
    assert not torch.equal(vectors[:, 0], vectors[:, -1])
    assert all(factors.up.abs().max() > 0 for factors in concept.lora.values())


def test_base_is_bit_equal_after_tuning(base: Base, pictures: list[Picture]) -> None:
    before = {k: v.clone() for k, v in base.unet.state_dict().items()}
    text = {k: v.clone() for k, v in base.pipeline.text_encoder.state_dict().items()}
    tune(base, pictures)
    after = base.unet.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(before[k], after[k]) for k in before)
    after = base.pipeline.text_encoder.state_dict()
    assert list(after) == list(text)
    assert all(torch.equal(text[k], after[k]) for k in text)


def test_equal_seeds_give_equal_bytes(base: Base, pictures: list[Picture]) -> None:
    first, again = tune(base, pictures), tune(base, pictures)
    assert first.to_bytes() == again.to_bytes()
    other = tune(base, pictures, replace(QUICK, seed=1))
    assert other.to_bytes() != first.to_bytes()


def test_resumed_run_ends_at_the_same_bytes(
    base: Base, pictures: list[Picture], tmp_path: Path
) -> None:
    whole = tune(base, pictures)

    def stop_in_the_middle(progress: TuneProgress) -> None:
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(base, pictures, work_dir=tmp_path, on_progress=stop_in_the_middle)
    steps: list[int] = []
    resumed = tune(
        base,
        pictures,
        work_dir=tmp_path,
        resume=True,
        on_progress=lambda progress: steps.append(progress.step),
    )
    assert steps == [3, 4]
    assert resumed.to_bytes() == whole.to_bytes()


def test_resume_with_other_settings_is_refused(
    base: Base, pictures: list[Picture], tmp_path: Path
) -> None:
    def stop_at_once(progress: TuneProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(base, pictures, work_dir=tmp_path, on_progress=stop_at_once)
    other = replace(QUICK, rank=3)
    with pytest.raises(TuningError, match="made with another settings"):
        tune(base, pictures, other, work_dir=tmp_path, resume=True)


def test_exploding_loss_stops_with_the_reason(
    base: Base, pictures: list[Picture]
) -> None:
    wild = replace(QUICK, unet_rate=1e30, steps=8)
    with pytest.raises(TuningError, match=r"the loss is .* rates are too high"):
        tune(base, pictures, wild)


def test_name_that_cannot_be_one_is_refused(
    base: Base, pictures: list[Picture]
) -> None:
    with pytest.raises(ConceptError, match="a name is"):
        tune_concept(
            pictures, base=base, name="R e x", class_word="cat", settings=QUICK
        )


def test_empty_class_word_is_refused(base: Base, pictures: list[Picture]) -> None:
    with pytest.raises(TuningError, match="class word"):
        tune_concept(pictures, base=base, name="rex", class_word="", settings=QUICK)


def test_settings_that_cannot_run_are_refused() -> None:
    with pytest.raises(TuningError, match="steps is 0"):
        TuneSettings(steps=0)
    with pytest.raises(TuningError, match="unet_rate is -1"):
        TuneSettings(unet_rate=-1.0)
