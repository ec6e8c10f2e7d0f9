"""Pictures from a base with a fused model on it."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import diffusers
import torch
from PIL import Image

from mos_shared.applying import applied, check_base
from mos_shared.base import Base
from mos_shared.concept import FusedModel
from mos_shared.errors import LayoutError
from mos_shared.layerwise import layerwise
from mos_shared.prompts import PromptEncoder
from mos_shared.sampling.attention import RegionText, regional_attention
from mos_shared.sampling.layout import Layout

OnStep = Callable[[], None]

_PIPELINE_FACTOR: Final = 8  # diffusers' pipelines take no other sides


class Sampler:
    """A base ready to sample, with a fused model merged in (see `sampling`)."""

    def __init__(self, base: Base, encoder: PromptEncoder) -> None:
        """Take a base and the words at hand; use `sampling` to make one."""
        self._base, self._encoder = base, encoder

    @torch.no_grad()
    def sample(
        self,
        layout: Layout,
        *,
        seeds: Sequence[int],
        steps: int | None = None,
        guidance: float | None = None,
        scheduler: str | None = None,
        lead: float | None = None,
        isolation: float | None = None,
        on_step: OnStep = lambda: None,
    ) -> list[Image.Image]:
        """One picture a seed.

        Args:
            layout: Size, prompts and regions.
            seeds: Of each picture's first noise; drawn on the CPU, so that every
                device starts alike.
            steps: Sampling steps; the base's own by default.
            guidance: Classifier-free guidance; the base's own by default.
            scheduler: A diffusers scheduler's class name; the base's own by default.
            lead: The first share of the steps, 0 to 1, in which the context's prompt
                lays out the whole picture; the base's own by default, else 0.
            isolation: The share of the steps up to which self-attention then stays
                inside each region; the base's own by default, else 0.
            on_step: Called after every step.

        Raises:
            LayoutError: a size the base cannot draw, or an unknown scheduler.
            PromptError: an unknown placeholder, or a prompt that is too long.
        """
        defaults = self._base.defaults.get("sample", {})
        factor = self._base.pipeline.vae_scale_factor
        _check_size(layout, factor)
        strength = guidance if guidance is not None else defaults.get("guidance", 7.5)
        name = scheduler or defaults.get("scheduler", "DPMSolverMultistepScheduler")
        text = self._encoder.encode([layout.prompt, layout.negative_prompt])
        stacked = text.stacked()
        latents = (layout.height // factor, layout.width // factor)
        total = steps or defaults.get("steps", 25)
        first = lead if lead is not None else defaults.get("lead", 0.0)
        apart = isolation if isolation is not None else defaults.get("isolation", 0.0)
        tell: Callable[[float], None] = _ignore
        with ExitStack() as stack:
            stack.enter_context(layerwise(self._base.unet))
            stack.enter_context(_scheduler(self._base, name))
            if layout.regions:
                regions = self._region_texts(layout, guided=strength > 1)
                tell = stack.enter_context(
                    regional_attention(
                        self._base.unet,
                        regions,
                        latents,
                        lead=first,
                        isolation=apart,
                    )
                )
            output = self._base.pipeline(
                prompt_embeds=stacked[:1].expand(len(seeds), -1, -1),
                negative_prompt_embeds=stacked[1:].expand(len(seeds), -1, -1),
                height=layout.height,
                width=layout.width,
                num_inference_steps=total,
                guidance_scale=strength,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
                callback_on_step_end=_calling(on_step, tell, total),
                **self._pooled(text.pooled, len(seeds)),
            )
        return list(output.images)

    def _region_texts(self, layout: Layout, *, guided: bool) -> list[RegionText]:
        texts = []
        for region in layout.regions:
            negative = region.negative_prompt
            negative = layout.negative_prompt if negative is None else negative
            prompts = [negative, region.prompt] if guided else [region.prompt]
            hidden = self._encoder.encode(prompts).hidden
            texts.append(RegionText(region.box, region.weight, hidden))
        return texts

    @staticmethod
    def _pooled(pooled: torch.Tensor | None, count: int) -> dict[str, Any]:
        if pooled is None:
            return {}
        return {
            "pooled_prompt_embeds": pooled[:1].expand(count, -1),
            "negative_pooled_prompt_embeds": pooled[1:].expand(count, -1),
        }


@contextmanager
def sampling(
    base: Base, model: FusedModel | None = None, *, strength: float = 1.0
) -> Iterator[Sampler]:
    """A sampler with `model` merged into `base`, taken out again at the end.

    Raises:
        BaseMismatchError: the model was made for another base.
    """
    if model is None:
        yield Sampler(base, PromptEncoder(base, {}))
        return
    check_base(base, model.base, "the model")
    with applied(base, model.lora, strength=strength):
        yield Sampler(base, PromptEncoder.of(base, model))


@contextmanager
def _scheduler(base: Base, name: str) -> Iterator[None]:
    """Let the pipeline use a scheduler by name."""
    family = getattr(diffusers, name, None)
    if family is None or not hasattr(family, "from_config"):
        raise LayoutError(f"scheduler {name!r}: diffusers has none of that name")
    kept = base.pipeline.scheduler
    base.pipeline.scheduler = family.from_config(kept.config)
    try:
        yield
    finally:
        base.pipeline.scheduler = kept


def _check_size(layout: Layout, factor: int) -> None:
    factor = math.lcm(factor, _PIPELINE_FACTOR)
    for side in (layout.width, layout.height):
        if side < factor or side % factor:
            below = max(factor, side // factor * factor)
            raise LayoutError(
                f"size {layout.width}x{layout.height}: sides are multiples of "
                f"{factor}, such as {below} or {below + factor}"
            )


def _calling(
    on_step: OnStep, share_done: Callable[[float], None], total: int
) -> Callable[..., dict[str, Any]]:
    def tell(pipe: Any, step: int, timestep: Any, kwargs: Any) -> dict[str, Any]:
        share_done((step + 1) / total)
        on_step()
        return dict(kwargs)

    return tell


def _ignore(share: float) -> None:
    """Nothing changes as the steps go by."""
