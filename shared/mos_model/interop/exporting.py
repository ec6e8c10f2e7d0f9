"""A concept or a release in the files of other tools.

    diffusers   OUT/pytorch_lora_weights.safetensors, for `load_lora_weights(OUT)`
    kohya       OUT/lora.safetensors, for ComfyUI, A1111 and kohya's scripts
    merged      OUT/, a whole pipeline with the update and the words in it
    all three   OUT/embeddings/NAME.safetensors, the words as others read them
                OUT/layers/NAME.safetensors, the words of every layer (kohya's XTI)

**What is lost.** Other tools give every cross-attention block the same text, a concept
has words of its own for each (P+, arXiv:2303.09522). `embeddings/` holds their mean
over the layers; where they are equal, nothing is lost. `layers/` holds all of them, and
`mos-client import --words` reads them back.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save
from torch import Tensor

from mos_model.bases.inventory import layer_names
from mos_model.concepts.concept import FusedConcept, FusedModel
from mos_model.interop.pairs import evened
from mos_model.interop.spelling import diffusers_name, kohya_name
from mos_runtime.files import write_atomically

DIFFUSERS_FILE: Final = "pytorch_lora_weights.safetensors"
KOHYA_FILE: Final = "lora.safetensors"


def words_of(model: FusedModel) -> dict[str, FusedConcept]:
    """Every concept by what stands between angle brackets: `rex`, or `site/rex`."""
    names = [concept.name for concept in model.concepts]
    return {c.name if names.count(c.name) == 1 else c.key: c for c in model.concepts}


def layers_differ(model: FusedModel) -> bool:
    """Whether averaging the words over layers loses anything."""
    return any(
        not torch.equal(vectors, vectors[:, :1].expand_as(vectors))
        for concept in model.concepts
        for vectors in concept.embeddings.values()
    )


def mean_words(concept: FusedConcept) -> dict[str, Tensor]:
    """V_rand and V_class of every encoder, averaged over layers: [2, D], float32.

    Words that are equal in every layer come out bit by bit alike.
    """
    means: dict[str, Tensor] = {}
    for encoder, vectors in concept.embeddings.items():
        first = vectors[:, 0].float()
        means[encoder] = first + (vectors.float() - first[:, None]).mean(1)
    return means


def export_diffusers(model: FusedModel, folder: Path) -> None:
    """A LoRA directory for `pipeline.load_lora_weights`, and textual inversions.

    `alpha` equals the rank, so no key tells it: loaders then scale by 1.
    """
    tensors: dict[str, Tensor] = {}
    for module, factors in evened(model.lora).items():
        name = diffusers_name(module)
        tensors[f"{name}.lora_A.weight"] = factors.down
        tensors[f"{name}.lora_B.weight"] = factors.up
    write_atomically(folder / DIFFUSERS_FILE, save(tensors))
    for token, concept in words_of(model).items():
        own = mean_words(concept)
        if len(own) == 1:
            _write_words(folder, token, {f"<{token}>": own["text_encoder"]})
        else:
            _write_words(folder, token, _by_clip(own))
        write_layers(folder, token, concept)


def export_kohya(model: FusedModel, folder: Path) -> None:
    """A LoRA file of kohya's keys, and words in A1111's form; alpha is the rank."""
    two = any(module.startswith("text_encoder_2.") for module in model.lora)
    tensors: dict[str, Tensor] = {}
    for module, factors in evened(model.lora).items():
        name = kohya_name(module, two_encoders=two)
        tensors[f"{name}.lora_down.weight"] = factors.down
        tensors[f"{name}.lora_up.weight"] = factors.up
        tensors[f"{name}.alpha"] = torch.tensor(float(factors.down.shape[0]))
    write_atomically(folder / KOHYA_FILE, save(tensors))
    for token, concept in words_of(model).items():
        own = mean_words(concept)
        form = {"emb_params": own["text_encoder"]} if len(own) == 1 else _by_clip(own)
        _write_words(folder, token, form)
        write_layers(folder, token, concept)


def write_layers(folder: Path, token: str, concept: FusedConcept) -> None:
    """Every layer's words under kohya's XTI names, by encoder where there are two."""
    tensors: dict[str, Tensor] = {}
    for encoder, vectors in concept.embeddings.items():
        before = "" if len(concept.embeddings) == 1 else f"{encoder}."
        for index, layer in enumerate(layer_names(vectors.shape[1])):
            tensors[f"{before}{layer}"] = vectors[:, index].float().contiguous()
    write_atomically(folder / "layers" / word_file(token), save(tensors))


def _write_words(folder: Path, token: str, tensors: Mapping[str, Tensor]) -> None:
    content = save({key: tensor.contiguous() for key, tensor in tensors.items()})
    write_atomically(folder / "embeddings" / word_file(token), content)


def _by_clip(words: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {"clip_l": words["text_encoder"], "clip_g": words["text_encoder_2"]}


def word_file(token: str) -> str:
    """Name of the file of a concept's words, in `embeddings` and in `layers`."""
    return f"{token.replace('/', '.')}.safetensors"
