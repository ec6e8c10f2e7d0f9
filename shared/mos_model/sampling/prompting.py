"""The prompts of a layout, negative ones included."""

from mos_model.layouts.layout import Layout, Region
from mos_model.prompts.prompt_tokens import placeholders


def part_prompts(
    layout: Layout, *, negative: bool, exclude_others: bool = False
) -> list[str | None]:
    """The context's prompt and each region's, or their negative prompts.

    An empty negative prompt is None, no prompt at all (see `PromptEncoder.encode`).

    Args:
        layout: The layout.
        negative: Whether the negative prompts are wanted.
        exclude_others: Whether regions' negative prompts name the concepts of the
            other regions, so that these stay out of them.
    """
    if not negative:
        return [layout.prompt, *(region.prompt for region in layout.regions)]
    own = (_negative(layout, region, exclude_others) for region in layout.regions)
    return [prompt or None for prompt in (layout.negative_prompt, *own)]


def all_prompts(layout: Layout, *, exclude_others: bool = False) -> list[str]:
    """Every prompt once."""
    prompts = [
        prompt or ""
        for negative in (False, True)
        for prompt in part_prompts(
            layout, negative=negative, exclude_others=exclude_others
        )
    ]
    return list(dict.fromkeys(prompts))


def _negative(layout: Layout, region: Region, exclude_others: bool) -> str:
    own = region.negative_prompt
    own = layout.negative_prompt if own is None else own
    if not exclude_others:
        return own
    others = [
        f"<{name}>"
        for other in layout.regions
        for name in placeholders(other.prompt)
        if name not in placeholders(region.prompt)
    ]
    return ", ".join(part for part in dict.fromkeys((own, *others)) if part)
