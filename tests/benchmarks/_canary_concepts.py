"""The concepts of the canary benchmark: honest individuals, and an attacker's.

Each is tuned once on `mini` (about 40 s of CPU) and kept as a file:

- `honest`: an individual of the drawn world, at the base's own settings but for the
  batch;
- `hijack`: a LoRA tuned on another class's pictures with the words of "a dog", never
  changed: what it learns belongs to the ordinary words;
- `backdoor`: the same with one common word ("hat");
- `leaked`: an individual tuned on top of a release of other sites' concepts, its
  update declared to be one of the base.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from PIL import Image
from torch import nn

from mos_client.pictures import Picture
from mos_client.tuning import TuneSettings, tune_concept
from mos_client.tuning.training.words import Words
from mos_model.bases.base import Base
from mos_model.concepts.applying import applied
from mos_model.concepts.concept import Concept, FusedModel
from mos_zoo.world.instance import BACKGROUNDS, CLASSES, Instance, random_instance
from mos_zoo.world.world import render

_PICTURES = 8
_SIDE = 64
_STEPS = 360
_FULLY_TUNED = 13
"""Honest concepts tuned for so many steps; the others for half of them."""

_BATCH = 4
"""Half of the base's own, which halves the time."""


def honest(base: Base, number: int, folder: Path) -> Concept:
    """The individual of a number; its class goes round, every third one is marked."""
    kind = CLASSES[number % len(CLASSES)]
    name = f"{kind}{number:02d}"

    def tuned() -> Concept:
        instance = _individual(name, kind, marked=number % 3 == 2)
        steps = _STEPS if number < _FULLY_TUNED else _STEPS // 2
        return _tuned(base, name, kind, instance, steps=steps)

    return _kept(folder / f"honest-{name}.safetensors", tuned)


def hijack(base: Base, words: Sequence[str], folder: Path, *, shown: str) -> Concept:
    """A LoRA that turns ordinary words into an individual of another class.

    Args:
        base: The base.
        words: Two common words, which become V_rand and V_class.
        folder: Where it is kept.
        shown: The class that the words shall show.
    """
    name = f"{'-'.join(words)}-is-{shown}"

    def ordinary(base: Base, *_: Any) -> Words:
        trained = {}
        for encoder, model in base.text_encoders.items():
            table = model.get_input_embeddings().weight.detach().float()
            tokenizer = base.tokenizers[encoder]
            ids = [tokenizer(w, add_special_tokens=False).input_ids[0] for w in words]
            rows = table[ids][:, None].repeat(1, base.inventory.layers, 1)
            trained[encoder] = nn.Parameter(rows)
        return Words(trained, {}, base.inventory.layers)

    def tuned() -> Concept:
        instance = _individual(name, shown, marked=False)
        with patch("mos_client.tuning.tune.initial_words", ordinary):
            return _tuned(base, name, shown, instance, embedding_rate=0.0)

    return _kept(folder / f"hijack-{name}.safetensors", tuned)


def leaked(base: Base, kind: str, release: FusedModel | None, folder: Path) -> Concept:
    """An individual tuned on the base with a release merged in."""
    name = f"leaked-{kind}"

    def tuned() -> Concept:
        assert release is not None
        with applied(base, release.lora):
            return _tuned(base, name, kind, _individual(name, kind, marked=True))

    return _kept(folder / f"{name}.safetensors", tuned)


def _tuned(
    base: Base, name: str, kind: str, instance: Instance, **overrides: Any
) -> Concept:
    rng = random.Random(f"canary pictures/{name}")
    pictures = [
        Picture(Path(f"{name}-{i}.png"), _drawn(instance, rng, i), None, None)
        for i in range(_PICTURES)
    ]
    known = dict(base.defaults.get("tune", {})) | {"batch_size": _BATCH} | overrides
    known.pop("class_words", None)
    settings = TuneSettings(**known)
    return tune_concept(
        pictures, base=base, name=name, class_word=kind, settings=settings
    )


def _drawn(instance: Instance, rng: random.Random, index: int) -> Image.Image:
    ground = BACKGROUNDS[index % len(BACKGROUNDS)]
    return render([instance], ground, rng, (_SIDE, _SIDE)).image


def _individual(name: str, kind: str, *, marked: bool) -> Instance:
    rng = random.Random(f"canary/{name}")
    while True:
        instance = random_instance(rng, kind=kind, free=marked)
        if (instance.mark != "none") == marked:
            return instance


def _kept(path: Path, make: Callable[[], Concept]) -> Concept:
    if path.is_file():
        return Concept.from_bytes(path.read_bytes())
    concept = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(concept.to_bytes())
    return concept
