"""The words of an imported concept: V_rand and V_class, where a file has them or not.

Files of words (R rows, one or two):

    emb_params [R, D]                 A1111, ComfyUI, kohya
    string_to_param {"*": [R, D]}     A1111's `.pt`
    clip_l [R, D], clip_g [R, D']     the same of SDXL's two encoders
    <word> [R, D] or [D]              diffusers' textual inversion, one key
    IN01 … MID … OUT11, each [R, D]   kohya's XTI, one vector per layer (P+)

One row is V_rand; V_class is then the class word's own vector. A LoRA without words
reads as `<name>` whatever prompt it was tuned with, so both rows are the class word's
own vectors: of two tokens (`sks dog`) the first and the second, of one token both, of
more the mean of all but the last, and the last.

A LoRA may carry words under `bundle_emb.NAME.` (A1111, OneTrainer), in these forms.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor

from mos_model.bases.base_files import resolve_base, weight_files
from mos_model.bases.inventory import Inventory, layer_names
from mos_model.concepts.concept import LayerwiseEmbeddings
from mos_model.errors import BaseMismatchError, ConceptError
from mos_model.interop.pairs import check_numbers
from mos_model.tensor_files import header_at

Rows = Float[Tensor, "rows layers width"]
_BY_ENCODER = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}
_ALONE = ("emb_params", "string_to_param.*")
_BUNDLED = "bundle_emb."


def unbundled(
    tensors: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], str, dict[str, Tensor]]:
    """A LoRA's own tensors, and the name and tensors of the words bundled with it.

    Raises:
        ConceptError: several words are bundled.
    """
    own: dict[str, Tensor] = {}
    words: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith(_BUNDLED):
            name, _, rest = key.removeprefix(_BUNDLED).partition(".")
            words.setdefault(name, {})[rest] = tensor
        else:
            own[key] = tensor
    if len(words) > 1:
        raise ConceptError(
            f"{len(words)} words are bundled with it ({', '.join(words)[:80]}); a "
            "concept has one"
        )
    name = next(iter(words), "")
    return own, name, words.get(name, {})


def read_words(tensors: Mapping[str, Tensor], inventory: Inventory) -> dict[str, Rows]:
    """The words among a file's tensors, one or two rows an encoder.

    Raises:
        ConceptError: no words, or not one or two of them.
        BaseMismatchError: words of another base's width or number of layers.
    """
    encoders = tuple(inventory.embedding_widths)
    layers = layer_names(inventory.layers)
    found: dict[str, Tensor] = {}
    for encoder in encoders:
        own = [f"{encoder}.{layer}" for layer in layers]
        if all(key in tensors for key in own):
            found[encoder] = _stacked([tensors[key] for key in own])
    if not found and all(layer in tensors for layer in layers):
        found["text_encoder"] = _stacked([tensors[layer] for layer in layers])
    if not found and "clip_l" in tensors:
        found = {_BY_ENCODER[k]: t for k, t in tensors.items() if k in _BY_ENCODER}
    if not found:
        named = [tensors[key] for key in _ALONE if key in tensors]
        named = named or list(tensors.values())
        if len(named) == 1:
            found["text_encoder"] = named[0]
    if "text_encoder" in found and set(found) != set(encoders):
        raise BaseMismatchError(
            f"words for {len(found)} text encoder(s), {inventory.label!r} has "
            f"{len(encoders)}; SDXL has two"
        )
    if not found:
        raise ConceptError(
            f"no words for {' and '.join(encoders)} of {inventory.label!r} in it; keys "
            f"are {', '.join(list(tensors)[:4])[:120]}"
        )
    return {encoder: _rows(encoder, t, inventory) for encoder, t in found.items()}


def completed(
    rows: Mapping[str, Rows], base: str, class_word: str, inventory: Inventory
) -> LayerwiseEmbeddings:
    """Both words of every encoder; the class word's own vectors where there is none.

    Args:
        rows: Encoder -> one or two words; none where the file had none.
        base: The base's name, whose table of token embeddings is read.
        class_word: What the concept is one of.
        inventory: The base's.

    Raises:
        ConceptError: the class word says nothing to the base's tokenizer.
    """
    embeddings: dict[str, Tensor] = {}
    for encoder in inventory.embedding_widths:
        own = rows.get(encoder)
        if own is None or own.shape[0] < 2:
            plain = class_rows(base, class_word, encoder)[:, None]
            plain = plain.expand(-1, inventory.layers, -1)
            own = plain if own is None else torch.cat([own, plain[1:]])
        embeddings[encoder] = own.contiguous()
    return embeddings


def class_rows(base: str, class_word: str, encoder: str) -> Float[Tensor, "2 width"]:
    """The base's own vectors of a class word, as two rows; float32.

    Raises:
        ConceptError: the base's tokenizer has no token for it.
    """
    from transformers import CLIPTokenizer

    folder = resolve_base(base)
    tokenizer = CLIPTokenizer.from_pretrained(
        folder / encoder.replace("text_encoder", "tokenizer"), local_files_only=True
    )
    ids = tokenizer(class_word, add_special_tokens=False).input_ids
    unknown = tokenizer.unk_token_id
    if not ids or all(token == unknown for token in ids):
        raise ConceptError(
            f"class word {class_word!r}: the base has no token for it; pass an "
            "ordinary word such as `cat` with --class-word"
        )
    vectors = _table(folder / encoder)[ids].float()
    return torch.stack(
        [vectors[:-1].mean(0) if len(ids) > 1 else vectors[0], vectors[-1]]
    )


def spread(vectors: Sequence[Tensor], inventory: Inventory) -> Rows:
    """Words of [L, D] or [1, D] each, as rows of L layers.

    Raises:
        BaseMismatchError: another number of layers, or another width, than the base's.
        ConceptError: numbers that are not finite.
    """
    layers, width = inventory.layers, inventory.embedding_widths["text_encoder"]
    for one in vectors:
        if one.shape[1] != width or one.shape[0] not in (1, layers):
            raise BaseMismatchError(
                f"made for another base: words of {one.shape[0]} layers and width "
                f"{one.shape[1]}; {inventory.label!r} has {layers} and {width}"
            )
    # Numbers are looked at last: a tensor of a pickle can be vast and cost no bytes.
    finite = [check_numbers("its words", one).float() for one in vectors]
    return torch.stack([one.expand(layers, -1) for one in finite])


def _table(component: Path) -> Tensor:
    for path in weight_files(component):
        for key in header_at(path).tensors:
            if key.endswith("token_embedding.weight"):
                with safe_open(path, framework="pt") as file:
                    table: Tensor = file.get_tensor(key)
                    return table
    raise ConceptError(f"{component}: the base has no table of token embeddings")


def _stacked(layers: Sequence[Tensor]) -> Tensor:
    if any(one.dim() != 2 or one.shape != layers[0].shape for one in layers):
        raise ConceptError("its layers differ in shape")
    return torch.stack(list(layers), dim=1)


def _rows(encoder: str, tensor: Tensor, inventory: Inventory) -> Rows:
    width, layers = inventory.embedding_widths[encoder], inventory.layers
    if tensor.dim() == 1:
        tensor = tensor[None]
    if tensor.dim() == 2:
        tensor = tensor[:, None].expand(-1, layers, -1)
    if tensor.dim() != 3 or not 1 <= tensor.shape[0] <= 2 or tensor.shape[1] != layers:
        raise ConceptError(
            f"{encoder}: {tuple(tensor.shape)} are not one or two words' vectors"
        )
    if tensor.shape[2] != width:
        raise BaseMismatchError(
            f"made for another base: words of width {tensor.shape[2]}, "
            f"{inventory.label!r} has {width}"
        )
    return check_numbers(encoder, tensor).float()
