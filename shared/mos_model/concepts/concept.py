"""A concept and a fused model: tensors in memory, and their one form on disk.

Both are a LoRA on every attention projection of a base plus layer-wise embeddings, in
one safetensors file. The file's metadata is a single JSON key, `mos`, with sorted keys:
safetensors writes several keys in no fixed order, which would make equal concepts
different files. `Concept.from_bytes(concept.to_bytes()) == concept` in every tensor's
bits, and the bytes depend on nothing but the concept.

Keys on disk:

    <module>.lora_A.weight                    down factor A, [r, d_in]
    <module>.lora_B.weight                    up factor B, [d_out, r]
    embeddings.<encoder>.<layer>              concept: rows V_rand, V_class, [2, D]
    concepts.<site/name>.<encoder>.<layer>    fused model: the same per concept
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mos_model.bases.inventory import layer_names
from mos_model.concepts.names import checked_class_word
from mos_model.errors import ConceptError, TensorFileError
from mos_model.file_kinds import kind_of
from mos_model.tensor_files import FileHeader, header_of

CONCEPT_FORMAT: Final = "mos-concept/1"
FUSED_FORMAT: Final = "mos-fused/1"

_DOWN: Final = ".lora_A.weight"
_UP: Final = ".lora_B.weight"


@runtime_checkable
class OpenTensors(Protocol):
    """An open safetensors file, as `safetensors.safe_open` gives it."""

    def metadata(self) -> dict[str, str] | None:
        """The header's metadata."""

    def keys(self) -> list[str]:
        """Names of the tensors."""

    def get_tensor(self, name: str) -> Tensor:
        """One tensor."""


@dataclass(frozen=True)
class LoraFactors:
    """A low-rank update dW = up @ down, its scale alpha / r folded into `up`."""

    down: Float[Tensor, "rank d_in"]
    """A of the paper."""

    up: Float[Tensor, "d_out rank"]
    """B of the paper, times alpha / r."""

    def dense(self) -> Float[Tensor, "d_out d_in"]:
        """The update itself, in the factors' dtype."""
        return self.up @ self.down


LayerwiseEmbeddings = Mapping[str, Float[Tensor, "2 layers width"]]
"""Text encoder name -> V_rand and V_class of every layer (P+), float32."""


@dataclass(frozen=True)
class ConceptFacts:
    """What a concept says of itself; nothing of the pictures it was tuned on."""

    name: str
    """The word between angle brackets in a prompt: `rex` for `<rex>`."""

    class_word: str
    """The ordinary word V_class started from."""

    base: str
    """Fingerprint of the base it was tuned on."""

    rank: int
    """r of every LoRA pair."""

    licence: str = ""
    """Terms of use as the site states them, an SPDX expression where possible."""


@dataclass(frozen=True)
class Concept:
    """One tuned ED-LoRA (Mix-of-Show, section 3.1)."""

    facts: ConceptFacts
    lora: Mapping[str, LoraFactors]
    embeddings: LayerwiseEmbeddings

    def to_bytes(self) -> bytes:
        """The concept's safetensors file; equal concepts give equal bytes."""
        tensors = _lora_tensors(self.lora) | _embedding_tensors(
            "embeddings", self.embeddings
        )
        # `alpha` repeats the rank for other loaders: they scale by alpha / rank = 1.
        facts = asdict(self.facts) | {
            "alpha": self.facts.rank,
            "format": CONCEPT_FORMAT,
            "trigger": f"<{self.facts.name}>",
        }
        return save(tensors, metadata={"mos": _canonical_json(facts)})

    @staticmethod
    def from_bytes(content: bytes) -> "Concept":
        """The concept of a safetensors file.

        Raises:
            ConceptError: not safetensors, or not a concept of a known format.
        """
        tensors, facts = _open(content, CONCEPT_FORMAT, "concept")
        embeddings = _embeddings_of(tensors, "embeddings")
        return Concept(_concept_facts(facts), _lora_of(tensors), embeddings)

    @staticmethod
    def from_open(opened: OpenTensors) -> "Concept":
        """The concept of an open file, which must outlive it, unchanged.

        Its LoRA is read layer by layer, each time that one is asked for; so many
        concepts can be at hand in little memory.

        Raises:
            ConceptError: not a concept of a known format.
        """
        facts = _expected(opened.metadata() or {}, CONCEPT_FORMAT, "concept")
        keys = opened.keys()
        words = {
            key: opened.get_tensor(key) for key in keys if key.startswith("embeddings.")
        }
        modules = sorted(key.removesuffix(_DOWN) for key in keys if key.endswith(_DOWN))
        return Concept(
            _concept_facts(facts),
            _FileLora(opened, tuple(modules)),
            _embeddings_of(words, "embeddings"),
        )


class _FileLora(Mapping[str, LoraFactors]):
    """Module -> factors, read from an open file each time."""

    def __init__(self, opened: OpenTensors, modules: tuple[str, ...]) -> None:
        self._opened, self._modules = opened, modules

    def __getitem__(self, module: str) -> LoraFactors:
        try:
            down, up = (self._opened.get_tensor(f"{module}{k}") for k in (_DOWN, _UP))
        except SafetensorError as error:
            raise KeyError(module) from error
        return LoraFactors(down, up)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


@dataclass(frozen=True)
class FusedConcept:
    """One concept as a fused model carries it: its words, without its own LoRA."""

    name: str
    """The concept's own name."""

    site: str
    """The site it came from; "" for a concept fused from a file."""

    class_word: str
    embeddings: LayerwiseEmbeddings

    @property
    def key(self) -> str:
        """The concept's full name, `site/name`, unique within a fused model."""
        return f"{self.site}/{self.name}" if self.site else self.name


@dataclass(frozen=True)
class FusedModel:
    """All concepts of a release: one LoRA of rank sum(r_i), and every embedding."""

    base: str
    """Fingerprint of the base."""

    lora: Mapping[str, LoraFactors]
    concepts: tuple[FusedConcept, ...]

    def to_bytes(self) -> bytes:
        """The fused model's safetensors file; equal models give equal bytes."""
        tensors = _lora_tensors(self.lora)
        for concept in self.concepts:
            tensors |= _embedding_tensors(f"concepts.{concept.key}", concept.embeddings)
        facts = {
            "format": FUSED_FORMAT,
            "base": self.base,
            "concepts": [
                {"name": c.name, "site": c.site, "class_word": c.class_word}
                for c in self.concepts
            ],
        }
        return save(tensors, metadata={"mos": _canonical_json(facts)})

    @staticmethod
    def from_bytes(content: bytes) -> "FusedModel":
        """The fused model of a safetensors file.

        Raises:
            ConceptError: not safetensors, or not a fused model of a known format.
        """
        tensors, facts = _open(content, FUSED_FORMAT, "fused model")
        try:
            concepts = tuple(
                _fused_concept(tensors, entry) for entry in facts["concepts"]
            )
            base = str(facts["base"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConceptError(f"the fused model's header lacks {error}") from error
        return FusedModel(base, _lora_of(tensors), concepts)


def format_of(content: bytes) -> str:
    """The format named in a safetensors file's header, "" where it names none.

    Raises:
        ConceptError: not a safetensors file.
    """
    return str(_facts_of(_header(content).metadata).get("format", ""))


def _canonical_json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True, separators=(",", ":"))


def _header(content: bytes) -> FileHeader:
    try:
        return header_of(content)
    except TensorFileError as error:
        raise ConceptError(str(error)) from error


def _facts_of(metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        facts = json.loads(metadata.get("mos", "{}"))
    except (ValueError, RecursionError) as error:
        raise ConceptError("the `mos` key of the header is not JSON") from error
    if not isinstance(facts, dict):
        raise ConceptError("the `mos` key of the header is not an object")
    return facts


def _expected(metadata: Mapping[str, str], wanted: str, what: str) -> dict[str, Any]:
    facts = _facts_of(metadata)
    found = facts.get("format")
    if found != wanted:
        raise ConceptError(
            f"not a {what}: the header says format {found!r}, not {wanted!r}"
        )
    return facts


def _concept_facts(facts: Mapping[str, Any]) -> ConceptFacts:
    try:
        return ConceptFacts(
            name=str(facts["name"]),
            class_word=checked_class_word(str(facts["class_word"])),
            base=str(facts["base"]),
            rank=int(facts["rank"]),
            licence=str(facts["licence"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConceptError(f"the concept's header lacks {error}") from error


def _open(
    content: bytes, wanted: str, what: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    header = _header(content)
    if "mos" not in header.metadata:
        kind = kind_of(header.tensors)
        raise ConceptError(
            f"not a {what}: {kind.what}"
            if kind
            else f"not a {what}; a LoRA of another tool becomes one by "
            "`mos-client import`"
        )
    facts = _expected(header.metadata, wanted, what)
    try:
        return load(content), facts
    except (SafetensorError, ValueError) as error:
        raise ConceptError(f"not a whole {what}: {error}") from error


def _lora_tensors(lora: Mapping[str, LoraFactors]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for module, factors in lora.items():
        tensors[f"{module}{_DOWN}"] = factors.down.contiguous().cpu()
        tensors[f"{module}{_UP}"] = factors.up.contiguous().cpu()
    return tensors


def _lora_of(tensors: Mapping[str, Tensor]) -> dict[str, LoraFactors]:
    lora: dict[str, LoraFactors] = {}
    for key in sorted(tensors):
        if not key.endswith(_DOWN):
            continue
        module = key.removesuffix(_DOWN)
        up = tensors.get(f"{module}{_UP}")
        if up is None:
            raise ConceptError(f"{module}: lora_A is there, lora_B is missing")
        lora[module] = LoraFactors(tensors[key], up)
    return lora


def _embedding_tensors(
    prefix: str, embeddings: LayerwiseEmbeddings
) -> dict[str, Tensor]:
    return {
        f"{prefix}.{encoder}.{layer}": vectors[:, index].contiguous().cpu()
        for encoder, vectors in embeddings.items()
        for index, layer in enumerate(layer_names(vectors.shape[1]))
    }


def _embeddings_of(
    tensors: Mapping[str, Tensor], prefix: str
) -> dict[str, Float[Tensor, "2 layers width"]]:
    by_encoder: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith(f"{prefix}."):
            encoder, _, layer = key.removeprefix(f"{prefix}.").rpartition(".")
            by_encoder.setdefault(encoder, {})[layer] = tensor
    embeddings: dict[str, Float[Tensor, "2 layers width"]] = {}
    for encoder, by_layer in sorted(by_encoder.items()):
        names = layer_names(len(by_layer))
        if set(names) != set(by_layer):
            raise ConceptError(f"{prefix}.{encoder}: layers are missing")
        stacked = [by_layer[name] for name in names]
        if any(row.dim() != 2 or row.shape != stacked[0].shape for row in stacked):
            raise ConceptError(f"{prefix}.{encoder}: layers differ in shape")
        embeddings[encoder] = torch.stack(stacked, dim=1)
    return embeddings


def _fused_concept(
    tensors: Mapping[str, Tensor], entry: Mapping[str, str]
) -> FusedConcept:
    name, site = entry["name"], entry["site"]
    class_word = checked_class_word(entry["class_word"])
    key = f"{site}/{name}" if site else name
    embeddings = _embeddings_of(tensors, f"concepts.{key}")
    return FusedConcept(name, site, class_word, embeddings)
