"""A base but for its weights: what decides whether a request fits it.

Configs, tokenizers and the noise schedule load in a second, weights in a minute, so
that whatever they can refuse is refused before a base is loaded.
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import transformers

from mos_model.bases.base import Base, read_defaults
from mos_model.bases.base_files import read_inventory, resolve_base
from mos_model.bases.inventory import Inventory
from mos_model.errors import BaseError


@dataclass(frozen=True)
class BaseOutline:
    """A base without weights."""

    name: str
    """What the user called it."""

    inventory: Inventory
    defaults: Mapping[str, Mapping[str, Any]]
    """As `Base.defaults`."""

    unet: Mapping[str, Any]
    """The UNet's config, with diffusers' defaults where the file gives none."""

    cell: int
    """Pixels across a cell of the latents: the VAE's scale factor."""

    tokenizers: Mapping[str, Any]
    """By text encoder."""

    scheduler: Any
    """The base's own, whose noise schedule others take."""

    @property
    def side(self) -> int:
        """Pixels of the square pictures the base works at."""
        return int(self.unet["sample_size"]) * self.cell

    @property
    def unit(self) -> int:
        """Pixels that a picture's sides must be multiples of to pass VAE and UNet."""
        halved: int = 2 ** (len(self.unet["block_out_channels"]) - 1)
        return self.cell * halved

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels, of the pictures it draws by default."""
        own = self.defaults.get("sample", {})
        return int(own.get("width", self.side)), int(own.get("height", self.side))


def outline_of(base: Base) -> BaseOutline:
    """The outline of a base that is loaded."""
    return BaseOutline(
        base.name,
        base.inventory,
        base.defaults,
        base.unet.config,
        int(base.pipeline.vae_scale_factor),
        base.tokenizers,
        base.pipeline.scheduler,
    )


def read_outline(name: str) -> BaseOutline:
    """The outline of a base, read without its weights.

    Args:
        name: "mini", a diffusers pipeline directory, or a hub name.

    Raises:
        BaseError: the base is missing, incomplete, or of no supported family.
    """
    folder = resolve_base(name)
    inventory = read_inventory(name)
    try:
        index = json.loads((folder / "model_index.json").read_text())
        unet = diffusers.UNet2DConditionModel.load_config(folder / "unet")
        vae = diffusers.AutoencoderKL.load_config(folder / "vae")
        levels = len(vae.get("block_out_channels", (64,)))
        encoders = inventory.embedding_widths
        return BaseOutline(
            name,
            inventory,
            read_defaults(folder),
            _with_defaults(diffusers.UNet2DConditionModel, unet),
            2 ** (levels - 1),
            {each: _part(folder, index, _tokenizer(each)) for each in encoders},
            _part(folder, index, "scheduler"),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BaseError(f"{folder}: the base cannot be read: {reason}") from error


def _tokenizer(encoder: str) -> str:
    return encoder.replace("text_encoder", "tokenizer")


def _part(folder: Path, index: Mapping[str, Any], part: str) -> Any:
    """A part without weights, of the class that the pipeline's index names."""
    library = transformers if part.startswith("tokenizer") else diffusers
    family = getattr(library, index[part][1])
    return family.from_pretrained(folder / part, local_files_only=True)


def _with_defaults(family: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    signature = inspect.signature(family.__init__).parameters.values()
    return {each.name: each.default for each in signature} | dict(config)
