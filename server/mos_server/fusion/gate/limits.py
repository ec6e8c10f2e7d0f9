"""The gate's limits and what it draws; a base may bring its own."""

from dataclasses import dataclass
from typing import Any

from mos_model.bases.base import Base


@dataclass(frozen=True)
class GateLimits:
    """What a release may change. Chosen by `python -m tests.benchmarks.canary`.

    Distances are squared and relative: 1 is the spread of the base's own pictures of
    different prompts.
    """

    generic: float = 0.05
    """Mean distance of generic pictures from the base's."""

    words: float = 0.12
    """Distance of the pictures of one ordinary word from the base's, at most."""

    concepts: float = 0.05
    """Distance of the pictures of one concept from the last release's, at most."""

    lost: float = 0.12
    """Share of a concept's change that each of the others may cost it: `lost_among`."""

    seeds: int = 4
    """Pictures of one prompt."""

    steps: int = 4
    """Sampling steps of a picture, without guidance."""

    most_generic: int = 6
    """Generic prompts."""

    most_classes: int = 8
    """Class words; those of new concepts first."""

    most_words: int = 6
    """Common words, drawn anew at every fusion, so that nobody knows them before."""

    most_concepts: int = 4
    """Concepts that the last release holds as they are, drawn anew at every fusion."""

    def lost_among(self, concepts: int) -> float:
        """What the presence of the others may cost one of so many concepts together.

        1 - (1 - lost)^(n - 1): every concept more takes its share of what the ones
        before it left. The largest loss in honest federations of 2 to 14 concepts
        follows it. Limits of 1 and more are taken as they are.
        """
        if self.lost >= 1:
            return self.lost
        return 1 - (1 - self.lost) ** max(1, concepts - 1)

    @staticmethod
    def for_base(base: Base, **overrides: Any) -> "GateLimits":
        """Those of a base's `mos_defaults.json` ("gate"), with `overrides` on top."""
        return GateLimits(**dict(base.defaults.get("gate", {})) | overrides)
