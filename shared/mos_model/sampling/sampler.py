"""Pictures from a base with a fused model on it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import Any, Unpack

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mos_model.bases.base import Base
from mos_model.bases.base_outline import outline_of
from mos_model.concepts.applying import applied, check_base
from mos_model.concepts.concept import FusedModel
from mos_model.layouts.layout import Layout
from mos_model.prompts.encoder import PromptEncoder
from mos_model.sampling.batch import Batch, OnStepEnd
from mos_model.sampling.checking import check_sampling
from mos_model.sampling.control_models import ControlModels
from mos_model.sampling.schedulers import scheduler_named
from mos_model.sampling.settings import Given, SamplingSettings

OnStep = Callable[[], None]


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
        told = _also(on_step, callback_on_step_end)
        for run, own in self._prepared(layouts, seeds, batch_size, settings):
            pictures: list[Image.Image] = run(told, generator=own).images
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
            run(None, generator=own, output_type="latent").images.float().cpu()
            for run, own in self._prepared(layouts, seeds, batch_size, settings)
        ]
        return torch.cat(drawn)

    def _prepared(
        self,
        layouts: Layout | Sequence[Layout],
        seeds: Sequence[int],
        batch_size: int,
        settings: Given,
    ) -> Iterator[tuple[Callable[..., Any], list[torch.Generator]]]:
        """Every batch's run and its generators, all checked before the first."""
        chosen = SamplingSettings.of(self._base, settings)
        every = _one_each(layouts, seeds)
        check_sampling(
            outline_of(self._base),
            self._encoder.tokenizer,
            every,
            seeds=seeds,
            settings=chosen,
        )
        own = self._base.pipeline.scheduler
        for first, last in _batches(every, batch_size):
            batch = Batch(
                self._base, self._encoder, self._controls, every[first:last], chosen
            )
            scheduler = scheduler_named(chosen.scheduler, own, steps=chosen.steps)
            generators = [
                torch.Generator().manual_seed(seed) for seed in seeds[first:last]
            ]
            yield partial(batch.run, scheduler), generators

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
    with prepared(base, model, strength=strength) as encoder:
        yield Sampler(base, encoder)


@contextmanager
def prepared(
    base: Base, model: FusedModel | None, *, strength: float = 1.0
) -> Iterator[PromptEncoder]:
    """Like `sampling`, for batches: the encoder of prompts with the model's words."""
    if model is None:
        yield PromptEncoder(base, {})
        return
    check_base(base, model.base, "the model")
    with applied(base, model.lora, strength=strength):
        yield PromptEncoder.of(base, model)


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


def _also(on_step: OnStep, callback_on_step_end: OnStepEnd | None) -> OnStepEnd:
    def tell(
        pipe: Any, step: int, timestep: Any, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        if callback_on_step_end is not None:
            kwargs = callback_on_step_end(pipe, step, timestep, kwargs)
        on_step()
        return kwargs

    return tell
