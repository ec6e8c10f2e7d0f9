"""The reference implementation's ED-LoRA file (TencentARC/Mix-of-Show), read.

    {"params": {
        "new_concept_embedding": {"<potter1>": [16, 768], "<potter2>": [16, 768]},
        "text_encoder": {"text_model.….q_proj.lora_down.weight": [r, d_in], …},
        "unet": {"down_blocks.….to_q.lora_down.weight": [r, d_in], …}}}

as `EDLoRATrainer.delta_state_dict` writes it, with `torch.save`. The first word is
V_rand, the second V_class; plain LoRA has one row a word instead of L.

Scale trap: the reference computes dW = alpha * up @ down and does not divide by the
rank. alpha is 1 in all its options and is not in the file; it is honoured where it is.

A pickle is read by `torch.load(weights_only=True)` alone, and only out of a zip whose
entries are not compressed, so that a small file cannot become a large one.
"""

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mos_model.errors import ConceptError
from mos_model.interop.lora_files import pairs_of
from mos_model.interop.pairs import ForeignPair
from mos_model.inventory import Inventory


@dataclass(frozen=True)
class ReferenceFile:
    """An ED-LoRA `.pth` taken apart."""

    name: str
    """What its words have in common: `potter` of `<potter1>` and `<potter2>`."""

    words: tuple[Tensor, ...]
    """One or two of [L, D], or of [1, D] for plain LoRA; not yet looked at."""

    pairs: Mapping[str, ForeignPair]


def read_reference(content: bytes, inventory: Inventory) -> ReferenceFile:
    """Read the reference's `.pth`.

    Raises:
        ConceptError: not such a file, or it holds more than tensors.
    """
    params = _unpickled(content)
    params = params.get("params", params)
    parts = ("new_concept_embedding", "text_encoder", "unet")
    if not isinstance(params, dict) or not all(
        isinstance(params.get(part), dict) for part in parts
    ):
        raise ConceptError(f"not the reference's ED-LoRA, which has {', '.join(parts)}")
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


def _unpickled(content: bytes) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise ConceptError(f"not a whole .pth file of torch.save: {error}") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ConceptError("its parts are compressed, which torch.save never does")
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a crafted pickle brings the reader to raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConceptError(
            f"not a file of plain tensors, and nothing else is opened: {reason[:200]}"
        ) from error
    if not isinstance(found, dict):
        raise ConceptError("not the reference's ED-LoRA: no table of tensors")
    return found


def _alpha(tensors: Mapping[str, Any], layer: str) -> float:
    told = tensors.get(f"{layer}.alpha", 1.0)
    if isinstance(told, Tensor) and told.numel() == 1:
        return float(told)
    if not isinstance(told, int | float):
        raise ConceptError(f"layer {layer}: alpha is not one number")
    return float(told)


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
