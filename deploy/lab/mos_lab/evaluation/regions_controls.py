"""Pictures that steer regional pictures on the mini base: where subjects stand.

Every subject stands in a place of its own, told by its class's shape as the world's
renderer draws it, in a pose and of proportions of chance: by outlines for the
T2I-Adapter, by masks for the ControlNet, as both were trained. Nothing of a concept's
own looks is in them, no colour, pattern, mark, hat or scarf.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from PIL import Image

from mos_lab.evaluation.subjects import Subject
from mos_model.bases.base import Base
from mos_model.bases.base_files import read_inventory
from mos_model.mini import weights_folder
from mos_model.sampling import Control, Layout
from mos_zoo.models.controls import Masks, outlines, silhouettes
from mos_zoo.world.world import BACKGROUNDS, CLASSES, random_instance, render

_BASE: Final = "mini"


@dataclass(frozen=True)
class Steering:
    """One of the mini zoo's controls, as it steers in an evaluation."""

    model: str
    """Its name in the zoo."""

    draw: Callable[[Masks], Any]
    """From masks to what it was trained on, values 0 to 1, channels first."""

    weight: float = 1.0


STEERINGS: Final[Mapping[str, Steering]] = {
    "T2I-Adapter": Steering("mini-adapter", outlines),
    "ControlNet": Steering("mini-controlnet", silhouettes),
}
"""By the names that tables use."""


def steerings_for(base: Base, subjects: Sequence[Subject]) -> tuple[str, ...]:
    """The controls that a base and subjects can be steered by.

    There are some for the mini base alone, and for the classes that its world draws.
    """
    needed = (_BASE, *(steering.model for steering in STEERINGS.values()))
    if not all((weights_folder() / name).is_dir() for name in needed):
        return ()
    if not all(subject.class_word in CLASSES for subject in subjects):
        return ()
    own = read_inventory(_BASE).base
    return tuple(STEERINGS) if base.inventory.base == own else ()


def steered(
    layout: Layout, steering: Steering, class_words: Sequence[str], number: int
) -> Layout:
    """A layout with a control that shows its subjects, from left to right.

    Args:
        layout: The layout; its subjects stand side by side.
        steering: What steers.
        class_words: Of its subjects, each one of the world's classes.
        number: Gives the poses: the same number and classes, the same picture.
    """
    size = (layout.width, layout.height)
    image = control_picture(steering, class_words, size, number)
    control = Control(steering.model, image, steering.weight)
    return replace(layout, controls=(control,))


def control_picture(
    steering: Steering, class_words: Sequence[str], size: tuple[int, int], number: int
) -> Image.Image:
    """What `steered` gives a control to follow, of mode L."""
    rng = random.Random(f"regions/controls/{number}")
    drawn = [random_instance(rng, kind=kind) for kind in class_words]
    shapes = [replace(one, accessory="none", mark="none") for one in drawn]
    masks = render(shapes, BACKGROUNDS[0], rng, size).masks
    whole = np.any(masks, axis=0).astype(np.uint8)
    (values,) = steering.draw(whole[None])[:, 0]
    return Image.fromarray((255 * values.numpy()).astype(np.uint8))
