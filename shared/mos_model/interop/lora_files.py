"""LoRA files of kohya's scripts, ComfyUI, PEFT and diffusers, read.

Keys end in one of these; what stands before is the layer (see `spelling`):

    .lora_down.weight .lora_up.weight .alpha          kohya, ComfyUI, A1111
    .lora_A.weight .lora_B.weight                     PEFT, diffusers
    .lora.down.weight .lora_linear_layer.down.weight  diffusers 0.17 to 0.22
    .to_q_lora.down.weight                            diffusers before

The update's scale is alpha / r. alpha is a key of its own (kohya), an entry of the
header's `lora_adapter_metadata` (diffusers), of `adapter_config.json` beside the file
(PEFT), or, where none of these has it, r (see `peft_settings`).
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor

from mos_model.bases.inventory import Inventory
from mos_model.errors import BaseMismatchError, ConceptError
from mos_model.file_kinds import BASES, family_of, kind_of
from mos_model.interop.pairs import ForeignPair, check_numbers
from mos_model.interop.peft_settings import PeftSettings
from mos_model.interop.spelling import dotted_name, spelling_table

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


def read_lora(
    tensors: Mapping[str, Tensor],
    inventory: Inventory,
    *,
    metadata: Mapping[str, str] | None = None,
    adapter: Mapping[str, Any] | None = None,
) -> dict[str, ForeignPair]:
    """The pairs of a LoRA file by canonical module name.

    Args:
        tensors: The file's, by key.
        inventory: The base's projections, whose names tell kohya's apart.
        metadata: The file's header.
        adapter: What `adapter_config.json` beside a PEFT file says.

    Raises:
        ConceptError: no LoRA, another method than LoRA, half a pair, or a scale that
            is not known.
        BaseMismatchError: a LoRA for another family of models than the base's.
    """
    settings = PeftSettings(metadata or {}, adapter)
    kind = kind_of(tensors)
    if kind is not None and kind.way_out == BASES:
        raise BaseMismatchError(f"{kind.what}; {inventory.label!r} is not: {BASES}")
    if kind is not None:
        raise ConceptError(str(kind))
    pairs = pairs_of(tensors, inventory, settings.alpha)
    _check_family(pairs, inventory)
    return pairs


def pairs_of(
    tensors: Mapping[str, Any], inventory: Inventory, alpha_of: Any
) -> dict[str, ForeignPair]:
    """Sort a file's tensors into pairs.

    Args:
        tensors: Key -> tensor.
        inventory: The base's projections.
        alpha_of: (spelled layer, rank) -> alpha where the layer has no key for it.

    Raises:
        ConceptError: a key that belongs to no pair, or half a pair.
    """
    table = spelling_table(inventory)
    parts: dict[str, dict[str, Any]] = {}
    spelled: dict[str, str] = {}
    for key, tensor in tensors.items():
        layer, part = _taken_apart(key)
        name = table.get(layer) or dotted_name(layer)
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
            one_number(name, own["alpha"])
            if "alpha" in own
            else alpha_of(spelled[name], rank)
        )
        pairs[name] = ForeignPair(own["down"], own["up"], alpha / rank)
    return pairs


def _check_family(pairs: Mapping[str, ForeignPair], inventory: Inventory) -> None:
    """Refuse a LoRA for one Stable Diffusion on another."""
    found = family_of({name: pair.down.shape[1] for name, pair in pairs.items()})
    own = family_of({name: shape[1] for name, shape in inventory.projections.items()})
    if found and found != own:
        base = f"an {own} base" if own.startswith("S") else "another kind of base"
        raise BaseMismatchError(
            f"a LoRA for {found}; {inventory.label!r} is {base}: pass one of {found} "
            "with --base"
        )


def _taken_apart(key: str) -> tuple[str, str]:
    """The layer as spelled, and "down", "up" or "alpha"."""
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


def one_number(name: str, alpha: Any) -> float:
    """A layer's alpha.

    Raises:
        ConceptError: not one finite number.
    """
    if not isinstance(alpha, Tensor) or alpha.numel() != 1:
        raise ConceptError(f"layer {name}: alpha is not one number")
    if not alpha.dtype.is_floating_point and not alpha.dtype.is_complex:
        alpha = alpha.float()
    return float(check_numbers(f"layer {name}: alpha", alpha))
