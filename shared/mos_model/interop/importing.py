"""A LoRA or ED-LoRA of another tool as a concept of ours."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mos_model.base_files import read_inventory
from mos_model.concept import Concept, ConceptFacts
from mos_model.errors import BaseMismatchError, ConceptError
from mos_model.interop.edlora import read_reference
from mos_model.interop.lora_files import read_lora
from mos_model.interop.pairs import ImportedLora, to_lora
from mos_model.interop.words import Rows, completed, read_words, spread
from mos_model.inventory import Inventory
from mos_model.names import checked_name
from mos_runtime.files import read_whole

MAX_FOREIGN_BYTES: Final = 2 * 2**30
"""An SDXL LoRA of rank 128 in float32 has some 1.5 GB."""

MAX_WORDS_BYTES: Final = 4 * 2**20
_MAX_CONFIG_BYTES: Final = 2**20


@dataclass(frozen=True)
class Imported:
    """A concept made of a foreign file, and what the file did not tell."""

    concept: Concept
    dropped: tuple[str, ...]
    """Layers left out because a concept has no place for them."""

    absent: tuple[str, ...]
    """Projections that the file does not adapt; their factors are zero."""

    own_words: bool
    """Whether the file, or one of words beside it, had words of its own."""


def import_concept(
    path: Path,
    *,
    base: str,
    class_word: str,
    name: str | None = None,
    words: Path | None = None,
    drop_extra: bool = False,
    licence: str = "",
) -> Imported:
    """Read the reference's `.pth`, or a LoRA of kohya, PEFT or diffusers.

    Args:
        path: `*.pth`, `*.pt` or `*.bin` is read as the reference's, anything else as
            safetensors. Nothing else is opened.
        base: The base it was made for.
        class_word: What the concept is one of; its vectors stand in for words that
            the file lacks.
        name: The concept's name; by default of the file's words, or of the file.
        words: A safetensors file of words, for a LoRA that has none.
        drop_extra: Leave out what a concept has no place for.
        licence: Recorded in the concept.

    Raises:
        ConceptError: the file is broken, no LoRA, or does not fit a concept.
        BaseMismatchError: it was made for another base.
        BaseError: the base is missing.
        StorageError: the file is missing or too large.
    """
    inventory = read_inventory(base)
    content = read_whole(path, what="a LoRA", max_bytes=MAX_FOREIGN_BYTES)
    try:
        if path.suffix.lower() in (".pth", ".pt", ".bin"):
            found, lora, rows = _reference(content, inventory, drop_extra)
        else:
            pairs = read_lora(content, inventory, adapter=_adapter_config(path))
            lora = to_lora(pairs, inventory, drop_extra=drop_extra, whole=False)
            found, rows = _plain(path.stem), {}
    except (ConceptError, BaseMismatchError) as error:
        raise type(error)(f"{path}: {error}") from error
    if words is not None:
        rows = _words(words, inventory)
    facts = ConceptFacts(
        checked_name(name or found, "concept"),
        class_word,
        inventory.base,
        lora.rank,
        licence,
    )
    embeddings = completed(rows, base, class_word, inventory)
    concept = Concept(facts, lora.lora, embeddings)
    return Imported(concept, lora.dropped, lora.absent, bool(rows))


def _reference(
    content: bytes, inventory: Inventory, drop_extra: bool
) -> tuple[str, ImportedLora, dict[str, Rows]]:
    if len(inventory.embedding_widths) != 1:
        raise BaseMismatchError(
            "the reference's ED-LoRA is for Stable Diffusion 1.x, "
            f"{inventory.label!r} has two text encoders"
        )
    file = read_reference(content, inventory)
    lora = to_lora(file.pairs, inventory, drop_extra=drop_extra, whole=True)
    return file.name, lora, {"text_encoder": spread(file.words, inventory)}


def _words(path: Path, inventory: Inventory) -> dict[str, Rows]:
    content = read_whole(path, what="a file of words", max_bytes=MAX_WORDS_BYTES)
    try:
        return read_words(content, inventory)
    except (ConceptError, BaseMismatchError) as error:
        raise type(error)(f"{path}: {error}") from error


def _adapter_config(path: Path) -> Mapping[str, Any] | None:
    """PEFT's settings beside its weights, where they are."""
    beside = path.with_name("adapter_config.json")
    if not beside.is_file():
        return None
    content = read_whole(beside, what="PEFT's config", max_bytes=_MAX_CONFIG_BYTES)
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConceptError(f"{beside}: not JSON") from error
    if not isinstance(config, dict):
        raise ConceptError(f"{beside}: not an object")
    return config


def _plain(stem: str) -> str:
    """A concept's name from a file's, as near as names allow."""
    return re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_")[:64]
