"""The real architectures with random weights, shrunk in width and picture size alone.

Block layout and transformer layers of the UNet are those of Stable Diffusion 1.5, 2.1
and XL: L is 16, 16 and 70. The text encoders have fewer layers than the real ones.
"""

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

from tests.support.bases import TOKENS, WIDTH, save_tokenizer

SIDE: Final = 64
"""Pixels of a picture at which the families here work."""

_FOUR_LEVELS: Final[dict[str, Any]] = {
    "block_out_channels": (8, 16, 16, 16),
    "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
    "cross_attention_dim": WIDTH,
}


def save_family(folder: Path, family: str) -> Path:
    """Write a pipeline directory of `sd1`, `sd2` or `sdxl`."""
    torch.manual_seed(0)
    return {"sd1": _save_sd1, "sd2": _save_sd2, "sdxl": _save_sdxl}[family](folder)


def _save_sd1(folder: Path) -> Path:
    tokenizer = save_tokenizer(folder / "tokenizer")
    return _save_sd(
        folder,
        tokenizer,
        CLIPTextModel(_text_config(tokenizer)),
        _unet(**_FOUR_LEVELS, attention_head_dim=8),
        "epsilon",
    )


def _save_sd2(folder: Path) -> Path:
    """open_clip's text encoder: GELU; another number of heads at every level."""
    tokenizer = save_tokenizer(folder / "tokenizer")
    text = _text_config(tokenizer, hidden_act="gelu")
    unet = _unet(
        **_FOUR_LEVELS, attention_head_dim=[1, 2, 4, 4], use_linear_projection=True
    )
    return _save_sd(folder, tokenizer, CLIPTextModel(text), unet, "v_prediction")


def _save_sd(
    folder: Path,
    tokenizer: CLIPTokenizer,
    text_encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    prediction: str,
) -> Path:
    StableDiffusionPipeline(
        vae=_vae(0.18215),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=_scheduler(prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def _save_sdxl(folder: Path) -> Path:
    tokenizer = save_tokenizer(folder / "tokenizer")
    second = CLIPTextModelWithProjection(
        _text_config(tokenizer, hidden_act="gelu", projection_dim=WIDTH)
    )
    unet = _unet(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * 2),
        up_block_types=(*["CrossAttnUpBlock2D"] * 2, "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=[1, 2, 4],
        use_linear_projection=True,
        cross_attention_dim=2 * WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
    )
    StableDiffusionXLPipeline(
        vae=_vae(0.13025),
        text_encoder=CLIPTextModel(_text_config(tokenizer)),
        text_encoder_2=second,
        tokenizer=tokenizer,
        tokenizer_2=save_tokenizer(folder / "tokenizer_2"),
        unet=unet,
        scheduler=_scheduler("epsilon"),
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


def _unet(**layout: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIDE // 8,
        in_channels=4,
        out_channels=4,
        layers_per_block=2,
        norm_num_groups=4,
        **layout,
    )


def _vae(scaling: float) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(4, 4, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
        scaling_factor=scaling,
    )


def _scheduler(prediction: str) -> DDPMScheduler:
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
        prediction_type=prediction,
    )


def _text_config(tokenizer: CLIPTokenizer, **differences: Any) -> CLIPTextConfig:
    common = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "max_position_embeddings": TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return CLIPTextConfig(**(common | differences))
