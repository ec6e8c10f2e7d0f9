"""Whether layouts can be sampled on a base, found out without its weights."""

import math
from collections.abc import Sequence
from typing import Final

from mos_model.bases.base_outline import BaseOutline
from mos_model.errors import LayoutError
from mos_model.layouts.layout import Layout
from mos_model.prompts.prompt_tokens import PromptTokenizer
from mos_model.sampling.control_models import check_controls
from mos_model.sampling.prompting import all_prompts, part_prompts
from mos_model.sampling.schedulers import scheduler_named
from mos_model.sampling.settings import SamplingSettings
from mos_model.sampling.shares import Shares

_PIPELINE_FACTOR: Final = 8  # diffusers' pipelines take no other sides
_LEAST_SEED: Final = -(2**63)
_MOST_SEED: Final = 2**64 - 1
"""What `torch.Generator` takes."""


def check_sampling(
    outline: BaseOutline,
    tokenizer: PromptTokenizer,
    layouts: Sequence[Layout],
    *,
    seeds: Sequence[int],
    settings: SamplingSettings,
) -> tuple[str, ...]:
    """Refuse what cannot be sampled, before any time is spent on it.

    Args:
        outline: The base.
        tokenizer: With the words of the model on it.
        layouts: One for each seed.
        seeds: Of each picture's first noise.
        settings: How they are sampled.

    Returns:
        Notes on what is sampled and yet has no effect, or next to none.

    Raises:
        LayoutError: a size the base cannot draw, an unknown scheduler, a seed that is
            no whole number of 64 bits, or a layout that contradicts itself.
        PromptError: an unknown placeholder, or a prompt that is too long.
        ZooError: this installation lacks a control of the mini zoo.
    """
    if len(layouts) != len(seeds):
        raise LayoutError(
            f"{len(layouts)} layouts and {len(seeds)} seeds; one seed each"
        )
    for seed in seeds:
        _check_seed(seed)
    scheduler_named(settings.scheduler, outline.scheduler, steps=settings.steps)
    return check_layouts(outline, tokenizer, layouts, settings)


def check_layouts(
    outline: BaseOutline,
    tokenizer: PromptTokenizer,
    layouts: Sequence[Layout],
    settings: SamplingSettings,
) -> tuple[str, ...]:
    """The part of `check_sampling` that concerns layouts, whatever the scheduler."""
    if len({(layout.width, layout.height) for layout in layouts}) > 1:
        raise LayoutError("layouts of several sizes; one batch has one size")
    notes: list[str] = []
    for layout in dict.fromkeys(layouts):
        notes += _check_layout(outline, tokenizer, layout, settings)
    return tuple(dict.fromkeys(notes))


def _check_layout(
    outline: BaseOutline,
    tokenizer: PromptTokenizer,
    layout: Layout,
    settings: SamplingSettings,
) -> list[str]:
    _check_size(layout, outline.cell)
    size = (layout.height // outline.cell, layout.width // outline.cell)
    cells = Shares(layout, size, levels=1).cells[1:].tolist()
    check_controls(layout, outline)
    exclude = settings.exclude_others
    for prompt in all_prompts(layout, exclude_others=exclude):
        tokenizer.check(prompt)
    notes = [
        f"region {region.prompt!r} covers {own:.2g} of a cell of "
        f"{outline.cell}x{outline.cell} pixels, and will hardly show"
        for region, own in zip(layout.regions, cells, strict=True)
        if own < 1
    ]
    unguided = settings.guidance == 1 or outline.unet.get("time_cond_proj_dim")
    if unguided and any(part_prompts(layout, negative=True, exclude_others=exclude)):
        why = "guidance 1" if settings.guidance == 1 else "this base's guidance"
        notes.append(f"negative prompts have no effect: {why} does not use them")
    return notes


def _check_seed(seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise LayoutError(f"seed {seed!r}; a whole number")
    if not _LEAST_SEED <= seed <= _MOST_SEED:
        raise LayoutError(f"seed {seed}; from {_LEAST_SEED} to {_MOST_SEED}")


def _check_size(layout: Layout, cell: int) -> None:
    factor = math.lcm(cell, _PIPELINE_FACTOR)
    sides = (layout.width, layout.height)
    if any(side < factor or side % factor for side in sides):
        below = [max(factor, side // factor * factor) for side in sides]
        above = [max(factor, -(-side // factor) * factor) for side in sides]
        near = " or ".join(
            dict.fromkeys(f"{width}x{height}" for width, height in (below, above))
        )
        raise LayoutError(
            f"size {layout.width}x{layout.height}: sides are multiples of {factor}; "
            f"the nearest are {near}"
        )
