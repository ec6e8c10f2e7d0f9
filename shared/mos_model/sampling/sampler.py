"""Pictures from a base with a fused model on it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import Any, Literal, Unpack

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mos_model.bases.base import Base
from mos_model.bases.base_outline import outline_of
from mos_model.concepts.applying import applied, check_base
from mos_model.concepts.concept import FusedModel
from mos_model.layouts.layout import Layout
from mos_model.prompts.encoder import EncodedPrompts, PromptEncoder
from mos_model.prompts.layerwise import layerwise
from mos_model.sampling.attention import RegionalTexts, regional_attention
from mos_model.sampling.checking import check_sampling
from mos_model.sampling.control_models import ControlModels
from mos_model.sampling.controls import controlled
from mos_model.sampling.prompting import part_prompts
from mos_model.sampling.schedulers import scheduler_named
from mos_model.sampling.settings import Given, SamplingSettings
from mos_model.sampling.shares import Shares

OnStep = Callable[[], None]
OnStepEnd = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]
"""diffusers' own `callback_on_step_end`: pipeline, step, timestep, tensors."""


class Sampler:
    """A base ready to sample, with a fused model merged in (see `sampling`)."""

    def __init__(self, base: Base, encoder: PromptEncoder) -> None:
        """Take a base and an encoder of prompts; use `sampling` to make one."""
        self._base, self._encoder = base, encoder
        self._controls = ControlModels(base)

    def sample(
        self,
        layouts: Layout | Sequence[Layout],
        *,
        seeds: Sequence[int],
        batch_size: int = 16,
        on_step: OnStep = lambda: None,
        callback_on_step_end: OnStepEnd | None = None,
        **settings: Unpack[Given],
    ) -> list[Image.Image]:
        """One picture a seed; see `in_batches`."""
        drawn = self.in_batches(
            layouts,
            seeds=seeds,
            batch_size=batch_size,
            on_step=on_step,
            callback_on_step_end=callback_on_step_end,
            **settings,
        )
        return [picture for batch in drawn for picture in batch]

    @torch.no_grad()
    def in_batches(
        self,
        layouts: Layout | Sequence[Layout],
        *,
        seeds: Sequence[int],
        batch_size: int = 16,
        on_step: OnStep = lambda: None,
        callback_on_step_end: OnStepEnd | None = None,
        **settings: Unpack[Given],
    ) -> Iterator[list[Image.Image]]:
        """One picture a seed, as many at once as are sampled at once.

        Args:
            layouts: One for all seeds, or one for each of them, all of one size.
            seeds: Of each picture's first noise; drawn on the CPU, so that every
                device starts alike. A picture does not depend on its neighbours in
                the batch, up to rounding.
            batch_size: Pictures sampled at once.
            on_step: Called after every step of every batch (see `batches`).
            callback_on_step_end: diffusers' own, called before `on_step`.
            settings: See `SamplingSettings`; the base's own by default.

        Yields:
            The pictures of each batch, in the order of the seeds.

        Raises:
            MosError: see `checking.check_sampling`.
        """
        for batch, own in self._prepared(layouts, seeds, batch_size, settings):
            pictures: list[Image.Image] = batch.sample(
                own, on_step, callback_on_step_end
            )
            yield pictures

    @torch.no_grad()
    def latents(
        self,
        layouts: Layout | Sequence[Layout],
        *,
        seeds: Sequence[int],
        batch_size: int = 16,
        **settings: Unpack[Given],
    ) -> Float[Tensor, "n channels height width"]:
        """What `sample` decodes, one row a seed, float32 on the CPU."""
        drawn = [
            batch.sample(own, output_type="latent").float().cpu()
            for batch, own in self._prepared(layouts, seeds, batch_size, settings)
        ]
        return torch.cat(drawn)

    def _prepared(
        self,
        layouts: Layout | Sequence[Layout],
        seeds: Sequence[int],
        batch_size: int,
        settings: Given,
    ) -> Iterator[tuple["_Batch", Sequence[int]]]:
        """Every batch and its seeds, all checked before the first."""
        chosen = SamplingSettings.of(self._base, settings)
        every = _one_each(layouts, seeds)
        check_sampling(
            outline_of(self._base),
            self._encoder.tokenizer,
            every,
            seeds=seeds,
            settings=chosen,
        )
        for first, last in _batches(every, batch_size):
            batch = _Batch(
                self._base, self._encoder, self._controls, every[first:last], chosen
            )
            yield batch, seeds[first:last]

    def batches(
        self,
        layouts: Layout | Sequence[Layout],
        *,
        seeds: Sequence[int],
        batch_size: int = 16,
    ) -> int:
        """In how many batches `sample` draws these."""
        return len(_batches(_one_each(layouts, seeds), batch_size))

    @torch.no_grad()
    def decoded(
        self, latents: Float[Tensor, "n channels height width"]
    ) -> list[Image.Image]:
        """Latents of a running `sample` as pictures, noise and all: previews."""
        pipeline = self._base.pipeline
        vae = pipeline.vae
        kept = vae.dtype
        if kept == torch.float16 and vae.config.force_upcast:
            vae.to(torch.float32)
        try:
            scaled = latents.to(vae.dtype) / vae.config.scaling_factor
            decoded = vae.decode(scaled, return_dict=False)[0]
        finally:
            vae.to(kept)
        images: list[Image.Image] = pipeline.image_processor.postprocess(decoded)
        return images


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


class _Batch:
    """Pictures that are sampled at once: of one size, with the same control models."""

    def __init__(
        self,
        base: Base,
        encoder: PromptEncoder,
        controls: ControlModels,
        layouts: Sequence[Layout],
        settings: SamplingSettings,
    ) -> None:
        self._base, self._encoder = base, encoder
        self._layouts, self._settings = layouts, settings
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

    def sample(
        self,
        seeds: Sequence[int],
        on_step: OnStep = lambda: None,
        callback_on_step_end: OnStepEnd | None = None,
        output_type: Literal["pil", "latent"] = "pil",
    ) -> Any:
        """A list of pictures, or their latents in one tensor."""
        first, settings = self._layouts[0], self._settings
        prompts, rows = self._prompts()
        encoded = self._encoder.encode(prompts)
        tells: list[Callable[[float], None]] = []
        with ExitStack() as stack:
            stack.enter_context(layerwise(self._base.unet))
            stack.enter_context(_scheduler(self._base, settings))
            if any(layout.regions for layout in self._layouts):
                tells.append(stack.enter_context(self._regional(encoded, rows)))
            if first.controls:
                tells.append(
                    stack.enter_context(
                        controlled(
                            self._base, self._models, self._layouts, self._shares
                        )
                    )
                )
            output = self._base.pipeline(
                **self._contexts(encoded, rows),
                height=first.height,
                width=first.width,
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
                callback_on_step_end=_calling(on_step, tells, callback_on_step_end),
                output_type=output_type,
            )
        return output.images

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


def _one_each(layouts: Layout | Sequence[Layout], seeds: Sequence[int]) -> list[Layout]:
    return [layouts] * len(seeds) if isinstance(layouts, Layout) else list(layouts)


def _batches(layouts: Sequence[Layout], batch_size: int) -> list[tuple[int, int]]:
    """First and last+1 of every batch; its layouts have the same control models."""
    kinds = [tuple(control.model for control in x.controls) for x in layouts]
    batches = []
    for _, group in groupby(range(len(layouts)), key=kinds.__getitem__):
        own = list(group)
        for first in range(own[0], own[-1] + 1, batch_size):
            batches.append((first, min(first + batch_size, own[-1] + 1)))
    return batches


@contextmanager
def _scheduler(base: Base, settings: SamplingSettings) -> Iterator[None]:
    """Let the pipeline use the settings' scheduler."""
    kept = base.pipeline.scheduler
    own = scheduler_named(settings.scheduler, kept, steps=settings.steps)
    base.pipeline.scheduler = own
    try:
        yield
    finally:
        base.pipeline.scheduler = kept


def _calling(
    on_step: OnStep,
    tells: Sequence[Callable[[float], None]],
    callback_on_step_end: OnStepEnd | None,
) -> OnStepEnd:
    def tell(
        pipe: Any, step: int, timestep: Any, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        if callback_on_step_end is not None:
            kwargs = callback_on_step_end(pipe, step, timestep, kwargs)
        for told in tells:
            told((step + 1) / pipe.num_timesteps)
        on_step()
        return dict(kwargs)

    return tell
