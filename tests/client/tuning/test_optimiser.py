"""Every group of parameters moves at its own rate."""

from pathlib import Path

import pytest

from mos_client.pictures import Picture, read_folder
from mos_client.tuning import TuneSettings, tune_concept
from mos_model.bases.base import Base, load_base
from mos_model.concepts.concept import Concept
from mos_model.errors import TuningError
from tests.support.bases import save_tiny_sd
from tests.support.pictures import save_pictures


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    folder: Path = save_pictures(tmp_path_factory.mktemp("pictures"))
    return list(read_folder(folder, min_side=16).pictures)


def moved(
    base: Base, pictures: list[Picture], **rates: float | None
) -> tuple[set[str], Concept]:
    """Which kinds of layers have an update that is not zero."""
    settings = TuneSettings(steps=2, rank=2, warm_up=1, **rates)  # type: ignore[arg-type]
    concept = tune_concept(
        pictures, base=base, name="rex", class_word="cat", settings=settings
    )
    kinds = set()
    for module, factors in concept.lora.items():
        if factors.up.abs().max() > 0:
            text = ".attn2.to_k" in module or ".attn2.to_v" in module
            where = "kv" if text else "spatial"
            kinds.add(where if module.startswith("unet.") else "text")
    return kinds, concept


def test_keys_and_values_follow_the_unet_unless_told(
    base: Base, pictures: list[Picture]
) -> None:
    assert moved(base, pictures, text_rate=0.0)[0] == {"kv", "spatial"}
    assert moved(base, pictures, text_rate=0.0, kv_rate=0.0)[0] == {"spatial"}
    alone = moved(base, pictures, text_rate=0.0, unet_rate=0.0, kv_rate=1e-3)
    assert alone[0] == {"kv"}


def test_a_rate_of_none_is_the_same_as_the_unets_own(
    base: Base, pictures: list[Picture]
) -> None:
    default = moved(base, pictures, unet_rate=1e-3)[1]
    spelled = moved(base, pictures, unet_rate=1e-3, kv_rate=1e-3)[1]
    assert default.to_bytes() == spelled.to_bytes()


def test_a_negative_rate_is_refused() -> None:
    with pytest.raises(TuningError, match="kv_rate is -1"):
        TuneSettings(kv_rate=-1.0)
