"""What the demo's page shows, as plain values and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from mos_model.layouts.layout import Box


@dataclass(frozen=True)
class RegionStory:
    """One region of the picture."""

    concept: str
    prompt: str
    box: Box


@dataclass(frozen=True)
class Pair:
    """One prompt and seed, sampled twice."""

    prompt: str
    before: Image.Image
    """From the site's own concept, unfused."""

    after: Image.Image
    """From the fused model."""


@dataclass(frozen=True)
class SiteStory:
    """What one site did, and what became of its concept."""

    site: str
    concept: str
    class_word: str
    pictures: Sequence[Image.Image]
    """What it was tuned on; they never left the site but for this page."""

    pairs: Sequence[Pair]
    kept: Mapping[str, float]
    """Stage of fusion, and "all" -> share of the concept's change kept, up to 1."""


@dataclass(frozen=True)
class WireStory:
    """What one site exchanged with the centre."""

    site: str
    picture_bytes: int
    """Its pictures as files; none of it was sent."""

    sent_bytes: int
    """Contents of every message the site sent."""

    received_bytes: int
    """Contents of every message it received."""

    tensors: int
    """Tensors in the bundle it sent."""


@dataclass(frozen=True)
class DemoStory:
    """Everything on the page."""

    regional: Image.Image
    regions: Sequence[RegionStory]
    context: str
    """The prompt outside the regions."""

    direct: Image.Image
    """The same concepts in one ordinary prompt, without regions."""

    direct_prompt: str
    bare: Image.Image
    """The base alone: the same regions and seed, class words for the concepts."""

    bare_prompts: Sequence[str]
    sites: Sequence[SiteStory]
    wire: Sequence[WireStory]
    seed: int
    """Of every picture's first noise."""

    release_bytes: int
    drift: float
    """How far the fused model moves the base's outputs on generic prompts, relative
    to these outputs."""

    seconds: Mapping[str, float]
    """Phase -> wall time in seconds, in the order they ran."""

    manifest: Mapping[str, Any]
    """The release's signed manifest, as plain values."""

    facts: Mapping[str, str]
    """Single lines: base, seed, steps, versions."""
