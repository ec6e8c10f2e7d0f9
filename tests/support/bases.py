"""Small bases of the real architectures with random weights, as directories."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TOKENS = 24
WIDTH = 32
_WORDS = (
    *("a", "an", "the", "of", "on", "in", "at", "and", "with", "photo", "picture"),
    *("cat", "dog", "robot", "bird", "house", "beach", "snow", "forest", "city"),
    *("night", "room", "desert", "red", "blue", "green", "person", "car", "tree"),
)


def save_tiny_sd(folder: Path, *, seed: int = 0, prediction: str = "epsilon") -> Path:
    """Write a Stable Diffusion pipeline of two levels and random weights."""
    torch.manual_seed(seed)
    tokenizer = save_tokenizer(folder / "tokenizer")
    pipeline = StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text_config(tokenizer)),
        tokenizer=tokenizer,
        unet=_unet(),
        scheduler=DDPMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            steps_offset=1,
            prediction_type=prediction,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def spell_as_on_the_hub(base: Path) -> Path:
    """Spell a base's text encoders as transformers 4: `text_model.`, position ids.

    transformers 5 reads both spellings, 4 this one alone.
    """
    for folder in base.glob("text_encoder*"):
        path = folder / "model.safetensors"
        named = {
            key if key.startswith("text_projection") else f"text_model.{key}": tensor
            for key, tensor in load_file(path).items()
            if not key.startswith("text_model.")
        }
        if len(named) > 1:
            named["text_model.embeddings.position_ids"] = torch.arange(TOKENS)[None]
            save_file(named, path, {"format": "pt"})
    return base


def save_tokenizer(folder: Path, *, tokens: int = TOKENS) -> CLIPTokenizer:
    """CLIP's tokenizer over bytes and a few words, from its two ordinary files."""
    letters = [chr(c) for c in range(ord("!"), ord("~") + 1)]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[str] = []
    for word in _WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            pair = f"{parts[0]} {parts[1]}"
            parts = [parts[0] + parts[1], *parts[2:]]
            if pair not in merges:
                merges.append(pair)
                vocabulary.append(parts[0])
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    ids = {token: index for index, token in enumerate(dict.fromkeys(vocabulary))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(
        folder, model_max_length=tokens
    )
    return tokenizer


def _text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=8,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        block_out_channels=(8, 16),
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
    )
