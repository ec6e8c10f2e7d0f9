"""What is evaluated: concepts, and the pictures they were tuned on.

A folder of subjects holds one folder for each, with its pictures and one concept file:

    subjects/
        ada/ ada.safetensors  1.png  2.png ..
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from mos_lab.errors import EvaluationError
from mos_model.concepts.concept import Concept
from mos_model.errors import ConceptError
from mos_model.metrics import Features, Metrics, mutual_alignment
from mos_runtime.files import read_whole

PICTURE_ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
_MAX_CONCEPT_BYTES: Final = 2**30


@dataclass(frozen=True)
class Subject:
    """One concept with what it ought to look like."""

    concept: Concept
    pictures: tuple[Image.Image, ...]
    """What it was tuned on, RGB; at least two."""

    folder: Path
    """Where both lie."""

    @property
    def name(self) -> str:
        """The concept's name."""
        return self.concept.facts.name

    @property
    def class_word(self) -> str:
        """What an ordinary prompt would call it."""
        return self.concept.facts.class_word

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the concept's file."""
        return hashlib.sha256(self.concept.to_bytes()).hexdigest()


@dataclass(frozen=True)
class Reference:
    """A subject's pictures as the metrics see them."""

    features: Features
    mutual: float
    """Mean cosine of different ones: as alike as true pictures are."""


def reference(metrics: Metrics, subject: Subject) -> Reference:
    """What samples of a subject are compared with."""
    features = metrics.of_images(subject.pictures)
    return Reference(features, mutual_alignment(features))


def read_subjects(folder: Path) -> list[Subject]:
    """The subjects of a folder, by name.

    Raises:
        EvaluationError: no subject, a folder without its concept or with fewer than
            two pictures, or two concepts of one name.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{folder}: no such folder")
    found = sorted(path for path in folder.iterdir() if path.is_dir())
    folders = [path for path in found if not path.name.startswith(".")]
    subjects = [read_subject(path) for path in folders]
    names = [subject.name for subject in subjects]
    if not subjects:
        raise EvaluationError(f"{folder}: no folder of a subject in it")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise EvaluationError(f"{folder}: two concepts are named {twice[0]}")
    return subjects


def read_subject(folder: Path) -> Subject:
    """One subject's concept and pictures.

    Raises:
        EvaluationError: not one concept file, or fewer than two pictures.
    """
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        raise EvaluationError(
            f"{folder}: {len(files)} concept files (.safetensors); exactly one"
        )
    content = read_whole(files[0], what="a concept", max_bytes=_MAX_CONCEPT_BYTES)
    try:
        concept = Concept.from_bytes(content)
    except ConceptError as error:
        raise EvaluationError(f"{files[0]}: {error}") from error
    pictures = _pictures(folder)
    if len(pictures) < 2:
        raise EvaluationError(f"{folder}: {len(pictures)} pictures; at least two")
    return Subject(concept, tuple(pictures), folder)


def _pictures(folder: Path) -> Sequence[Image.Image]:
    pictures = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in PICTURE_ENDINGS or path.name.endswith(
            ".mask.png"
        ):
            continue
        try:
            with Image.open(path) as opened:
                pictures.append(ImageOps.exif_transpose(opened).convert("RGB"))
        except (OSError, ValueError) as error:
            raise EvaluationError(f"{path}: not a readable picture") from error
    return pictures
