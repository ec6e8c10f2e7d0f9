"""What a file of tensors is, by the names of its tensors: one list for every reader.

`kind_of` names what is not a plain LoRA for Stable Diffusion's UNet and CLIP text
encoders: other model families, other methods, whole models, and words. What it does not
know is not thereby understood; the readers take the names they know, and no others.
`family_of` says which Stable Diffusion a LoRA or a base is of.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

BASES: Final = "a base is a Stable Diffusion 1.x, 2.x or XL pipeline"

_LORA: Final = re.compile(
    r"lora[._](A|B|up|down|linear_layer|embedding)|_lora\.(up|down)|hada_|lokr_"
    r"|oft_|\.alpha$|dora_scale|\.diff$"
)
_WORD_KEYS: Final = re.compile(
    r"^(emb_params|clip_[lg]|string_to_param\..*|([\w.]*\.)?(IN|MID|OUT)\d*)$"
)


@dataclass(frozen=True)
class Kind:
    """What a file is, and what its owner can do."""

    what: str
    way_out: str

    def __str__(self) -> str:
        """Both, as a clause of a message."""
        return f"{self.what}; {self.way_out}"


_OTHER_FAMILIES: Final[Mapping[str, str]] = {
    r"(^|[._])(double_blocks|single_blocks|single_transformer_blocks)[._]\d": "FLUX",
    r"(^|[._])joint_(transformer_)?blocks[._]\d": "Stable Diffusion 3",
    r"(^|\.)transformer\.transformer_blocks\.\d+\.attn\.add_": "SD3 or FLUX",
    r"^(lora_te3_|text_encoder_3\.|text_encoders\.t5xxl|t5xxl\.)": "SD3 or FLUX",
    r"^(transformer\.|lora_transformer_)": "a diffusion transformer (SD3, FLUX, ...)",
    r"^(diffusion_model\.|lora_unet_)(blocks|layers|transformer_blocks)[._]\d": (
        "a diffusion transformer (Wan, Qwen-Image, Z-Image, ...)"
    ),
    r"^lora_prior_": "Stable Cascade",
    r"(motion_modules|temporal_transformer)": "AnimateDiff",
}
"""A name's pattern -> whose it is. The first that fits one name of a file decides."""

_OTHER_METHODS: Final[Mapping[str, str]] = {
    r"hada_": "LoHa",
    r"lokr_": "LoKr",
    r"dora_scale|lora_magnitude": "DoRA",
    r"lora_mid": "LoCon with a middle factor",
    r"oft_": "OFT",
    r"\.[ab][12]\.weight$": "GLoRA",
    r"ia3_l|\.on_input$": "IA3",
    r"\.diff(_b)?$|\.set_weight$|\.reshape_weight$": "full weights (`diff`)",
    r"\.[wb]_norm$": "LoRA with trained norms",
    r"lora_(A|B|up|down)(\.default)?\.bias$": "LoRA with biases",
    r"lora_embedding_": "LoRA of an embedding table",
    r"\.modules_to_save\.": "LoRA with whole modules next to it",
    r"vera_lambda": "VeRA",
}
_WHOLE_MODELS: Final[Mapping[str, str]] = {
    r"^conditioner\.embedders\.1\.": "a whole SDXL checkpoint in one file",
    r"^(model\.diffusion_model|first_stage_model|cond_stage_model|conditioner)\.": (
        "a whole checkpoint in one file"
    ),
    r"^control_model\.|controlnet_|lllite_": "a ControlNet",
    r"^(ip_adapter|image_proj)\.": "an IP-Adapter",
    r"^(adapter|body)\.\d*": "a T2I-Adapter",
    r"^(encoder|decoder|first_stage)\.(conv_in|down|up|mid)": "the weights of a VAE",
    r"(token|position)_embedding\.weight$": "the weights of a text encoder",
    r"^(unet\.)?(conv_in|conv_out|time_embedding|(down|up)_blocks|mid_block)\.": (
        "the weights of a UNet"
    ),
}


def kind_of(keys: Iterable[str]) -> Kind | None:
    """What a file is that is not a plain LoRA; None where no rule names it.

    Args:
        keys: The names of its tensors.
    """
    names = tuple(keys)
    lora = any(_LORA.search(name) for name in names)
    if family := _first(_OTHER_FAMILIES, names):
        noun = "a LoRA" if lora else "weights"
        return Kind(f"{noun} for {family}", BASES)
    if names and all(_is_word(name, alone=len(names) == 1) for name in names):
        return Kind(
            "words (a textual inversion), not a LoRA",
            "pass the LoRA as FILE, and this file with --words",
        )
    if method := _first(_OTHER_METHODS, names):
        return Kind(
            f"this is {method}",
            "only plain LoRA is read; tune or convert it as LoRA",
        )
    if not lora and (model := _first(_WHOLE_MODELS, names)):
        return Kind(f"{model}, not a LoRA", _way_out(model))
    return None


def family_of(widths: Mapping[str, int]) -> str:
    """Which Stable Diffusion layers are of: "SD 1.x", "SD 2.x", "SDXL", or "".

    Args:
        widths: A layer's name in any spelling -> its number of inputs. The text enters
            at `attn2.to_k`; its width tells families apart.
    """
    if any(re.search(r"^(lora_te2_|text_encoder_2|clip_g\.)", n) for n in widths):
        return "SDXL"
    if any(re.search(r"transformer_blocks[._][1-9]", name) for name in widths):
        return "SDXL"
    text = {w for name, w in widths.items() if re.search(r"attn2[._]to_k", name)}
    known = {768: "SD 1.x", 1024: "SD 2.x", 1280: "SDXL's refiner", 2048: "SDXL"}
    return known.get(text.pop(), "") if len(text) == 1 else ""


def _first(rules: Mapping[str, str], names: Iterable[str]) -> str:
    held = tuple(names)
    for pattern, what in rules.items():
        if any(re.search(pattern, name) for name in held):
            return what
    return ""


def _is_word(name: str, *, alone: bool) -> bool:
    return _WORD_KEYS.match(name) is not None or (alone and "." not in name)


def _way_out(model: str) -> str:
    if "checkpoint" in model:
        return (
            "for a base, write it as a pipeline directory with diffusers' "
            "`from_single_file(FILE).save_pretrained(FOLDER)`"
        )
    return "pass a LoRA's file"
