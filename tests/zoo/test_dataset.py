"""Pictures on disk: interrupted rendering goes on, broken files are named."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mos_model.errors import ZooError
from mos_zoo.training import dataset
from mos_zoo.training.dataset import (
    HELD_OUT,
    SETS,
    PictureSet,
    draw_scene,
    load_set,
    render_sets,
)

TINY = {"square": PictureSet((64, 64), 5, 40)}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "_CHUNK", 2)


def chunks(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.npz")}


def test_interrupted_rendering_goes_on_where_it_stopped(tmp_path: Path) -> None:
    render_sets(tmp_path, workers=1, sets=TINY)
    whole = chunks(tmp_path)
    assert len(whole) == 3
    kept, lost, _ = sorted(tmp_path.rglob("*.npz"))
    lost.unlink()
    kept.write_bytes(b"not drawn again")
    render_sets(tmp_path, workers=1, sets=TINY)
    assert chunks(tmp_path) == {**whole, kept.name: b"not drawn again"}


def test_a_set_is_what_its_seeds_draw(tmp_path: Path) -> None:
    render_sets(tmp_path, workers=1, sets=TINY)
    pictures = load_set(tmp_path, "square")
    for i in range(5):
        scene = draw_scene(40 + i, (64, 64))
        assert np.array_equal(pictures.pixels[i], scene.pixels)
        assert np.array_equal(pictures.subject[i], scene.subject)
        assert pictures.captions[i] == scene.captions


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half of it", b"something else"])
def test_broken_chunk_names_itself(tmp_path: Path, content: bytes) -> None:
    render_sets(tmp_path, workers=1, sets=TINY)
    broken = sorted(tmp_path.rglob("*.npz"))[1]
    broken.write_bytes(content)
    with pytest.raises(ZooError, match=rf"{broken.name}: not a whole file.*delete it"):
        load_set(tmp_path, "square")


def test_truncated_chunk_names_itself(tmp_path: Path) -> None:
    render_sets(tmp_path, workers=1, sets=TINY)
    broken = sorted(tmp_path.rglob("*.npz"))[0]
    broken.write_bytes(broken.read_bytes()[:-200])
    with pytest.raises(ZooError, match=broken.name):
        load_set(tmp_path, "square")


def test_pictures_never_rendered_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="no pictures of 'square'; run the stage"):
        load_set(tmp_path, "square")


def test_sets_share_no_seed_and_none_is_held_out() -> None:
    spans = sorted((own.seed, own.seed + own.count) for own in SETS.values())
    for (_, end), (start, _) in pairwise(spans):
        assert end <= start
    assert spans[-1][1] <= HELD_OUT
