"""A base: a diffusers pipeline, its parts under one name each, its own settings."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DDPMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import nn

from mos_model.bases.base_config import read_base_config
from mos_model.bases.base_files import read_inventory, resolve_base
from mos_model.bases.inventory import Inventory, canonical_module
from mos_model.errors import BaseError

DEFAULTS_FILE = "mos_defaults.json"
"""Settings a base brings along: {"tune": {...}, "sample": {...}}; optional."""


@dataclass(frozen=True)
class Base:
    """A base model in memory, on one device, in one dtype."""

    name: str
    """What the user called it."""

    folder: Path
    pipeline: Any
    """`StableDiffusionPipeline` or `StableDiffusionXLPipeline`."""

    inventory: Inventory
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings from the base's own `mos_defaults.json`, by command."""

    @property
    def unet(self) -> Any:
        """`UNet2DConditionModel`."""
        return self.pipeline.unet

    @property
    def vae(self) -> Any:
        """`AutoencoderKL`."""
        return self.pipeline.vae

    @cached_property
    def text_encoders(self) -> dict[str, Any]:
        """The text encoder(s) by component name: one for SD, two for SDXL."""
        return {n: getattr(self.pipeline, n) for n in self.inventory.embedding_widths}

    @cached_property
    def tokenizers(self) -> dict[str, Any]:
        """The tokenizer of each text encoder, by the encoder's component name."""
        return {
            name: getattr(self.pipeline, name.replace("text_encoder", "tokenizer"))
            for name in self.text_encoders
        }

    @property
    def tokens(self) -> int:
        """T, the number of tokens of an encoded prompt (77 for Stable Diffusion)."""
        return min(int(t.model_max_length) for t in self.tokenizers.values())

    @property
    def device(self) -> torch.device:
        """Where the UNet is."""
        device: torch.device = self.unet.device
        return device

    @property
    def is_xl(self) -> bool:
        """Whether the UNet also takes pooled text and sizes (SDXL)."""
        return "text_encoder_2" in self.text_encoders

    @property
    def zeros_without_prompt(self) -> bool:
        """Whether no (negative) prompt is zeros: `force_zeros_for_empty_prompt`."""
        return bool(self.pipeline.config.get("force_zeros_for_empty_prompt", False))

    @cached_property
    def projections(self) -> dict[str, nn.Linear]:
        """Every attention projection by its canonical name (see `inventory`)."""
        found: dict[str, nn.Linear] = {}
        for component in ("unet", *self.text_encoders):
            for module, layer in getattr(self.pipeline, component).named_modules():
                name = canonical_module(component, module)
                if name in self.inventory.projections:
                    found[name] = layer
        return found

    def noise_scheduler(self) -> Any:
        """A fresh `DDPMScheduler` with the base's noise schedule, for training."""
        return DDPMScheduler.from_config(self.pipeline.scheduler.config)


def load_base(
    name: str = "mini",
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Base:
    """Load a base for tuning, fusion or sampling; all its weights are frozen.

    Args:
        name: "mini", a diffusers pipeline directory, or a hub name.
        device: Where its modules go.
        dtype: Of its modules.

    Raises:
        BaseError: the base is missing, incomplete, or of no supported family.
    """
    folder = resolve_base(name)
    inventory = read_inventory(name)
    pipeline = _load_pipeline(folder, dtype).to(device)
    for component in pipeline.components.values():
        if isinstance(component, nn.Module):
            component.requires_grad_(False).eval()
    pipeline.set_progress_bar_config(disable=True)
    return Base(name, folder, pipeline, inventory, read_defaults(folder))


def _load_pipeline(folder: Path, dtype: torch.dtype) -> Any:
    _silence_loaders()
    xl = read_base_config(folder).is_xl
    family = StableDiffusionXLPipeline if xl else StableDiffusionPipeline
    extra = {} if xl else {"safety_checker": None}
    try:
        return family.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True, **extra
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BaseError(f"{folder}: the base cannot be loaded: {reason}") from error


def read_defaults(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """A base's own settings by command, from its `mos_defaults.json`, if any.

    Raises:
        BaseError: the file is not JSON.
    """
    path = folder / DEFAULTS_FILE
    if not path.is_file():
        return {"sample": read_base_config(folder).sampling}
    try:
        defaults: Mapping[str, Mapping[str, Any]] = json.loads(path.read_text())
    except ValueError as error:
        raise BaseError(f"{path}: not valid JSON ({error})") from error
    return defaults


def _silence_loaders() -> None:
    """Our own progress bars tell what happens; the loaders' would break them."""
    diffusers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
