"""Regional sampling as a diffusers pipeline: called like one, and like one it answers.

    pipe = RegionalPipeline.from_pretrained("mini", release="release.safetensors")
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    images = pipe(
        "a photo on the beach",
        regions=["0,0,0.5,1: a photo of <rex>", "0.5,0,1,1: a photo of <miso>"],
        generator=torch.Generator().manual_seed(0),
    ).images

Without regions and model, a call gives what `StableDiffusionPipeline` or
`StableDiffusionXLPipeline` gives, whose defaults it has. One difference is kept: a
prompt with more tokens than the base reads is refused, not cut.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, Unpack, cast

import torch
from jaxtyping import Float
from torch import Tensor

from mos_model.bases.base import Base, load_base
from mos_model.bases.base_outline import outline_of
from mos_model.concepts.applying import check_base
from mos_model.concepts.concept import FusedModel
from mos_model.concepts.model_files import concepts_of, model_bytes, release_of
from mos_model.errors import LayoutError
from mos_model.layouts.layout import Control, Layout, Region
from mos_model.sampling.batch import Batch, OnStepEnd
from mos_model.sampling.checking import check_layouts
from mos_model.sampling.control_models import ControlModels
from mos_model.sampling.sampler import prepared
from mos_model.sampling.settings import Given, SamplingSettings

Regions = Sequence[Region | str] | Sequence[Sequence[Region | str]]
"""Of every picture, or a list for each prompt; text as `Region.parse` reads it."""

_REGIONAL: Final = ("lead", "isolation", "base_ratio", "exclude_others")
_TAKEN: Final = frozenset(
    {
        *("generator", "latents", "output_type", "return_dict"),
        *("callback_on_step_end_tensor_inputs", "timesteps", "sigmas", "eta"),
        *("guidance_rescale", "original_size", "crops_coords_top_left"),
        *("target_size", "negative_original_size", "negative_target_size"),
        *("negative_crops_coords_top_left", "denoising_end"),
    }
)
"""Arguments that the stock pipeline is handed as they are."""


class Call(TypedDict, total=False):
    """What a call may say besides prompt and regions; all of it as in diffusers.

    `eta`, `timesteps`, `sigmas`, `guidance_rescale`, and SDXL's sizes and
    `denoising_end` go to the stock pipeline as they are; others are refused.
    """

    negative_prompt: str | Sequence[str] | None
    """One for all, or one for each prompt."""

    height: int | None
    """Pixels; None is the size that the base works at."""

    width: int | None
    num_inference_steps: int
    guidance_scale: float
    """Of classifier-free guidance; 1 or less is without."""

    num_images_per_prompt: int
    generator: torch.Generator | list[torch.Generator] | None
    """One for all pictures, or one for each; None is torch's global one."""

    latents: Float[Tensor, "n channels height width"] | None
    """First noise, n pictures of all prompts; cells, not pixels."""

    output_type: Literal["pil", "np", "pt", "latent"]
    return_dict: bool
    callback_on_step_end: OnStepEnd | None
    """A function, or a `PipelineCallback`; its first argument is the stock pipeline."""

    callback_on_step_end_tensor_inputs: list[str]
    controls: Sequence[Control]
    """T2I-Adapters and ControlNets with their pictures."""

    lead: float | None
    """This and the next three as in `SamplingSettings`; None is the base's own."""

    isolation: float | None
    base_ratio: float | None
    exclude_others: bool | None
    eta: float
    timesteps: list[int]
    sigmas: list[float]
    guidance_rescale: float
    denoising_end: float
    original_size: tuple[int, int]
    target_size: tuple[int, int]
    crops_coords_top_left: tuple[int, int]
    negative_original_size: tuple[int, int]
    negative_target_size: tuple[int, int]
    negative_crops_coords_top_left: tuple[int, int]


class RegionalPipeline:
    """A base, a model for it, and a scheduler.

    The model is merged into the base for the time of a call, so several pipelines may
    share one base; they are not called at the same time.
    """

    scheduler: Any
    """Any diffusers scheduler; the base's own at first. Assign another one made with
    `from_config(pipe.scheduler.config)`."""

    def __init__(
        self, base: Base, model: FusedModel | None = None, *, strength: float = 1.0
    ) -> None:
        """Take what is loaded.

        Args:
            base: The base; unchanged between calls.
            model: A release's, or concepts' (see `concepts_of`); None is the base's.
            strength: Factor of the model's update of the weights.

        Raises:
            BaseMismatchError: the model was made for another base.
        """
        if model is not None:
            check_base(base, model.base, "the model")
        self.base, self.model, self.strength = base, model, strength
        self.scheduler = base.pipeline.scheduler
        self._controls = ControlModels(base)

    @staticmethod
    def from_pretrained(
        base: str = "mini",
        *,
        release: Path | str | None = None,
        concepts: Sequence[Path | str] = (),
        strength: float = 1.0,
        torch_dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "RegionalPipeline":
        """Load a base and a model's files.

        Args:
            base: "mini", a diffusers pipeline directory, or a hub name.
            release: A release's file. Who signed it is not checked here:
                `mos_client.Studio.pipeline` does.
            concepts: Files of concepts, added up without fusion.
            strength: Factor of the model's update of the weights.
            torch_dtype: Of the base's weights.
            device: Where they go.

        Raises:
            LayoutError: both a release and concepts.
            MosError: a file is missing or malformed, or made for another base.
        """
        if release is not None and concepts:
            raise LayoutError("release and concepts: give one of them, not both")
        model = None
        if release is not None:
            model = release_of(Path(release), model_bytes(Path(release)))
        elif concepts:
            paths = [Path(each) for each in concepts]
            model = concepts_of([(path, model_bytes(path)) for path in paths])
        loaded = load_base(base, device=device, dtype=torch_dtype)
        return RegionalPipeline(loaded, model, strength=strength)

    @property
    def stock(self) -> Any:
        """The `StableDiffusionPipeline` or `StableDiffusionXLPipeline` beneath.

        For what is set there: offloading, slicing, `set_progress_bar_config`.
        """
        return self.base.pipeline

    def to(self, device: torch.device | str) -> "RegionalPipeline":
        """Move the base; returns itself."""
        self.stock.to(device)
        return self

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        regions: Regions = (),
        **call: Unpack[Call],
    ) -> Any:
        """Sample pictures, every region with its own prompt.

        Args:
            prompt: What the pictures show outside the regions; one, or several.
            regions: See `Regions`.
            call: See `Call`.

        Returns:
            What the stock pipeline returns: `.images` are n = prompts x
            `num_images_per_prompt` pictures, those of the first prompt first: a list of
            PIL's; or float32 [n, height, width, 3] (np), [n, 3, height, width] (pt), 0
            to 1; or latents [n, channels, cells high, cells wide] in the base's dtype.

        Raises:
            LayoutError: a size that the base cannot draw, a setting out of range, or
                regions that contradict each other.
            PromptError: an unknown placeholder, or a prompt that is too long.
            TypeError: an argument that is not in `Call`.
        """
        given = dict(call)
        settings = self._settings(given)
        layouts = self._layouts(prompt, regions, given)
        callback: Any = given.pop("callback_on_step_end", None)
        if hasattr(callback, "tensor_inputs"):
            given["callback_on_step_end_tensor_inputs"] = callback.tensor_inputs
        for name in given:
            if name not in _TAKEN:
                raise TypeError(f"RegionalPipeline: unexpected argument {name!r}")
        with prepared(self.base, self.model, strength=self.strength) as encoder:
            check_layouts(outline_of(self.base), encoder.tokenizer, layouts, settings)
            batch = Batch(self.base, encoder, self._controls, layouts, settings)
            return batch.run(self.scheduler, callback, **given)

    def _settings(self, given: dict[str, Any]) -> SamplingSettings:
        """Those of the call, taken out of `given`."""
        stock = inspect.signature(type(self.stock).__call__).parameters
        steps, guidance = (
            given.pop(name, stock[name].default)
            for name in ("num_inference_steps", "guidance_scale")
        )
        if self.base.unet.config.time_cond_proj_dim is None:
            guidance = max(1.0, guidance)  # below 1 is without, as 1 is
        own = {name: given.pop(name, None) for name in _REGIONAL}
        own |= {"steps": steps, "guidance": guidance}
        return SamplingSettings.of(self.base, cast(Given, own))

    def _layouts(
        self, prompt: str | Sequence[str], regions: Regions, given: dict[str, Any]
    ) -> list[Layout]:
        """One a picture, in the pipelines' order."""
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        negative = given.pop("negative_prompt", None)
        negatives = (
            [negative] * len(prompts)
            if negative is None or isinstance(negative, str)
            else list(negative)
        )
        own = _each(regions, len(prompts))
        if not len(prompts) == len(negatives) == len(own):
            raise LayoutError(
                f"{len(prompts)} prompts, {len(negatives)} negative prompts, "
                f"{len(own)} lists of regions; one for all, or one for each prompt"
            )
        side = outline_of(self.base).side
        width, height = (given.pop(name, None) or side for name in ("width", "height"))
        controls = tuple(given.pop("controls", ()))
        images = given.pop("num_images_per_prompt", 1)
        return [
            Layout(text, width, height, _negative(without), parts, controls)
            for text, without, parts in zip(prompts, negatives, own, strict=True)
            for _ in range(images)
        ]


def _negative(text: str | None) -> str:
    """As layouts have it, where "" is none at all; an empty text here is encoded."""
    return "" if text is None else text or " "


def _each(regions: Regions, count: int) -> list[tuple[Region, ...]]:
    """The regions of every prompt."""
    single = all(isinstance(each, Region | str) for each in regions)
    lists = [regions] * count if single else regions
    return [
        tuple(Region.parse(one) if isinstance(one, str) else one for one in own)
        for own in cast(Sequence[Sequence[Region | str]], lists)
    ]
