"""A file of another family or method is named by its keys, with what to do."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mos_model.errors import BaseMismatchError
from mos_model.interop import import_concept
from mos_runtime.errors import MosError

MID = "mid_block.attentions.0.transformer_blocks.0"
ONE = torch.ones(4, 4)

KINDS: dict[str, str] = {
    "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": "a LoRA for FLUX;",
    "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": "LoRA for FLUX",
    "transformer.transformer_blocks.0.attn.add_q_proj.lora_A.weight": "LoRA for SD3 or",
    "lora_unet_joint_blocks_0_x_block_attn_qkv.lora_up.weight": "Stable Diffusion 3",
    "lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_up.weight": "SD3 or",
    "diffusion_model.blocks.0.self_attn.q.lora_A.weight": "Wan, Qwen-Image",
    "diffusion_model.double_blocks.0.img_attn.proj.lora_down.weight": "for FLUX",
    "double_blocks.0.img_attn.qkv.weight": "weights for FLUX;",
    "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": "weights for Sta",
    "down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight": "AnimateDiff",
    "model.diffusion_model.out.2.weight": "one file, not a LoRA; .*from_single_file",
    "conditioner.embedders.1.model.ln_final.weight": "a whole SDXL checkpoint",
    "control_model.input_hint_block.0.weight": "a ControlNet, not a LoRA",
    "ip_adapter.1.to_k_ip.weight": "an IP-Adapter",
    "text_model.embeddings.token_embedding.weight": "weights of a text encoder",
    "decoder.conv_in.weight": "weights of a VAE",
    "emb_params": "words .a textual inversion.*pass the LoRA as FILE.*--words",
    "<rex>": "words",
    f"lora_unet_{MID.replace('.', '_')}_attn1_to_q.hada_w1_a": "this is LoHa",
    f"lora_unet_{MID.replace('.', '_')}_attn1_to_q.a1.weight": "this is GLoRA",
    f"lora_unet_{MID.replace('.', '_')}_attn1_to_q.on_input": "this is IA3",
    f"lora_unet_{MID.replace('.', '_')}_attn1_to_q.diff": "this is full weights",
    f"lora_unet_{MID.replace('.', '_')}_norm1.w_norm": "trained norms",
    f"base_model.model.{MID}.attn1.to_q.ia3_l": "this is IA3",
    f"unet.{MID}.attn1.to_q.lora_B.bias": "LoRA with biases",
    f"unet.{MID}.attn1.to_q.oft_r": "this is OFT",
    "text_encoder.lora_embedding_A": "LoRA of an embedding table",
    "something.nobody.knows": "not a key of a LoRA file that this reads",
}


@pytest.mark.parametrize("key", KINDS)
def test_file_of_another_kind_is_named_and_dropping_layers_does_not_help(
    base: str, tmp_path: Path, key: str
) -> None:
    path = tmp_path / "rex.safetensors"
    save_file({key: ONE}, path)
    for drop in (False, True):
        with pytest.raises(MosError, match=KINDS[key]) as told:
            import_concept(path, base=base, class_word="cat", drop_extra=drop)
        assert "--drop-extra-layers" not in str(told.value)


FAMILIES: dict[str, tuple[str, int]] = {
    "SDXL": (f"unet.{MID.replace('blocks.0', 'blocks.7')}.attn1.to_q", 1280),
    "SDXL ": ("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", 1280),
    "SDXL  ": (f"unet.{MID}.attn2.to_k", 2048),
    "SDXL's refiner": (f"unet.{MID}.attn2.to_k", 1280),
    "SD 1.x": (f"unet.{MID}.attn2.to_k", 768),
    "SD 2.x": (f"diffusion_model.middle_block.1.{MID[23:]}.attn2.to_k", 1024),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_of_another_stable_diffusion_is_named_by_its_family(
    base: str, tmp_path: Path, family: str
) -> None:
    layer, width = FAMILIES[family]
    path = tmp_path / "rex.safetensors"
    save_file(
        {
            f"{layer}.lora_down.weight": torch.ones(4, width),
            f"{layer}.lora_up.weight": torch.ones(64, 4),
        },
        path,
    )
    named = f"a LoRA for {family.strip()}; .*pass one of {family.strip()} with --base"
    with pytest.raises(BaseMismatchError, match=named):
        import_concept(path, base=base, class_word="cat")
