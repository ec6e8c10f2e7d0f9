"""A base with a fused model merged in for good, as a pipeline directory."""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from mos_model.bases.base import DEFAULTS_FILE, Base
from mos_model.concepts.applying import applied, check_base
from mos_model.concepts.concept import FusedModel
from mos_model.errors import ConceptError
from mos_model.interop.exporting import mean_words, words_of, write_layers
from mos_runtime.errors import StorageError


def export_merged(model: FusedModel, base: Base, folder: Path) -> None:
    """Write a pipeline whose every tool needs to know nothing of LoRA or of words.

    W0 + up @ down takes W0's place. `<rex>` becomes two tokens, `<rex>` and `<rex>_1`,
    which diffusers' pipelines put in for `<rex>` in a prompt by themselves; elsewhere
    both are to be written. The words are means over the layers (see `exporting`).
    `base` computes as before afterwards, with tokens it does not use.

    Raises:
        BaseMismatchError: the model was made for another base.
        ConceptError: the base's tokenizer has a word of that name already.
        StorageError: it cannot be written.
    """
    check_base(base, model.base, "the model")
    for name, encoder in base.text_encoders.items():
        _add_words(model, base.tokenizers[name], encoder, name)
    with applied(base, model.lora):
        try:
            base.pipeline.save_pretrained(folder, safe_serialization=True)
        except OSError as error:
            raise StorageError(
                f"{folder}: cannot be written: {error.strerror or error}"
            ) from error
    # transformers 5 writes tokenizer.json alone; older readers want its two sources.
    for name in base.text_encoders:
        _spell_for_transformers_4(folder / name / "model.safetensors")
        part = name.replace("text_encoder", "tokenizer")
        for file in ("vocab.json", "merges.txt"):
            source = base.folder / part / file
            if source.is_file() and not (folder / part / file).exists():
                shutil.copyfile(source, folder / part / file)
    if (base.folder / DEFAULTS_FILE).is_file():
        shutil.copyfile(base.folder / DEFAULTS_FILE, folder / DEFAULTS_FILE)
    for token, concept in words_of(model).items():
        write_layers(folder, token, concept)


def _spell_for_transformers_4(path: Path) -> None:
    """Name a text encoder's layers `text_model....`, which all versions read.

    transformers 5 writes `CLIPTextModel` without it, and 4 then takes random weights.
    """
    tensors = load_file(path)
    prefix, rest = "text_model.", "text_projection."
    if any(key.startswith(prefix) for key in tensors):
        return
    named = {k if k.startswith(rest) else prefix + k: t for k, t in tensors.items()}
    save_file(named, path, {"format": "pt"})


@torch.no_grad()
def _add_words(model: FusedModel, tokenizer: Any, encoder: Any, name: str) -> None:
    vectors: dict[str, torch.Tensor] = {}
    for token, concept in words_of(model).items():
        rand, own_class = mean_words(concept)[name]
        vectors |= {f"<{token}>": rand, f"<{token}>_1": own_class}
    added = tokenizer.add_tokens(list(vectors))
    if added != len(vectors):
        raise ConceptError(
            f"the base's tokenizer has {' or '.join(vectors)} already; it was merged "
            "with such a concept before"
        )
    rows = max(len(tokenizer), encoder.get_input_embeddings().weight.shape[0])
    encoder.resize_token_embeddings(rows, mean_resizing=False)
    table = encoder.get_input_embeddings().weight
    ids = tokenizer.convert_tokens_to_ids(list(vectors))
    table[ids] = torch.stack(list(vectors.values())).to(table)
