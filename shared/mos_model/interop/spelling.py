"""One attention projection, the many ways that LoRA files spell it.

Ours is `inventory.canonical_module`. Others say the same of `unet.down_blocks.0.
attentions.1.transformer_blocks.0.attn1.to_out.0`:

    unet.down_blocks.0.….attn1.to_out.0                    diffusers, PEFT
    unet.down_blocks.0.….attn1.processor.to_out_lora       diffusers before 0.22
    lora_unet_down_blocks_0_attentions_1_…_attn1_to_out_0  kohya, ComfyUI, A1111
    lora_unet_input_blocks_2_1_…_attn1_to_out_0            kohya on SDXL
    diffusion_model.input_blocks.2.1.….attn1.to_out.0      ComfyUI

Text encoders are `text_encoder.text_model.…` or `lora_te_text_model_…`; of two, kohya's
are `lora_te1_…` and `lora_te2_…`. ComfyUI's are `text_encoders.clip_l.transformer.
text_model.…`, with `clip_g` for XL's second and `clip_h` for SD 2.x. Underscores cannot
be taken apart again, so kohya's names are looked up in a table of the base's own.
"""

import re
from collections.abc import Iterator
from typing import Final

from mos_model.bases.inventory import Inventory

_ATTENTION: Final = re.compile(
    r"attn[12][._]to_(q|k|v|out[._]0)$|self_attn[._](q|k|v|out)_proj$"
)
_COMPONENTS: Final = ("unet.", "text_encoder.", "text_encoder_2.")
_UNET_BLOCKS: Final = ("down_blocks.", "mid_block.", "up_blocks.")
_TEXT_BLOCKS: Final = ("text_model.", "encoder.layers.")
_COMFY_ENCODERS: Final = {
    "clip_l.transformer.": "text_encoder.",
    "clip_h.transformer.": "text_encoder.",
    "clip_g.transformer.": "text_encoder_2.",
}
_BLOCK: Final = re.compile(r"(down_blocks|up_blocks)\.(\d+)\.attentions\.(\d+)\.(.+)")


def is_attention(module: str) -> bool:
    """Whether a module's name, in any spelling, is that of an attention projection."""
    return _ATTENTION.search(module) is not None


def diffusers_name(module: str) -> str:
    """A canonical name as diffusers and PEFT spell it in LoRA files.

    Text encoders keep `text_model.`: older versions need it, newer ones drop it
    themselves where their CLIPTextModel has it no more.
    """
    component, _, rest = module.partition(".")
    return module if component == "unet" else f"{component}.text_model.{rest}"


def kohya_name(module: str, *, two_encoders: bool) -> str:
    """A canonical name as kohya's scripts, ComfyUI and A1111 spell it."""
    component, _, rest = module.partition(".")
    flat = rest.replace(".", "_")
    if component == "unet":
        return f"lora_unet_{flat}"
    which = {"text_encoder": "te1" if two_encoders else "te", "text_encoder_2": "te2"}
    return f"lora_{which[component]}_text_model_{flat}"


def spelling_table(inventory: Inventory) -> dict[str, str]:
    """Every kohya and ComfyUI spelling of a base's projections -> its own name."""
    two = len(inventory.embedding_widths) > 1
    table = {kohya_name(m, two_encoders=two): m for m in inventory.projections}
    for module in inventory.projections:
        if module.startswith("unet."):
            original = _original_name(module, inventory)
            table.setdefault(f"lora_unet_{original.replace('.', '_')}", module)
            table[f"diffusion_model.{original}"] = module
    return table


def dotted_name(spelled: str) -> str:
    """The canonical name of a dotted one; unchanged where it names no known part.

    Args:
        spelled: As `unet.….to_q`, `text_encoder.text_model.….q_proj`, or the same
            without a component, as files of one model alone have it.
    """
    name = spelled.removeprefix("base_model.model.").replace(".processor.", ".")
    name = name.removeprefix("diffusion_model.").removeprefix("text_encoders.")
    for theirs, ours in _COMFY_ENCODERS.items():
        if name.startswith(theirs):
            name = f"{ours}{name.removeprefix(theirs)}"
    if name.startswith(_UNET_BLOCKS):
        name = f"unet.{name}"
    elif name.startswith(_TEXT_BLOCKS):
        name = f"text_encoder.{name}"
    if not name.startswith(_COMPONENTS):
        return spelled
    component, _, rest = name.partition(".")
    return f"{component}.{rest.removeprefix('text_model.')}"


def _original_name(module: str, inventory: Inventory) -> str:
    """A UNet's module as the original (sgm) code numbers its blocks."""
    name = module.removeprefix("unet.")
    if name.startswith("mid_block.attentions.0."):
        return name.replace("mid_block.attentions.0.", "middle_block.1.", 1)
    match = _BLOCK.match(name)
    if match is None:
        return name
    side, block, layer, rest = match.groups()
    # Up blocks have one layer more than down blocks, which end in a downsampler.
    each = 1 + max(_up_layers(inventory), default=0)
    index = int(block) * each + int(layer)
    if side == "down_blocks":
        return f"input_blocks.{index + 1}.1.{rest}"
    return f"output_blocks.{index}.1.{rest}"


def _up_layers(inventory: Inventory) -> Iterator[int]:
    for module in inventory.projections:
        match = _BLOCK.match(module.removeprefix("unet."))
        if match is not None and match[1] == "up_blocks":
            yield int(match[3])
