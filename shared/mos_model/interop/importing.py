"""A LoRA or ED-LoRA of another tool as a concept of ours."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mos_model.bases.base_files import read_inventory
from mos_model.bases.inventory import Inventory
from mos_model.concepts.concept import Concept, ConceptFacts
from mos_model.concepts.names import checked_name
from mos_model.errors import BaseMismatchError, ConceptError
from mos_model.interop.edlora import is_reference, read_reference
from mos_model.interop.lora_files import read_lora
from mos_model.interop.opening import ForeignFile, open_foreign
from mos_model.interop.pairs import ImportedLora, to_lora
from mos_model.interop.words import Rows, completed, read_words, spread, unbundled
from mos_runtime.files import read_whole

MAX_FOREIGN_BYTES: Final = 2 * 2**30
"""An SDXL LoRA of rank 128 in float32 has some 1.5 GB."""

MAX_WORDS_BYTES: Final = 4 * 2**20
_MAX_CONFIG_BYTES: Final = 2**20
_MAX_MESSAGE_CHARACTERS: Final = 600
_FOLDER_FILES: Final = tuple(
    f"{stem}.{suffix}"
    for suffix in ("safetensors", "bin")
    for stem in ("adapter_model", "pytorch_lora_weights")
)
"""What PEFT and diffusers write into a folder, whatever is in it."""


@dataclass(frozen=True)
class Imported:
    """A concept made of a foreign file, and what the file lacked."""

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
    """Read the reference's `.pth`, or a LoRA of kohya, ComfyUI, PEFT or diffusers.

    Args:
        path: A safetensors file, a file of `torch.save`, or a folder of PEFT or
            diffusers that holds one.
        base: The base it was made for.
        class_word: What the concept is one of; its vectors stand in for words that
            the file lacks.
        name: The concept's name; by default of the file's words, or of the file, or
            of its folder where the file's name is every folder's.
        words: A file of words (a textual inversion), for a LoRA that has none.
        drop_extra: Leave out what a concept has no place for.
        licence: Recorded in the concept.

    Raises:
        ConceptError: the file is broken, no LoRA, or does not fit a concept.
        BaseMismatchError: it was made for another base.
        BaseError: the base is missing.
        StorageError: the file is missing or too large.
    """
    inventory = read_inventory(base)
    path = _weights(path)
    file = _open(path, "a LoRA", MAX_FOREIGN_BYTES)
    try:
        read = _reference if is_reference(file.table) else _plain_lora
        found, lora, rows = read(file, path, inventory, drop_extra)
    except (ConceptError, BaseMismatchError) as error:
        raise _about(path, error) from error
    if words is not None:
        rows = _words(words, inventory)
    facts = ConceptFacts(
        checked_name(name or found or _name_of(path), "concept"),
        class_word,
        inventory.base,
        lora.rank,
        licence,
    )
    embeddings = completed(rows, base, class_word, inventory)
    concept = Concept(facts, lora.lora, embeddings)
    return Imported(concept, lora.dropped, lora.absent, bool(rows))


Read = tuple[str, ImportedLora, dict[str, Rows]]
"""A name or "", the factors, and the words where the file has them."""


def _reference(
    file: ForeignFile, path: Path, inventory: Inventory, drop_extra: bool
) -> Read:
    if len(inventory.embedding_widths) != 1:
        raise BaseMismatchError(
            "the reference's ED-LoRA is for Stable Diffusion 1.x, "
            f"{inventory.label!r} has two text encoders"
        )
    found = read_reference(file.table, inventory)
    lora = to_lora(found.pairs, inventory, drop_extra=drop_extra, whole=True)
    return found.name, lora, {"text_encoder": spread(found.words, inventory)}


def _plain_lora(
    file: ForeignFile, path: Path, inventory: Inventory, drop_extra: bool
) -> Read:
    if "mos" in file.metadata:
        raise ConceptError(
            "a concept or a release of ours already; use it as it is, with `sample "
            "--concept`, `share` or `fuse`"
        )
    tensors, name, bundled = unbundled(file.tensors())
    pairs = read_lora(
        tensors, inventory, metadata=file.metadata, adapter=_adapter_config(path)
    )
    lora = to_lora(pairs, inventory, drop_extra=drop_extra, whole=False)
    return _plain(name), lora, read_words(bundled, inventory) if bundled else {}


def _words(path: Path, inventory: Inventory) -> dict[str, Rows]:
    file = _open(path, "a file of words", MAX_WORDS_BYTES)
    try:
        return read_words(file.tensors(), inventory)
    except (ConceptError, BaseMismatchError) as error:
        raise _about(path, error) from error


def _open(path: Path, what: str, max_bytes: int) -> ForeignFile:
    content = read_whole(path, what=what, max_bytes=max_bytes)
    try:
        return open_foreign(content)
    except ConceptError as error:
        raise _about(path, error) from error


def _about(
    path: Path, error: ConceptError | BaseMismatchError
) -> ConceptError | BaseMismatchError:
    """The error with the file's name; what the file wrote into it is made printable."""
    text = "".join(c if c.isprintable() else "?" for c in str(error))
    return type(error)(f"{path}: {text[:_MAX_MESSAGE_CHARACTERS]}")


def _weights(path: Path) -> Path:
    """The file itself, or the one in a folder of PEFT or diffusers."""
    if not path.is_dir():
        return path
    found = [path / name for name in _FOLDER_FILES if (path / name).is_file()]
    if not found:
        raise ConceptError(
            f"{path}: a folder without {' or '.join(_FOLDER_FILES[:2])}; pass the "
            "LoRA's file"
        )
    return found[0]


def _name_of(path: Path) -> str:
    """A default name: the file's, or its folder's where the file's says nothing."""
    if path.name in _FOLDER_FILES:
        return _plain(path.absolute().parent.name)
    return _plain(path.stem)


def _adapter_config(path: Path) -> Mapping[str, Any] | None:
    """PEFT's settings, which it writes next to the weights."""
    config_path = path.with_name("adapter_config.json")
    if not config_path.is_file():
        return None
    content = read_whole(config_path, what="PEFT's config", max_bytes=_MAX_CONFIG_BYTES)
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConceptError(f"its {config_path.name} is not JSON") from error
    if not isinstance(config, dict):
        raise ConceptError(f"its {config_path.name} is not a JSON object")
    return config


def _plain(stem: str) -> str:
    """A concept's name from a file's, as near as names allow."""
    return re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_")[:64]
