"""Whether a pipeline directory is a base, by its configs: judged first, for all.

`model_index.json` and the configs of its parts say everything that decides it, and they
are small; so no command reads or fetches weights of what cannot be used. Relatives of
the two supported pipelines have the same parts and are taken by what their configs
hold, not by their class's name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mos_model.errors import BaseError
from mos_model.file_kinds import BASES

_SD: Final = "StableDiffusionPipeline"
_XL: Final = "StableDiffusionXLPipeline"
_PIPELINES: Final[Mapping[str, str]] = {
    _SD: _SD,
    "StableDiffusionImg2ImgPipeline": _SD,
    "StableDiffusionInpaintPipeline": _SD,
    "LatentConsistencyModelPipeline": _SD,
    "LatentConsistencyModelImg2ImgPipeline": _SD,
    _XL: _XL,
    "StableDiffusionXLImg2ImgPipeline": _XL,
    "StableDiffusionXLInpaintPipeline": _XL,
}
"""A pipeline's class -> the class that loads its parts here."""

_FAMILIES: Final[Mapping[str, str]] = {
    "Flux": "FLUX",
    "StableDiffusion3": "Stable Diffusion 3",
    "StableCascade": "Stable Cascade",
    "PixArt": "PixArt",
    "Kandinsky": "Kandinsky",
    "QwenImage": "Qwen-Image",
    "Wan": "Wan",
}
"""How the class's name of an unsupported pipeline begins -> what people call it."""

_TEXT_MODELS: Final = ("CLIPTextModel", "CLIPTextModelWithProjection")
_SIZES: Final = 6
"""Numbers of SDXL's size conditioning; its refiner has one fewer."""

_LCM_DEFAULTS: Final = {"scheduler": "LCMScheduler", "steps": 4}


@dataclass(frozen=True)
class BaseConfig:
    """What the configs of a supported base say."""

    pipeline: str
    """`StableDiffusionPipeline` or `StableDiffusionXLPipeline`."""

    sampling: Mapping[str, Any]
    """Sampling settings that the base needs, as a latent consistency model does."""

    @property
    def is_xl(self) -> bool:
        """Whether there are two text encoders, and sizes besides the text."""
        return self.pipeline == _XL


def read_base_config(folder: Path) -> BaseConfig:
    """Judge a pipeline directory by its configs.

    Raises:
        BaseError: not a pipeline directory, of another family, or made for another
            task; says which.
    """
    if not (folder / "model_index.json").is_file():
        above = (folder.parent / "model_index.json").is_file()
        raise BaseError(
            f"{folder}: not a diffusers pipeline directory (no model_index.json)"
            + (f"; it is a part of one, pass {folder.parent}" if above else "")
        )
    index = _config(folder / "model_index.json")
    name = str(index.get("_class_name"))
    pipeline = _PIPELINES.get(name)
    if pipeline is None:
        family = next((f for k, f in _FAMILIES.items() if name.startswith(k)), "")
        raise BaseError(
            f"{folder}: {f'{family} ({name[:80]})' if family else name[:80]} "
            f"is not supported; {BASES}"
        )
    encoders = ("text_encoder", "text_encoder_2")[: 2 if pipeline == _XL else 1]
    texts = {encoder: _text_config(folder, index, encoder) for encoder in encoders}
    unet = _config(folder / "unet" / "config.json")
    _check_channels(folder, unet, _config(folder / "vae" / "config.json"))
    _check_conditions(folder, unet, texts, xl=pipeline == _XL)
    scheduler = _config(folder / "scheduler" / "scheduler_config.json")
    if "beta_start" not in scheduler:
        raise BaseError(
            f"{folder}: its noise schedule ({scheduler.get('_class_name')}) is not "
            f"Stable Diffusion's; {BASES}"
        )
    return BaseConfig(pipeline, _needed(unet, scheduler))


def _config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError as error:
        part = path.relative_to(path.parent.parent)
        raise BaseError(f"{path.parent.parent}: the base lacks {part}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BaseError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(found, dict):
        raise BaseError(f"{path}: not a JSON object")
    return found


def _whole(folder: Path, config: Mapping[str, Any], key: str, default: int) -> int:
    value = config.get(key, default)
    if type(value) is not int:
        raise BaseError(f"{folder}: {key} is {value!r:.40}, not a whole number")
    return value


def _text_config(
    folder: Path, index: Mapping[str, Any], encoder: str
) -> dict[str, Any]:
    part = index.get(encoder)
    kind = part[1] if isinstance(part, list) and len(part) == 2 else None
    if kind is None:
        raise BaseError(
            f"{folder}: it has no {encoder}, as SDXL's refiner has not; pass the "
            "base model itself"
        )
    if kind not in _TEXT_MODELS:
        raise BaseError(f"{folder}: its {encoder} is {kind!r:.80}, not CLIP; {BASES}")
    return _config(folder / encoder / "config.json")


def _check_channels(
    folder: Path, unet: Mapping[str, Any], vae: Mapping[str, Any]
) -> None:
    latent = _whole(folder, vae, "latent_channels", 4)
    taken = _whole(folder, unet, "in_channels", 4)
    if taken == latent:
        return
    tasks = {2 * latent + 1: "inpainting", 2 * latent: "editing", latent + 1: "depth"}
    task = tasks.get(taken)
    raise BaseError(
        f"{folder}: its UNet takes {taken} channels, its VAE gives {latent}: "
        + (f"a checkpoint for {task}" if task else "they do not belong together")
        + "; pass an ordinary text-to-image base"
    )


def _check_conditions(
    folder: Path,
    unet: Mapping[str, Any],
    texts: Mapping[str, Mapping[str, Any]],
    *,
    xl: bool,
) -> None:
    """Refuse a UNet that needs more, or other, than its encoders' texts (and sizes)."""
    wanted = unet.get("cross_attention_dim")
    given = [_whole(folder, text, "hidden_size", 512) for text in texts.values()]
    if wanted != sum(given):
        raise BaseError(
            f"{folder}: its UNet reads texts of width {wanted}, its text encoder(s) "
            f"give {' + '.join(map(str, given))}; they do not belong together"
        )
    for key in ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type"):
        if unet.get(key) is not None:
            raise BaseError(
                f"{folder}: its UNet needs more than a text ({key} {unet[key]!r:.40}); "
                "pass an ordinary text-to-image base"
            )
    also = unet.get("addition_embed_type")
    if also != ("text_time" if xl else None):
        raise BaseError(
            f"{folder}: its UNet has addition_embed_type {also!r:.40}, which is not "
            f"{'SDXL' if xl else 'Stable Diffusion'}'s; {BASES}"
        )
    if not xl:
        return
    pooled = _whole(folder, texts["text_encoder_2"], "projection_dim", 512)
    width = _whole(folder, unet, "addition_time_embed_dim", 0)
    taken = _whole(folder, unet, "projection_class_embeddings_input_dim", 0)
    if taken != _SIZES * width + pooled:
        refiner = taken == (_SIZES - 1) * width + pooled
        raise BaseError(
            f"{folder}: "
            + ("SDXL's refiner, " if refiner else "")
            + f"its UNet takes {taken} conditions, SDXL {_SIZES * width + pooled}; "
            "pass the base model itself"
        )


def _needed(unet: Mapping[str, Any], scheduler: Mapping[str, Any]) -> dict[str, Any]:
    if scheduler.get("_class_name") != "LCMScheduler":
        return {}
    # Without an input for it, guidance is part of the weights already.
    embedded = unet.get("time_cond_proj_dim") is not None
    return dict(_LCM_DEFAULTS) if embedded else {**_LCM_DEFAULTS, "guidance": 1.0}
