"""The demo's pictures: every concept before and after fusion, and all in one.

Pairs share prompt, seed and sampler; every picture is drawn once.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mos_lab.demo.scenes import (
    SEED,
    Name,
    direct_layout,
    regional_layout,
    single_prompts,
)
from mos_lab.demo.story import Pair
from mos_model.bases.base import Base
from mos_model.concepts.applying import as_fused
from mos_model.concepts.concept import Concept, FusedModel
from mos_model.errors import BaseError
from mos_model.sampling import Layout, Sampler, sampling
from mos_zoo.world.captions import with_article

OnPicture = Callable[[str, int, int], None]
"""Called with what was drawn, how many pictures are done, and of how many."""


@dataclass(frozen=True)
class DemoPictures:
    """Everything the demo draws."""

    pairs: Mapping[str, Sequence[Pair]]
    """Site -> its concept's pairs."""

    layout: Layout
    """Of the regional picture; its regions in the order of the sites."""

    regional: Image.Image
    direct: Image.Image
    """The same concepts by one prompt, without regions."""

    direct_prompt: str
    bare: Image.Image
    """The base alone by the same regions, class words for the concepts."""

    bare_prompts: Sequence[str]


def working_side(folder: Path) -> int:
    """Width and height in pixels that a base was made for, from its configs.

    Raises:
        BaseError: a config is missing or lacks its sizes.
    """
    try:
        unet = json.loads((folder / "unet" / "config.json").read_text("utf-8"))
        vae = json.loads((folder / "vae" / "config.json").read_text("utf-8"))
        side: int = unet["sample_size"] * 2 ** (len(vae["block_out_channels"]) - 1)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BaseError(
            f"{folder}: its picture size cannot be read: {error}"
        ) from error
    return side


def draw(
    base: Base,
    concepts: Mapping[str, Concept],
    release: FusedModel,
    *,
    seed: int,
    on_picture: OnPicture,
) -> DemoPictures:
    """Draw the demo's pictures.

    Args:
        base: The base; unchanged afterwards.
        concepts: Site -> the concept that it tuned.
        release: What the centre fused of them.
        seed: Of every picture's first noise.
        on_picture: Called after every picture.

    Raises:
        MosError: a concept or the release does not fit the base.
    """
    names = {
        site: Name(site, concept.facts.name, concept.facts.class_word)
        for site, concept in concepts.items()
    }
    artist = _Artist(base, seed, on_picture, total=_count(list(names.values())))
    before = {
        site: artist.singles(as_fused(concept), names[site], "before fusion")
        for site, concept in concepts.items()
    }
    after = {
        site: artist.singles(release, name, "after fusion")
        for site, name in names.items()
    }
    pairs = {
        site: [
            Pair(prompt, *two)
            for prompt, *two in zip(
                single_prompts(name), before[site], after[site], strict=True
            )
        ]
        for site, name in names.items()
    }
    placeholders = [name.placeholder for name in names.values()]
    ordinary = [with_article(name.class_word) for name in names.values()]
    side = working_side(base.folder)
    layout = regional_layout(placeholders, ordinary, side)
    direct = direct_layout(placeholders, side)
    bare = regional_layout(ordinary, ordinary, side)
    return DemoPictures(
        pairs=pairs,
        layout=layout,
        regional=artist.one(release, layout, "by region"),
        direct=artist.one(release, direct, "without regions"),
        direct_prompt=direct.prompt,
        bare=artist.one(None, bare, "the bare base"),
        bare_prompts=[region.prompt for region in bare.regions],
    )


class _Artist:
    """Draws from one seed and counts."""

    def __init__(
        self, base: Base, seed: int, on_picture: OnPicture, *, total: int
    ) -> None:
        self._base, self._seed, self._tell = base, seed, on_picture
        self._done, self._total = 0, total
        self._side = working_side(base.folder)

    def singles(self, model: FusedModel, name: Name, when: str) -> list[Image.Image]:
        with sampling(self._base, model) as sampler:
            return [
                self._draw(
                    sampler,
                    Layout(prompt, self._side, self._side),
                    f"{name.placeholder} {when}",
                )
                for prompt in single_prompts(name)
            ]

    def one(self, model: FusedModel | None, layout: Layout, what: str) -> Image.Image:
        with sampling(self._base, model) as sampler:
            return self._draw(sampler, layout, what)

    def _draw(self, sampler: Sampler, layout: Layout, what: str) -> Image.Image:
        image = sampler.sample(layout, seeds=[self._seed + SEED])[0]
        self._done += 1
        self._tell(what, self._done, self._total)
        return image


def _count(names: Sequence[Name]) -> int:
    return 2 * sum(len(single_prompts(name)) for name in names) + 3
