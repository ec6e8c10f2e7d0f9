"""The gate's classifier: what a picture shows, told from its pixels alone.

    python -m mos_zoo.models.classifier --state .zoo --minutes 4

It judges the base and never trains it: its renders come from seeds of their own. Class,
body colour, pattern and background are told of pictures with one subject; which classes
are `present` and where subjects are, of pictures with any number of them. `present` is
the detector that judges prompts with two subjects (a picture's halves often hold a
piece of the other subject); the subjects' places tell whether a control is followed.
"""

import argparse
import io
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from mos_runtime.errors import MosError
from mos_runtime.files import write_atomically
from mos_zoo.training.dataset import WORLD_VERSION
from mos_zoo.training.journal import Journal
from mos_zoo.training.loop import Recipe, Span, train, trained
from mos_zoo.world.pictures import save_grid, to_tensor
from mos_zoo.world.world import (
    BACKGROUNDS,
    CLASSES,
    COLORS,
    PATTERNS,
    random_instance,
    render,
)

HEADS: Final[Mapping[str, tuple[str, ...]]] = {
    "class": CLASSES,
    "colour": tuple(COLORS),
    "pattern": PATTERNS,
    "background": BACKGROUNDS,
}
"""What is told of a picture, and the answers in the order of the scores."""

UNKNOWN: Final = -1
"""The label of what a picture with two subjects has no single answer to."""

_TRAINING_SEEDS: Final = 1 << 42
_HELD_OUT_SEEDS: Final = 1 << 43
_PAIR_EVERY: Final = 2
"""Every other picture shows two subjects of different classes, the harder lesson."""
_MOST_SHIFT: Final = 4
_AT_ONCE: Final = 128


@dataclass(frozen=True)
class Labelled:
    """Pictures with what is true of them."""

    pixels: UInt8[np.ndarray, "count 64 64 3"]
    labels: Int[np.ndarray, "count heads"]
    """Answers in the order of `HEADS`, or `UNKNOWN`."""
    present: Bool[np.ndarray, "count classes"]
    subject: Bool[np.ndarray, "count 64 64"]
    """Where any subject is."""


@dataclass(frozen=True)
class Verdicts:
    """What the classifier says of pictures."""

    answers: Mapping[str, Int[np.ndarray, " count"]]
    """By the name of the head."""
    present: Bool[np.ndarray, "count classes"]
    subject: Bool[np.ndarray, "count 64 64"]


class Classifier(nn.Module):
    """A small convolutional network, with one head for answers and one for places."""

    def __init__(self, widths: tuple[int, int, int, int, int]) -> None:
        """Takes 64-pixel pictures to an eighth of their size in five layers."""
        super().__init__()
        torch.manual_seed(5)
        strides = (2, 2, 1, 2, 1)
        self.layers = nn.ModuleList(
            _layer(before, after, stride)
            for before, after, stride in zip(
                (3, *widths[:-1]), widths, strides, strict=True
            )
        )
        answers = sum(len(answers) for answers in HEADS.values())
        self.head = nn.Linear(2 * widths[-1], answers + len(CLASSES))
        fine, _, middle, _, coarse = widths
        self.lateral = nn.ModuleList(
            nn.Conv2d(width, fine, 1) for width in (fine, middle, coarse)
        )
        self.places = nn.Sequential(
            nn.ReLU(),
            _layer(fine, fine, 1),
            nn.Conv2d(fine, 4, 3, 1, 1),
            nn.PixelShuffle(2),
        )

    def forward(self, x: Float[Tensor, "n 3 64 64"]) -> dict[str, Tensor]:
        """Scores by head, one logit a class "present", one a pixel for "subject"."""
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        sizes = [*(len(answers) for answers in HEADS.values()), len(CLASSES)]
        scores = self.head(pooled).float().split(sizes, 1)
        pyramid = [
            F.interpolate(lateral(feature), scale_factor=scale, mode="bilinear")
            for lateral, feature, scale in zip(
                self.lateral, features[::2], (1, 2, 4), strict=True
            )
        ]
        places = self.places(torch.stack(pyramid).sum(0))
        named = dict(zip((*HEADS, "present"), scores, strict=True))
        return {**named, "subject": places[:, 0].float()}


@dataclass
class ClassifierStage:
    """Trains the classifier on renders; `loop.train` runs it."""

    state: Path
    count: int = 20_000
    """Pictures drawn for training."""
    held_out: int = 1000
    widths: tuple[int, int, int, int, int] = (24, 48, 64, 96, 128)
    batch_size: int = 96
    learning_rate: float = 3e-3
    name: str = "classifier"

    @property
    def recipe(self) -> Recipe:
        """Muon on the inner convolutions."""
        return Recipe(
            self.learning_rate,
            self.batch_size,
            100,
            1500,
            weight_decay=0.02,
            adam_names=("layers.0.", "head", "places.2."),
        )

    def build(self) -> Classifier:
        """A fresh classifier."""
        return Classifier(self.widths)

    def open(self, device: torch.device) -> None:
        """Draw the pictures, once for all runs."""
        self._device = device
        self._drawn = _drawn_once(self.state, self.count)
        self._labels = torch.from_numpy(self._drawn.labels).to(device)
        self._present = torch.from_numpy(self._drawn.present).float().to(device)
        self._subject = torch.from_numpy(self._drawn.subject)

    def loss(
        self, model: nn.Module, step: int, rng: np.random.Generator, samples: int
    ) -> dict[str, Tensor]:
        """Cross entropy of every head."""
        rows = rng.integers(len(self._drawn.pixels), size=samples)
        x = to_tensor(self._drawn.pixels[rows], self._device)
        subject = self._subject[torch.from_numpy(rows)].float().to(self._device)
        x, subject = _disturbed(x, subject, rng)
        with torch.autocast(self._device.type, torch.bfloat16):
            scores = model(x)
        picked = torch.from_numpy(rows).to(self._device)
        parts = {
            name: F.cross_entropy(
                scores[name], self._labels[picked, k], ignore_index=UNKNOWN
            )
            for k, name in enumerate(HEADS)
        }
        parts["present"] = 4 * F.binary_cross_entropy_with_logits(
            scores["present"], self._present[picked]
        )
        parts["subject"] = F.binary_cross_entropy_with_logits(
            scores["subject"], subject
        )
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def show(self, model: nn.Module, folder: Path) -> dict[str, float]:
        """Shares of right answers on held-out renders; the wrongly told pictures."""
        singles, pairs = held_out_renders(self.held_out)
        verdicts = judge(model, singles.pixels)
        wrong = _wrong(singles, verdicts)
        if wrong:
            rows = list(wrong)[:32]
            save_grid(
                folder / "mistakes.png",
                list(singles.pixels[rows]),
                columns=8,
                labels=[wrong[row] for row in rows],
                zoom=2,
            )
        overlap = (verdicts.subject & singles.subject).sum()
        places = overlap / (verdicts.subject | singles.subject).sum()
        return {
            **shares_right(singles, verdicts),
            **pairs_told(model, pairs),
            "overlap of places": float(places),
        }


def load_classifier(state: Path) -> nn.Module:
    """The trained classifier.

    Raises:
        ZooError: it was never trained here.
    """
    return trained(ClassifierStage(state), state, Journal())


def held_out_renders(count: int) -> tuple[Labelled, Labelled]:
    """Renders that the classifier was not trained on: of one subject, and of two."""
    singles = draw_labelled(
        range(_HELD_OUT_SEEDS, _HELD_OUT_SEEDS + count), pairs=False
    )
    first = _HELD_OUT_SEEDS + count
    return singles, draw_labelled(range(first, first + count // 4), pairs=True)


def draw_labelled(seeds: Iterable[int], *, pairs: bool) -> Labelled:
    """One picture a seed, of one subject in a named colour, or of two."""
    drawn = [_draw(seed, 2 if pairs else 1) for seed in seeds]
    return _stacked(drawn)


@torch.no_grad()
def judge(model: nn.Module, pixels: UInt8[np.ndarray, "n 64 64 3"]) -> Verdicts:
    """What the classifier says of pictures."""
    device = next(model.parameters()).device
    parts = [
        model(to_tensor(pixels[first : first + _AT_ONCE], device))
        for first in range(0, len(pixels), _AT_ONCE)
    ]
    scores = {n: torch.cat([part[n] for part in parts]).cpu() for n in parts[0]}
    answers = {name: scores[name].argmax(1).numpy() for name in HEADS}
    return Verdicts(
        answers, (scores["present"] > 0).numpy(), (scores["subject"] > 0).numpy()
    )


def shares_right(pictures: Labelled, verdicts: Verdicts) -> dict[str, float]:
    """The share of right answers of each head, where there is an answer."""
    shares = {}
    for k, name in enumerate(HEADS):
        known = pictures.labels[:, k] != UNKNOWN
        right = verdicts.answers[name][known] == pictures.labels[known, k]
        shares[name] = float(right.mean())
    return shares


def pairs_told(model: nn.Module, pairs: Labelled) -> dict[str, float]:
    """How well the detector tells which classes are in pictures of two."""
    predicted = judge(model, pairs.pixels).present
    return {
        "both present": float((predicted | ~pairs.present).all(1).mean()),
        "absent told present": float((predicted & ~pairs.present).any(1).mean()),
    }


def _draw(seed: int, subjects: int) -> dict[str, Any]:
    """One row of a `Labelled`, by its fields."""
    rng = random.Random(seed)
    kinds = rng.sample(CLASSES, subjects)
    instances = [
        random_instance(rng, kind=kind, body_name=rng.choice(HEADS["colour"]))
        for kind in kinds
    ]
    background = rng.choice(BACKGROUNDS)
    rendered = render(instances, background, rng)
    labels = [UNKNOWN, UNKNOWN, UNKNOWN, BACKGROUNDS.index(background)]
    if subjects == 1:
        (only,) = instances
        labels[:3] = (
            CLASSES.index(only.kind),
            HEADS["colour"].index(only.body_name or ""),
            PATTERNS.index(only.pattern),
        )
    return {
        "pixels": np.asarray(rendered.image),
        "labels": np.array(labels, np.int64),
        "present": np.array([kind in kinds for kind in CLASSES]),
        "subject": np.any(rendered.masks, axis=0),
    }


def _stacked(rows: Sequence[dict[str, Any]]) -> Labelled:
    return Labelled(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})


def _drawn_once(state: Path, count: int) -> Labelled:
    """The training pictures, from the disk where they were drawn before."""
    path = state / "data" / f"classifier-{WORLD_VERSION}-{count}.npz"
    try:
        with path.open("rb") as stored, np.load(stored) as arrays:
            return Labelled(**arrays)
    except (OSError, ValueError, TypeError, EOFError, BadZipFile):
        pictures = _stacked(
            [
                _draw(_TRAINING_SEEDS + i, 2 if i % _PAIR_EVERY == 0 else 1)
                for i in range(count)
            ]
        )
    file = io.BytesIO()
    content: dict[str, Any] = vars(pictures)
    np.savez(file, **content)
    write_atomically(path, file.getvalue())
    return pictures


def _layer(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False),
        nn.GroupNorm(8, after),
        nn.ReLU(),
    )


def _disturbed(
    x: Float[Tensor, "n 3 64 64"],
    subject: Float[Tensor, "n 64 64"],
    rng: np.random.Generator,
) -> tuple[Float[Tensor, "n 3 64 64"], Float[Tensor, "n 64 64"]]:
    """Blurred, shifted, tinted and noisy, as an autoencoder's pictures are."""
    if rng.random() < 0.5:
        scale = float(rng.choice((0.5, 0.75)))
        small = F.interpolate(x, scale_factor=scale, mode="area")
        x = F.interpolate(small, size=x.shape[2:], mode="bilinear")
    dy, dx = (int(s) for s in rng.integers(-_MOST_SHIFT, _MOST_SHIFT + 1, size=2))
    x, subject = torch.roll(x, (dy, dx), (2, 3)), torch.roll(subject, (dy, dx), (1, 2))
    n = len(x)
    x = x * (1 + 0.08 * torch.randn(n, 1, 1, 1, device=x.device))
    x = x + 0.04 * torch.randn(n, 3, 1, 1, device=x.device)
    x = x + 0.05 * torch.randn_like(x)
    return x.contiguous(memory_format=torch.channels_last), subject


def _wrong(pictures: Labelled, verdicts: Verdicts) -> dict[int, str]:
    """What was told instead of what, by the picture's row."""
    mistakes: dict[int, list[str]] = {}
    for k, (name, answers) in enumerate(HEADS.items()):
        predicted, true = verdicts.answers[name], pictures.labels[:, k]
        for row in np.flatnonzero((predicted != true) & (true != UNKNOWN)):
            text = f"{answers[true[row]]}: {answers[predicted[row]]}"
            mistakes.setdefault(int(row), []).append(text)
    return {row: ", ".join(texts) for row, texts in mistakes.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the classifier; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mos_zoo.models.classifier",
        description="Train the gate's classifier, on one thread or a GPU.",
    )
    parser.add_argument("--state", type=Path, default=Path(".zoo"))
    parser.add_argument("--minutes", type=float, default=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    stage, span = ClassifierStage(options.state), Span(60 * options.minutes)
    try:
        train(stage, options.state, span, workers=1, device=device)
    except MosError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
