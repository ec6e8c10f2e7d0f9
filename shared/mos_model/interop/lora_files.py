"""LoRA safetensors files of kohya's scripts, PEFT and diffusers, read.

Keys end in one of these; what stands before is the layer (see `spelling`):

    .lora_down.weight .lora_up.weight .alpha          kohya, ComfyUI, A1111
    .lora_A.weight .lora_B.weight                     PEFT, diffusers
    .lora.down.weight .lora_linear_layer.down.weight  diffusers 0.17 to 0.22
    .to_q_lora.down.weight                            diffusers before

The update's scale is alpha / r. alpha is a key of its own (kohya), an entry of the
header's `lora_adapter_metadata` (diffusers), of `adapter_config.json` beside the file
(PEFT), or, where none is told, r.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from mos_model.errors import ConceptError
from mos_model.interop.pairs import ForeignPair, check_numbers
from mos_model.interop.spelling import dotted_name, kohya_table
from mos_model.inventory import Inventory

_OLD: Final = re.compile(r"\.to_(q|k|v|out)_lora\.(down|up)\.weight$")
_OLD_TEXT: Final = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "out_proj"}
_SUFFIXES: Final = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    ".alpha": "alpha",
}
_OTHER_METHODS: Final = {
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "lora_mid": "LoCon with a middle factor",
    "oft_": "OFT",
    "bundle_emb": "a LoRA with bundled embeddings",
}


def read_lora(
    content: bytes, inventory: Inventory, *, adapter: Mapping[str, Any] | None = None
) -> dict[str, ForeignPair]:
    """The pairs of a safetensors LoRA by canonical module name.

    Args:
        content: The file.
        inventory: The base's projections, whose names tell kohya's apart.
        adapter: What `adapter_config.json` beside a PEFT file says.

    Raises:
        ConceptError: not safetensors, no LoRA, another method than LoRA, half a pair,
            or a scale that is not told.
    """
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ConceptError(f"not a whole safetensors file: {error}") from error
    settings = _Settings(_adapter_metadata(content), adapter)
    return pairs_of(tensors, inventory, settings.alpha)


def pairs_of(
    tensors: Mapping[str, Any], inventory: Inventory, alpha_told: Any
) -> dict[str, ForeignPair]:
    """Sort a file's tensors into pairs.

    Args:
        tensors: Key -> tensor.
        inventory: The base's projections.
        alpha_told: (spelled layer, rank) -> alpha where the layer has no key for it.

    Raises:
        ConceptError: a key that belongs to no pair, or half a pair.
    """
    kohya = kohya_table(inventory)
    parts: dict[str, dict[str, Any]] = {}
    spelled: dict[str, str] = {}
    for key, tensor in tensors.items():
        layer, part = _taken_apart(key)
        name = kohya.get(layer) or dotted_name(layer)
        if part in parts.setdefault(name, {}):
            raise ConceptError(f"layer {name} is there twice, once as {key}")
        parts[name][part] = tensor
        spelled[name] = layer
    pairs: dict[str, ForeignPair] = {}
    for name, own in parts.items():
        for part in ("down", "up"):
            if part not in own:
                raise ConceptError(f"layer {name}: its {part} factor is missing")
        rank = _rank(name, own["down"])
        alpha = (
            _number(name, own["alpha"])
            if "alpha" in own
            else alpha_told(spelled[name], rank)
        )
        pairs[name] = ForeignPair(own["down"], own["up"], alpha / rank)
    return pairs


def _taken_apart(key: str) -> tuple[str, str]:
    """The layer as spelled, and "down", "up" or "alpha"."""
    for mark, method in _OTHER_METHODS.items():
        if mark in key:
            raise ConceptError(f"{key}: this is {method}; only plain LoRA is read")
    old = _OLD.search(key)
    if old is not None:
        before = key[: old.start()]
        which = old[1]
        if ".self_attn" in before:
            return f"{before}.{_OLD_TEXT[which]}", old[2]
        return f"{before}.to_{'out.0' if which == 'out' else which}", old[2]
    for suffix, part in _SUFFIXES.items():
        if key.endswith(suffix):
            return key.removesuffix(suffix), part
    raise ConceptError(f"{key[:120]}: not a key of a LoRA file that this reads")


def _rank(name: str, down: Any) -> int:
    if not isinstance(down, Tensor) or down.dim() < 2 or down.shape[0] < 1:
        raise ConceptError(f"layer {name}: its down factor has no rank")
    return int(down.shape[0])


def _number(name: str, alpha: Any) -> float:
    if not isinstance(alpha, Tensor) or alpha.numel() != 1:
        raise ConceptError(f"layer {name}: alpha is not one number")
    if not alpha.dtype.is_floating_point:
        alpha = alpha.float()
    return float(check_numbers(f"layer {name}: alpha", alpha))


class _Settings:
    """What a PEFT config says of alpha, from either of its two places."""

    def __init__(
        self, metadata: Mapping[str, Any], adapter: Mapping[str, Any] | None
    ) -> None:
        self._metadata, self._adapter = metadata, adapter

    def alpha(self, layer: str, rank: int) -> float:
        """What a layer without a key for it has; r where nothing is told."""
        component, _, rest = layer.partition(".")
        if layer.startswith("base_model.model."):
            if self._adapter is None:
                raise ConceptError(
                    "a PEFT file tells its scale in adapter_config.json, which does "
                    "not lie beside it"
                )
            config, rest = self._adapter, layer.removeprefix("base_model.model.")
        else:
            mark = f"{component}."
            told = self._metadata.items()
            config = {k.removeprefix(mark): v for k, v in told if k.startswith(mark)}
        if config.get("use_dora"):
            raise ConceptError("this is DoRA; only plain LoRA is read")
        alpha = _matching(config.get("alpha_pattern") or {}, rest)
        alpha = config.get("lora_alpha", rank) if alpha is None else alpha
        if not isinstance(alpha, int | float) or not math.isfinite(alpha):
            raise ConceptError(f"layer {layer}: alpha is {alpha!r}, no number")
        # rank-stabilised LoRA (arXiv:2312.03732) divides by sqrt(r).
        return float(alpha) * (math.sqrt(rank) if config.get("use_rslora") else 1.0)


def _matching(pattern: Any, layer: str) -> Any:
    """PEFT's patterns are suffixes, or regular expressions, which are not run here."""
    if not isinstance(pattern, Mapping):
        raise ConceptError("alpha_pattern is no object")
    for suffix, alpha in pattern.items():
        plain = str(suffix).removeprefix("^")
        if re.search(r"[^\w.-]", plain):
            raise ConceptError(f"alpha_pattern {plain[:80]!r}: not a layer's name")
        if layer == plain or layer.endswith(f".{plain}"):
            return alpha
    return None


def _adapter_metadata(content: bytes) -> Mapping[str, Any]:
    """The header's `lora_adapter_metadata`, as diffusers writes it, of a whole file."""
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    try:
        told = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except (ValueError, RecursionError) as error:
        raise ConceptError("lora_adapter_metadata in the header is no JSON") from error
    if not isinstance(told, dict):
        raise ConceptError("lora_adapter_metadata in the header is no object")
    return told
