"""The metrics tell individuals and classes of the mini world apart."""

import random
from pathlib import Path

import pytest
import torch
from PIL import Image

from mos_model.errors import MetricsError
from mos_model.metrics import (
    Metrics,
    image_alignment,
    load_metrics,
    mutual_alignment,
    text_alignment,
)
from mos_zoo.world.demo import DEMO_INSTANCES
from mos_zoo.world.world import BACKGROUNDS, render


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    return load_metrics()


def pictures(name: str, count: int = 6) -> list[Image.Image]:
    rng = random.Random(f"metrics/{name}")
    return [
        render([DEMO_INSTANCES[name]], BACKGROUNDS[i], rng, (64, 64)).image
        for i in range(count)
    ]


def test_an_individual_is_nearer_to_itself_than_to_others(metrics: Metrics) -> None:
    features = {name: metrics.of_images(pictures(name)) for name in DEMO_INSTANCES}
    for name, own in features.items():
        inside = mutual_alignment(own)
        for other in features.keys() - {name}:
            assert inside > image_alignment(own, features[other]) + 0.1


def test_a_picture_is_nearest_to_its_own_class_word(metrics: Metrics) -> None:
    rng = random.Random("metrics/classes")
    kinds = ("cat", "house", "boat")
    images = []
    for kind in kinds:
        instance = DEMO_INSTANCES["miso"].__class__(kind, (222, 44, 48), "red")
        images.append(render([instance], "beach", rng, (64, 64)).image)
    texts = metrics.of_texts([f"a red {kind} on the beach" for kind in kinds])
    assert (metrics.of_images(images) @ texts.T).argmax(1).tolist() == [0, 1, 2]


def test_alignments_are_the_cosines_of_their_definition() -> None:
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    second = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    assert image_alignment(first, second) == pytest.approx((0.6 + 1.0 + 0.8 + 0) / 4)
    assert text_alignment(first, second) == pytest.approx((0.6 + 0.0) / 2)
    assert mutual_alignment(second) == pytest.approx(0.6)
    with pytest.raises(ValueError, match="alike to none"):
        mutual_alignment(first[:1])


def test_batches_do_not_change_what_is_seen(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pictures("rex")
    whole = metrics.of_images(images)
    monkeypatch.setattr("mos_model.metrics._AT_ONCE", 4)
    assert torch.allclose(metrics.of_images(images), whole, atol=1e-5)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(MetricsError, match="no CLIPModel directory"):
        load_metrics(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(MetricsError, match="not a whole CLIP model"):
        load_metrics(str(tmp_path))
