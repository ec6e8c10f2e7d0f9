"""Stable Diffusion 1, 2 and XL: the real architectures, shrunk in width."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mos_client.pictures import Picture, read_folder
from mos_client.tuning import RunOptions, TuneProgress, TuneSettings, tune_concept
from mos_client.tuning.checks.class_word import infer_class_word
from mos_model.bases.base import Base, load_base
from mos_model.concepts.applying import as_fused
from mos_model.concepts.concept import Concept
from mos_model.sampling import Layout, sampling
from tests.support.families import SIDE, save_family
from tests.support.pictures import save_pictures

SETTINGS = TuneSettings(
    steps=2,
    batch_size=1,
    rank=2,
    augmentations=1,
    warm_up=1,
    embedding_rate=1e-1,
    text_rate=1e-1,
    unet_rate=1e-1,
)
LAYERS = {"sd1": 16, "sd2": 16, "sdxl": 70}


@pytest.fixture(scope="module", params=list(LAYERS))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def base(family: str, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_family(tmp_path_factory.mktemp(family), family)))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    folder = save_pictures(tmp_path_factory.mktemp("pictures"), count=2, side=SIDE)
    return list(read_folder(folder, min_side=SIDE).pictures)


@pytest.fixture(scope="module")
def concept(base: Base, pictures: list[Picture]) -> Concept:
    return tuned(base, pictures)


def tuned(base: Base, pictures: list[Picture], **options: object) -> Concept:
    return tune_concept(
        pictures,
        base=base,
        name="rex",
        class_word="cat",
        settings=SETTINGS,
        run=RunOptions(**options),  # type: ignore[arg-type]
    )


def test_shapes_come_from_the_base(family: str, base: Base, concept: Concept) -> None:
    layers = LAYERS[family]
    assert base.inventory.layers == layers
    encoders = ["text_encoder", "text_encoder_2"][: 2 if family == "sdxl" else 1]
    assert list(concept.embeddings) == encoders
    assert {v.shape[:2] for v in concept.embeddings.values()} == {(2, layers)}
    assert set(concept.lora) == set(base.inventory.projections)
    for name, factors in concept.lora.items():
        assert factors.dense().shape == base.inventory.projections[name]
        assert factors.up.isfinite().all()


def test_every_cross_attention_is_tuned(concept: Concept) -> None:
    moved = [f.up.abs().max() > 0 for n, f in concept.lora.items() if ".attn2." in n]
    assert all(moved)


def test_file_opens_and_changes_what_is_drawn(base: Base, concept: Concept) -> None:
    opened = Concept.from_bytes(concept.to_bytes())
    layout = Layout("a photo of a cat", SIDE, SIDE)
    with sampling(base) as sampler:
        before = sampler.sample(layout, seeds=[0], steps=2)[0]
    with sampling(base, as_fused(opened)) as sampler:
        on_it = sampler.sample(layout, seeds=[0], steps=2)[0]
        named = replace(layout, prompt="a photo of <rex>")
        drawn = sampler.sample(named, seeds=[0], steps=2)[0]
    assert before.tobytes() != on_it.tobytes()
    assert on_it.tobytes() != drawn.tobytes()


def test_base_itself_names_the_class(base: Base, pictures: list[Picture]) -> None:
    words = {"class_words": ["cat", "dog"]}
    guess = infer_class_word(
        replace(base, defaults={"tune": words}), pictures, SETTINGS
    )
    assert {guess.word, guess.runner_up} == {"cat", "dog"}


def test_resumed_run_ends_at_the_same_bytes(
    base: Base, pictures: list[Picture], concept: Concept, tmp_path: Path
) -> None:
    def stop(progress: TuneProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(base, pictures, work_dir=tmp_path, on_progress=stop)
    resumed = tuned(base, pictures, work_dir=tmp_path, resume=True)
    assert resumed.to_bytes() == concept.to_bytes()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_stable_diffusion_1_5_in_full_width_on_a_gpu(tmp_path: Path) -> None:
    from tests.benchmarks._sd15 import save_sd15

    base = load_base(
        str(save_sd15(tmp_path / "base")), device="cuda", dtype=torch.bfloat16
    )
    folder = save_pictures(tmp_path / "pictures", count=2, side=512)
    pictures = list(read_folder(folder, min_side=512).pictures)
    assert base.inventory.layers == 16
    concept = tuned(base, pictures)
    assert all(f.up.isfinite().all() for f in concept.lora.values())
    assert all(f.up.dtype == torch.float32 for f in concept.lora.values())
