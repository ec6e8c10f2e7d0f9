"""Bases of the shapes of SD 1.5 and SDXL with random weights, made in memory.

Nothing is written or read: the models are made on the device itself, which takes
seconds. Their tiny twins have the same blocks, narrower.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from mos_model.bases.base import Base
from mos_model.bases.inventory import Inventory
from tests.benchmarks.gpu_check.machine import Machine
from tests.support.bases import save_tokenizer

UNSUPPORTED: Final = {
    "SD3-medium": "the project supports Stable Diffusion 1.x, 2.x and XL only",
    "FLUX": "the project supports Stable Diffusion 1.x, 2.x and XL only",
}
"""Bases that people have, and why they are not measured."""

_XL_UNET: Final[dict[str, Any]] = {
    "down_block_types": ("DownBlock2D", *["CrossAttnDownBlock2D"] * 2),
    "up_block_types": (*["CrossAttnUpBlock2D"] * 2, "UpBlock2D"),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
}


@dataclass(frozen=True)
class Shape:
    """The sizes of one family."""

    unet: Mapping[str, Any]
    texts: tuple[tuple[int, int, int], ...]
    """Width, layers and heads of each text encoder."""

    vae: tuple[int, ...]
    """Channels of its blocks."""

    groups: int
    """Of the norms of UNet and VAE."""

    scaling: float
    """Of the VAE's latents."""

    tokens: int
    vocabulary: int


SHAPES: Final = {
    "sd15": Shape(
        unet={"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
        texts=((768, 12, 12),),
        vae=(128, 256, 512, 512),
        groups=32,
        scaling=0.18215,
        tokens=77,
        vocabulary=49408,
    ),
    "sdxl": Shape(
        unet={
            **_XL_UNET,
            "sample_size": 128,
            "block_out_channels": (320, 640, 1280),
            "transformer_layers_per_block": (1, 2, 10),
            "attention_head_dim": [5, 10, 20],
            "cross_attention_dim": 2048,
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 6 * 256 + 1280,
        },
        texts=((768, 12, 12), (1280, 32, 20)),
        vae=(128, 256, 512, 512),
        groups=32,
        scaling=0.13025,
        tokens=77,
        vocabulary=49408,
    ),
}

TINY: Final = {
    "sd15": Shape(
        unet={
            "sample_size": 8,
            "block_out_channels": (8, 8, 8, 8),
            "cross_attention_dim": 16,
            "attention_head_dim": 2,
        },
        texts=((16, 2, 2),),
        vae=(4, 4, 4, 4),
        groups=4,
        scaling=0.18215,
        tokens=40,
        vocabulary=400,
    ),
    "sdxl": Shape(
        unet={
            **_XL_UNET,
            "sample_size": 8,
            "block_out_channels": (8, 8, 8),
            "transformer_layers_per_block": (1, 1, 1),
            "attention_head_dim": [1, 2, 2],
            "cross_attention_dim": 32,
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 16,
        },
        texts=((16, 2, 2), (16, 2, 2)),
        vae=(4, 4, 4, 4),
        groups=4,
        scaling=0.13025,
        tokens=40,
        vocabulary=400,
    ),
}


def random_base(machine: Machine, family: str, dtype: torch.dtype) -> Base:
    """A base of `sd15` or `sdxl` on the machine's device; equal weights every time."""
    shape = (TINY if machine.smoke else SHAPES)[family]
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = save_tokenizer(Path(folder), tokens=shape.tokens)
    with torch.device(machine.device):
        pipeline = _pipeline(shape, tokenizer)
    pipeline.to(dtype)
    for model in pipeline.components.values():
        if isinstance(model, torch.nn.Module):
            model.requires_grad_(False).eval()
    pipeline.set_progress_bar_config(disable=True)
    return Base(f"random {family}", Path(), pipeline, _inventory(pipeline, family))


def _pipeline(shape: Shape, tokenizer: CLIPTokenizer) -> Any:
    first, *others = shape.texts
    models = {
        "vae": _vae(shape),
        "text_encoder": CLIPTextModel(_text(shape, first, tokenizer)),
        "tokenizer": tokenizer,
        "unet": UNet2DConditionModel(norm_num_groups=shape.groups, **shape.unet),
        "scheduler": _scheduler(),
    }
    if not others:
        return StableDiffusionPipeline(
            **models,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    second = _text(
        shape, others[0], tokenizer, hidden_act="gelu", projection_dim=others[0][0]
    )
    return StableDiffusionXLPipeline(
        **models,
        text_encoder_2=CLIPTextModelWithProjection(second),
        tokenizer_2=tokenizer,
        add_watermarker=False,
    )


def _text(
    shape: Shape,
    sizes: tuple[int, int, int],
    tokenizer: CLIPTokenizer,
    **differences: Any,
) -> CLIPTextConfig:
    width, layers, heads = sizes
    common = {
        "vocab_size": shape.vocabulary,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": shape.tokens,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return CLIPTextConfig(**(common | differences))


def _vae(shape: Shape) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * len(shape.vae),
        up_block_types=["UpDecoderBlock2D"] * len(shape.vae),
        block_out_channels=shape.vae,
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=shape.groups,
        sample_size=8 * shape.unet["sample_size"],
        scaling_factor=shape.scaling,
    )


def _scheduler() -> DDPMScheduler:
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
    )


def _inventory(pipeline: Any, family: str) -> Inventory:
    components = [n for n in ("unet", "text_encoder", "text_encoder_2")]
    shapes = {
        name: {key: tuple(value.shape) for key, value in model.state_dict().items()}
        for name in components
        if (model := getattr(pipeline, name, None)) is not None
    }
    return Inventory.from_tensor_shapes("0" * 64, shapes, label=family)
