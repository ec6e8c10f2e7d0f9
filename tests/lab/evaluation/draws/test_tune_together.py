"""Concepts tuned side by side are those that each tuning alone gives."""

from pathlib import Path

import pytest
import torch

from mos_client.pictures import Picture, read_folder
from mos_client.tuning import TuneSettings, tune_concept
from mos_lab.errors import EvaluationError
from mos_lab.evaluation.draws.tune_together import Individual, tune_together
from mos_model.bases.base import Base, load_base
from tests.support.bases import save_tiny_sd
from tests.support.pictures import save_pictures


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    folder: Path = save_pictures(tmp_path_factory.mktemp("pictures"))
    read = read_folder(folder, min_side=16).pictures
    return [p for p in read if p.mask is None and p.caption is None]


@pytest.mark.parametrize("method", ["ed-lora", "lora"])
def test_a_concept_keeps_its_factors_and_words_whoever_is_tuned_with_it(
    base: Base, pictures: list[Picture], method: str
) -> None:
    settings = TuneSettings(
        method=method,
        steps=3,
        rank=2,
        warm_up=1,
        text_rate=1e-3,
        unet_rate=1e-3,
        kv_rate=2e-3,
        embedding_norm=1e9,
    )
    each = [
        Individual("rex", "cat", pictures[:1]),
        Individual("miso", "dog", pictures[-1:]),
    ]
    found = tune_together(each, base=base, settings=settings)
    for own, together in zip(each, found, strict=True):
        alone = tune_concept(
            own.pictures,
            base=base,
            name=own.name,
            class_word=own.class_word,
            settings=settings,
        )
        assert together.facts == alone.facts
        for module, factors in alone.lora.items():
            assert factors.up.abs().max() > 0, "it moved"
            torch.testing.assert_close(
                together.lora[module].up, factors.up, atol=2e-4, rtol=0.05
            )
            torch.testing.assert_close(
                together.lora[module].down, factors.down, atol=2e-4, rtol=0.05
            )
        for encoder, words in alone.embeddings.items():
            torch.testing.assert_close(
                together.embeddings[encoder], words, atol=2e-4, rtol=0.01
            )


def test_different_numbers_of_pictures_are_refused(
    base: Base, pictures: list[Picture]
) -> None:
    each = [
        Individual("rex", "cat", pictures[:1]),
        Individual("miso", "dog", pictures),
    ]
    with pytest.raises(EvaluationError, match="equally many pictures"):
        tune_together(each, base=base, settings=TuneSettings(steps=1))
