"""The reference implementation's ED-LoRA file (TencentARC/Mix-of-Show), read.

    {"params": {
        "new_concept_embedding": {"<potter1>": [16, 768], "<potter2>": [16, 768]},
        "text_encoder": {"text_model.….q_proj.lora_down.weight": [r, d_in], …},
        "unet": {"down_blocks.….to_q.lora_down.weight": [r, d_in], …}}}

as `EDLoRATrainer.delta_state_dict` writes it, with `torch.save`. The first word is
V_rand, the second V_class; plain LoRA has one row a word instead of L.

Scale trap: the reference computes dW = alpha * up @ down and does not divide by the
rank. alpha is 1 in all its options and is not in the file; it is honoured where it is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from mos_model.bases.inventory import Inventory
from mos_model.errors import ConceptError
from mos_model.interop.lora_files import one_number, pairs_of
from mos_model.interop.pairs import ForeignPair

_PARTS: Final = ("new_concept_embedding", "text_encoder", "unet")


@dataclass(frozen=True)
class ReferenceFile:
    """An ED-LoRA `.pth` taken apart."""

    name: str
    """What its words have in common: `potter` of `<potter1>` and `<potter2>`."""

    words: tuple[Tensor, ...]
    """One or two of [L, D], or of [1, D] for plain LoRA; not yet looked at."""

    pairs: Mapping[str, ForeignPair]


def is_reference(table: Mapping[str, Any]) -> bool:
    """Whether a file's table has the reference's three parts."""
    return all(isinstance(_params(table).get(part), dict) for part in _PARTS)


def read_reference(table: Mapping[str, Any], inventory: Inventory) -> ReferenceFile:
    """Read the reference's `.pth`, of which `is_reference` is true.

    Raises:
        ConceptError: it holds more than tensors, or half of them.
    """
    params = _params(table)
    tensors = {
        f"{component}.{key}": tensor
        for component in ("text_encoder", "unet")
        for key, tensor in params[component].items()
    }
    # `pairs_of` divides by the rank, which the reference does not: alpha = 1 is r.
    pairs = pairs_of(
        {key: t for key, t in tensors.items() if not key.endswith(".alpha")},
        inventory,
        lambda layer, rank: _alpha(tensors, layer) * rank,
    )
    name, words = _words(params["new_concept_embedding"])
    return ReferenceFile(name, words, pairs)


def _params(table: Mapping[str, Any]) -> Mapping[str, Any]:
    params = table.get("params", table)
    return params if isinstance(params, dict) else {}


def _alpha(tensors: Mapping[str, Any], layer: str) -> float:
    alpha = tensors.get(f"{layer}.alpha", 1.0)
    if type(alpha) is float:
        alpha = torch.tensor(alpha)
    return one_number(layer, alpha)


def _words(table: Mapping[Any, Any]) -> tuple[str, tuple[Tensor, ...]]:
    if not 1 <= len(table) <= 2:
        raise ConceptError(
            f"{len(table)} words in it; a concept has two, V_rand and V_class"
        )
    words = []
    for word, vectors in table.items():
        if not isinstance(vectors, Tensor) or vectors.dim() != 2:
            raise ConceptError(f"word {str(word)[:80]}: not a table of vectors")
        words.append(vectors)
    first = re.sub(r"[^a-z0-9_-]", "", str(next(iter(table))).lower())
    return first.rstrip("0123456789-_"), tuple(words)
