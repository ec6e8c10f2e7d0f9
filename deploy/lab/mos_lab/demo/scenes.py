"""What the demo draws: its prompts, and the picture with a region for each concept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mos_model.layouts.layout import Box, Layout, Region

CONTEXT: Final = "on the beach"
"""The scene of the picture that holds all concepts."""

SEED: Final = 6
"""Added to the demo's seed for every picture's first noise. Chosen by eye among nine:
in three of the others the dog is missing or a fragment, and in most the cat's
teal is less its own."""

SCENES: Final = ("", "in the snow", "in the forest", "at night")
"""Endings of the prompts that each concept is drawn by, before and after fusion."""


@dataclass(frozen=True)
class Name:
    """A concept in a prompt."""

    site: str
    concept: str
    class_word: str

    @property
    def placeholder(self) -> str:
        """How a prompt names it: `<site/concept>` would do where names clash."""
        return f"<{self.concept}>"


def single_prompts(name: Name) -> list[str]:
    """The prompts that one concept is drawn by."""
    return [f"a photo of {name.placeholder} {scene}".strip() for scene in SCENES]


def boxes(count: int) -> list[Box]:
    """Boxes side by side, each a square of the picture's height."""
    return [(index / count, 0.0, (index + 1) / count, 1.0) for index in range(count)]


def regional_layout(subjects: Sequence[str], kinds: Sequence[str], side: int) -> Layout:
    """A wide picture, each subject in its own square.

    Args:
        subjects: Placeholders, or "a cat" and so on for the bare base.
        kinds: "a cat" and so on: the context names what stands where.
        side: Pixels of one square, and of the picture's height.
    """
    regions = tuple(
        Region(f"{subject} {CONTEXT}", box)
        for subject, box in zip(subjects, boxes(len(subjects)), strict=True)
    )
    context = f"a photo of {_listed(kinds)} {CONTEXT}"
    return Layout(context, side * len(subjects), side, regions=regions)


def direct_layout(subjects: Sequence[str], side: int) -> Layout:
    """The same picture by one ordinary prompt that names every subject."""
    prompt = f"a photo of {_listed(subjects)} {CONTEXT}"
    return Layout(prompt, side * len(subjects), side)


def _listed(subjects: Sequence[str]) -> str:
    parts = [", ".join(subjects[:-1]), subjects[-1]]
    return " and ".join(part for part in parts if part)
