"""The settings of gradient fusion."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from mos_model.bases.base import Base

Inputs = Literal["solo", "chained"]
Positions = Literal["all", "concept"]

SCENES: Final = (
    *("", "on the beach", "in the snow", "in the forest", "in the city"),
    *("at night", "in a room", "in the desert"),
)
"""What follows a concept in the prompts that its inputs are captured with."""

PRIOR_SUBJECTS: Final = (
    "cat",
    "dog",
    "person",
    "house",
    "car",
    "tree",
    "bird",
    "chair",
)
"""Ordinary things whose pictures fusion should leave as they are."""


@dataclass(frozen=True)
class FusionSettings:
    """How concepts are fused; a release records all of it."""

    ridge: float = 0.01
    """lambda, relative to the mean diagonal of M. 0 is the paper's bare minimiser."""

    prior: float = 0.5
    """mu, the weight of generic prompts with the base's own outputs as target."""

    inputs: Inputs = "solo"
    """Where later stages' inputs come from: each concept's own model, which keeps
    joins constant work, or the already fused earlier stages, as in the reference."""

    positions: Positions = "all"
    """Which text features count as inputs of K and V: all tokens of a prompt, or the
    concept's and the end token alone, as in the reference."""

    focus: bool = True
    """Weigh the cells of a concept's capture by the attention to its words (see
    `focus`); the reference counts all cells alike."""

    balance: bool = True
    """Scale every concept's moments to the same trace, so that none dominates."""

    scenes: tuple[str, ...] = SCENES
    """Endings of the capture prompts."""

    prior_subjects: tuple[str, ...] = PRIOR_SUBJECTS
    """Subjects of the generic prompts."""

    steps: int = 20
    """Sampling steps of the runs that spatial inputs are captured from."""

    guidance: float = 5.0
    """Classifier-free guidance of these runs."""

    seed: int = 0
    """Seed of these runs' initial noise; equal seeds give equal moments."""

    @staticmethod
    def for_base(base: Base, **overrides: Any) -> "FusionSettings":
        """The settings a base brings along, with `overrides` on top.

        The base's `mos_defaults.json` may hold them under "fusion"; steps and guidance
        follow its "sample" settings.
        """
        sample = base.defaults.get("sample", {})
        known = {key: sample[key] for key in ("steps", "guidance") if key in sample}
        known |= dict(base.defaults.get("fusion", {})) | overrides
        for key in ("scenes", "prior_subjects"):
            if key in known:
                known[key] = tuple(known[key])
        return FusionSettings(**known)

    def concept_prompts(self, name: str) -> list[str]:
        """The prompts a concept's inputs are captured with."""
        placeholder = f"<{name}>"
        ends = [f" {scene}" if scene else "" for scene in self.scenes]
        return [placeholder, *(f"a photo of {placeholder}{end}" for end in ends)]

    def prior_prompts(self) -> list[str]:
        """Generic prompts, each subject in one scene."""
        scenes = self.scenes or ("",)
        return [
            f"a photo of a {subject} {scenes[index % len(scenes)]}".strip()
            for index, subject in enumerate(self.prior_subjects)
        ]
