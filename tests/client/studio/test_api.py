"""`Studio`, as a notebook calls it."""

from pathlib import Path

import pytest
import torch

from mos_client import Studio
from mos_client.errors import IdentityError
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_model.errors import ConceptError, DataError, LayoutError
from mos_model.sampling.schedulers import scheduler_named
from mos_runtime.errors import MosError
from tests.support.pictures import save_pictures

FEW = {"steps": 2}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return save_pictures(tmp_path / "pet")


def test_a_folder_is_tuned_sampled_and_shared(studio: Studio, pictures: Path) -> None:
    tuned = studio.tune(pictures, class_word="cat", licence="CC0", settings=FEW)
    assert (tuned.name, tuned.class_word) == ("pet", "cat")
    assert tuned.path is not None
    assert tuned.path.read_bytes() == tuned.content
    assert tuned.memorisation is not None
    assert tuned.samples
    (own,) = studio.concepts("own")
    assert (own.key, own.licence, own.state) == ("pet", "CC0", "tuned here")
    sampled = studio.sample("a photo of <pet>", model="own", images=2, settings=FEW)
    assert sampled.seeds == (0, 1)
    assert not Outbox(studio.home).entries()
    studio.share("pet")
    (entry,) = Outbox(studio.home).entries()
    assert entry.path.read_bytes() == tuned.content


def test_what_the_page_prepares_is_the_same_project(
    studio: Studio, pictures: Path
) -> None:
    tuned = studio.tune(pictures, name="rex", class_word="cat", settings=FEW)
    assert tuned.path == studio.project("rex").concept


def test_the_pipeline_draws_what_sample_draws(studio: Studio) -> None:
    (release,) = studio.releases()
    assert not release.error
    prompt = "a photo of <north/rex>"
    given = {"steps": 2, "guidance": 3.0, "scheduler": "DDIMScheduler"}
    (theirs,) = studio.sample(prompt, settings=given, seed=5).pictures
    pipe = studio.pipeline()
    pipe.scheduler = scheduler_named("DDIMScheduler", pipe.scheduler, steps=2)
    (ours,) = pipe(
        prompt,
        num_inference_steps=2,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(5),
    ).images
    assert ours == theirs


def test_a_release_that_is_not_as_signed_is_not_put_into_a_pipeline(
    studio: Studio,
) -> None:
    path = studio.home.releases / "0001.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert studio.releases()[0].error
    with pytest.raises(MosError, match="0001"):
        studio.pipeline()


def test_a_home_is_made_only_where_that_is_asked(base: str, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    with pytest.raises(IdentityError):
        Studio(folder, base=base)
    assert not folder.exists()
    studio = Studio(folder, base=base, create=True)
    assert SiteHome.open(folder) == studio.home
    assert studio.releases() == []
    with pytest.raises(LayoutError):
        studio.sample("a photo of <rex>", model="", settings={"steps": 0})


def test_what_cannot_be_tuned_is_refused_before_anything_is_written(
    studio: Studio, pictures: Path
) -> None:
    with pytest.raises(ConceptError):
        studio.tune(pictures, name="not a name!", settings=FEW)
    with pytest.raises(DataError, match="nowhere"):
        studio.tune(pictures.parent / "nowhere", settings=FEW)
    assert studio.concepts("own") == []
