"""What is no base is refused by its configs, before weights, by every command alike."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from mos_client.cli import app
from mos_model.bases import base_files
from mos_model.bases.base import load_base
from mos_model.bases.base_files import read_inventory, resolve_base
from mos_model.errors import BaseError
from tests.support.bases import save_tiny_sd
from tests.support.families import save_family
from tests.support.typing_in import type_in


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save_tiny_sd(tmp_path / "base")


def changed(base: Path, file: str, **entries: Any) -> None:
    path = base / file
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


UNET, INDEX = "unet/config.json", "model_index.json"
SCHEDULER = "scheduler/scheduler_config.json"
NO_BASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "FLUX": (INDEX, {"_class_name": "FluxPipeline"}, r"FLUX \(FluxPipeline\) is not"),
    "SD3": (
        *(INDEX, {"_class_name": "StableDiffusion3Pipeline"}),
        "Stable Diffusion 3 .* is not supported; a base is a Stable Diffusion 1.x",
    ),
    "a video model": (INDEX, {"_class_name": "CogVideoXPipeline"}, "CogVideoXPipeline"),
    "AltDiffusion's text encoder": (
        *(INDEX, {"text_encoder": ["alt", "RobertaSeriesModelWithTransformation"]}),
        "RobertaSeries.*not CLIP",
    ),
    "no text encoder": (INDEX, {"text_encoder": [None, None]}, "no text_encoder"),
    "an inpainting UNet": (UNET, {"in_channels": 9}, "takes 9 channels.*inpainting"),
    "an editing UNet": (UNET, {"in_channels": 8}, "takes 8 channels.*editing"),
    "a depth UNet": (UNET, {"in_channels": 5}, "takes 5 channels.*depth"),
    "another VAE's": (UNET, {"in_channels": 16}, "do not belong together"),
    "an upscaler": (UNET, {"num_class_embeds": 1000}, "needs more than a text"),
    "unCLIP": (UNET, {"class_embed_type": "projection"}, "needs more than a text"),
    "another encoder's": (UNET, {"cross_attention_dim": 768}, "texts of width 768"),
    "a number in words": (UNET, {"in_channels": "four"}, "'four', not a whole number"),
    "an image prompt": (UNET, {"addition_embed_type": "image"}, "addition_embed_type"),
}


@pytest.mark.parametrize("what", NO_BASES)
def test_directory_of_another_kind_is_named_before_any_weight_is_read(
    base: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, entries, reason = NO_BASES[what]
    changed(base, file, **entries)
    monkeypatch.setattr(base_files, "header_at", lambda path: pytest.fail(str(path)))
    for judge in (resolve_base, read_inventory, load_base):
        with pytest.raises(BaseError, match=reason):
            judge(str(base))


def test_noise_schedule_of_another_kind_is_refused(base: Path) -> None:
    (base / SCHEDULER).write_text(json.dumps({"_class_name": "EDMEulerScheduler"}))
    with pytest.raises(BaseError, match=r"schedule \(EDMEulerScheduler\) is not"):
        resolve_base(str(base))


def test_refiner_of_sdxl_is_named(tmp_path: Path) -> None:
    base = save_family(tmp_path / "base", "sdxl")
    changed(base, UNET, projection_class_embeddings_input_dim=5 * 8 + 32)
    with pytest.raises(BaseError, match="SDXL's refiner, its UNet takes 72"):
        resolve_base(str(base))


@pytest.mark.parametrize(
    "name",
    [
        *("StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
        *("LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline"),
    ],
)
def test_relative_with_the_same_parts_is_the_same_base(base: Path, name: str) -> None:
    before = read_inventory(str(base))
    changed(base, INDEX, _class_name=name)
    assert load_base(str(base)).inventory == before


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no index": (lambda b: (b / INDEX).unlink(), "no model_index.json"),
    "an index that is no JSON": (lambda b: (b / INDEX).write_text("<"), "JSON"),
    "an index that is a list": (lambda b: (b / INDEX).write_text("[]"), "JSON object"),
    "an index in UTF-16": (
        *((lambda b: (b / INDEX).write_text("{}", "utf-16")), "not readable as JSON"),
    ),
    "no UNet's config": (lambda b: (b / UNET).unlink(), "the base lacks unet/config"),
    "no VAE's config": (
        *((lambda b: (b / "vae/config.json").unlink()), "the base lacks vae/config"),
    ),
    "a UNet's LFS pointer": (
        lambda b: (b / "unet/diffusion_pytorch_model.safetensors").write_text(
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
        ),
        "Git LFS pointer.*git lfs pull",
    ),
    "a UNet cut short": (
        lambda b: (b / "unet/diffusion_pytorch_model.safetensors").write_bytes(
            (b / "unet/diffusion_pytorch_model.safetensors").read_bytes()[:-9]
        ),
        "not a whole safetensors file",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_base_is_refused_by_the_part_that_is_broken(
    base: Path, what: str
) -> None:
    spoil, reason = BROKEN[what]
    spoil(base)
    with pytest.raises(BaseError, match=reason):
        read_inventory(str(base))


def test_part_of_a_pipeline_points_to_the_pipeline(base: Path) -> None:
    with pytest.raises(BaseError, match=f"a part of one, pass {base}$"):
        resolve_base(str(base / "unet"))


FILES = {
    "model.diffusion_model.input_blocks.0.0.weight": "a whole checkpoint.*from_single",
    "double_blocks.0.img_attn.qkv.weight": "weights for FLUX, not a base",
    "lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": "one file; a base",
}


@pytest.mark.parametrize("key", FILES)
def test_one_file_as_a_base_is_named_by_what_it_is(tmp_path: Path, key: str) -> None:
    path = tmp_path / "v1-5.safetensors"
    save_file({key: torch.ones(2, 2)}, path)
    with pytest.raises(BaseError, match=rf"v1-5\.safetensors: {FILES[key]}"):
        resolve_base(str(path))
    (tmp_path / "old.ckpt").write_bytes(b"\x80\x02}")
    with pytest.raises(BaseError, match="one file; a base is a diffusers pipeline"):
        resolve_base(str(tmp_path / "old.ckpt"))


def test_weights_of_the_hub_are_not_fetched_for_what_is_no_base(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[list[str]] = []

    def fetch(name: str, *, allow_patterns: list[str]) -> str:
        fetched.append(allow_patterns)
        return str(base)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert resolve_base("some/model") == base
    assert len(fetched) == 2
    changed(base, INDEX, _class_name="FluxPipeline")
    with pytest.raises(BaseError, match="FLUX"):
        resolve_base("some/model")
    assert len(fetched) == 3
    assert not any("safetensors" in pattern for pattern in fetched[2])


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("sample", "--prompt", "a cat", "--out", "a.png"),
    ("tune", "--data", ".", "--class-word", "cat"),
    ("import", "a.safetensors", "--class-word", "cat"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_every_command_says_the_same_in_one_line(
    base: Path,
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed(base, UNET, in_channels=9)
    folder = tmp_path / "rex"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MOS_SITE_HOME", str(tmp_path / "home"))
    for number in range(3):
        Image.effect_noise((64, 64), 50 + number).save(f"{number}.png")
    assert type_in(app, *words, "--base", base) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "takes 9 channels, its VAE gives 4: a checkpoint for inpainting" in told
    assert "Traceback" not in told
