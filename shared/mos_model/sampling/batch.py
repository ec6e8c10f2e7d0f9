"""Pictures that are sampled at once, by one call of the stock pipeline.

Everything regional is put on the base for the time of that call: layer-wise text,
attention by region, controls. Whatever else the pipeline can do stays as it is.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from mos_model.bases.base import Base
from mos_model.errors import LayoutError
from mos_model.layouts.layout import Layout
from mos_model.prompts.encoder import EncodedPrompts, PromptEncoder
from mos_model.prompts.layerwise import layerwise
from mos_model.sampling.attention import RegionalTexts, regional_attention
from mos_model.sampling.control_models import ControlModels
from mos_model.sampling.controls import controlled
from mos_model.sampling.prompting import part_prompts
from mos_model.sampling.settings import SamplingSettings
from mos_model.sampling.shares import Shares

OnStepEnd = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]
"""diffusers' own `callback_on_step_end`: pipeline, step, timestep, tensors."""


class Batch:
    """Pictures that are sampled at once: of one size, with the same control models."""

    def __init__(
        self,
        base: Base,
        encoder: PromptEncoder,
        controls: ControlModels,
        layouts: Sequence[Layout],
        settings: SamplingSettings,
    ) -> None:
        """Take checked layouts (`checking`), one a picture; see `Sampler`."""
        self._base, self._encoder = base, encoder
        self._layouts, self._settings = layouts, settings
        self._regions = any(layout.regions for layout in layouts)
        self._models = controls.of(layouts[0])
        self._guided = (
            settings.guidance > 1 and base.unet.config.time_cond_proj_dim is None
        )
        factor = base.pipeline.vae_scale_factor
        size = (layouts[0].height // factor, layouts[0].width // factor)
        levels = len(base.unet.config.block_out_channels)
        made = {
            layout: Shares(layout, size, levels=levels)
            for layout in dict.fromkeys(layouts)
        }
        self._shares = [made[layout] for layout in layouts]

    def run(
        self, scheduler: Any, on_step_end: OnStepEnd | None = None, **call: Any
    ) -> Any:
        """Sample.

        Args:
            scheduler: Of diffusers; the base has its own again afterwards.
            on_step_end: diffusers' own, with the stock pipeline as its first argument.
            call: What else the stock pipeline takes, of the generators on.

        Returns:
            What the stock pipeline returns.

        Raises:
            LayoutError: `on_step_end` switched guidance while there are regions.
        """
        first, settings = self._layouts[0], self._settings
        prompts, rows = self._prompts()
        encoded = self._encoder.encode(prompts)
        tells: list[Callable[[float], None]] = []
        with ExitStack() as stack:
            stack.enter_context(layerwise(self._base.unet))
            stack.enter_context(_scheduler(self._base, scheduler))
            if self._regions:
                tells.append(stack.enter_context(self._regional(encoded, rows)))
            if first.controls:
                tells.append(
                    stack.enter_context(
                        controlled(
                            self._base, self._models, self._layouts, self._shares
                        )
                    )
                )
            return self._base.pipeline(
                **self._contexts(encoded, rows),
                height=first.height,
                width=first.width,
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance,
                callback_on_step_end=self._calling(tells, on_step_end),
                **call,
            )

    def _calling(
        self, tells: Sequence[Callable[[float], None]], on_step_end: OnStepEnd | None
    ) -> OnStepEnd:
        def tell(
            pipe: Any, step: int, timestep: Any, kwargs: dict[str, Any]
        ) -> dict[str, Any]:
            if on_step_end is not None:
                kwargs = on_step_end(pipe, step, timestep, kwargs)
            if self._regions and pipe.do_classifier_free_guidance != self._guided:
                raise LayoutError(
                    "callback_on_step_end switched guidance during the run; with "
                    "regions it stays as it began"
                )
            for told in tells:
                told((step + 1) / pipe.num_timesteps)
            return dict(kwargs)

        return tell

    def _prompts(self) -> tuple[list[str | None], list[list[int]]]:
        """All prompts once, and each row's: of its context, then of its regions.

        Rows of negative prompts come first, as the pipelines have them.
        """
        exclude = self._settings.exclude_others
        wanted = [
            part_prompts(layout, negative=negative, exclude_others=exclude)
            for negative in (True, False)
            for layout in self._layouts
        ]
        prompts = list(dict.fromkeys(prompt for row in wanted for prompt in row))
        return prompts, [[prompts.index(prompt) for prompt in row] for row in wanted]

    def _regional(self, encoded: EncodedPrompts, rows: Sequence[Sequence[int]]) -> Any:
        shares = self._shares * 2
        if not self._guided:
            rows, shares = rows[len(self._layouts) :], self._shares
        return regional_attention(
            self._base.unet,
            RegionalTexts(encoded.hidden, rows, shares),
            lead=self._settings.lead,
            isolation=self._settings.isolation,
            base_ratio=self._settings.base_ratio,
        )

    def _contexts(
        self, encoded: EncodedPrompts, rows: Sequence[Sequence[int]]
    ) -> dict[str, Tensor]:
        """The contexts' encodings, as the pipelines' arguments."""
        count = len(self._layouts)
        stacked = encoded.stacked()
        contexts = torch.tensor([row[0] for row in rows], device=stacked.device)
        negative, positive = contexts[:count], contexts[count:]
        given = {
            "prompt_embeds": stacked[positive],
            "negative_prompt_embeds": stacked[negative],
        }
        if encoded.pooled is not None:
            given["pooled_prompt_embeds"] = encoded.pooled[positive]
            given["negative_pooled_prompt_embeds"] = encoded.pooled[negative]
        return given


@contextmanager
def _scheduler(base: Base, own: Any) -> Iterator[None]:
    """Let the pipeline use a scheduler."""
    kept = base.pipeline.scheduler
    base.pipeline.scheduler = own
    try:
        yield
    finally:
        base.pipeline.scheduler = kept
