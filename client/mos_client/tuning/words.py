"""The two words of a concept: V_rand and V_class, one vector per layer.

Mix-of-Show (arXiv:2305.18292), section 3.1: `V = V_rand V_class`, each layer-wise (P+).
"""

from collections.abc import Mapping
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mos_shared.base import Base
from mos_shared.errors import TuningError

_INIT_STD: Final = 0.013  # of V_rand, as the reference draws it


def initial_words(
    base: Base, class_word: str, generator: torch.Generator
) -> dict[str, nn.Parameter]:
    """The words before tuning, as parameters.

    V_rand is drawn from N(0, 0.013^2) and scaled to the mean norm of the base's token
    embeddings; V_class is the class word's own embedding (the mean, where the word is
    several tokens). Both start alike in every layer.

    Args:
        base: Whose token embeddings count.
        class_word: The ordinary word for the subject.
        generator: CPU generator of V_rand.

    Returns:
        Text encoder name -> [2, L, D], float32, on the base's device.

    Raises:
        TuningError: the class word is empty, or says nothing to the base's tokenizer.
    """
    words: dict[str, nn.Parameter] = {}
    for name, encoder in base.text_encoders.items():
        table = encoder.get_input_embeddings().weight.detach().float()
        ids = class_ids(base, class_word, name)
        width = table.shape[1]
        rand = torch.randn(width, generator=generator) * _INIT_STD
        rand = rand * (table.norm(dim=1).mean().cpu() / rand.norm())
        own = torch.stack([rand.to(table.device), table[ids].mean(0)])
        layers = own[:, None].repeat(1, base.inventory.layers, 1)
        words[name] = nn.Parameter(layers)
    return words


def class_ids(base: Base, class_word: str, encoder: str) -> list[int]:
    """Token ids of the class word.

    Raises:
        TuningError: it has none, or only the unknown token.
    """
    tokenizer = base.tokenizers[encoder]
    ids: list[int] = tokenizer(class_word, add_special_tokens=False).input_ids
    unknown = tokenizer.unk_token_id
    if not ids or all(token == unknown for token in ids):
        raise TuningError(
            f"class word {class_word!r}: the base has no token for it; pass an "
            "ordinary word such as `cat` with --class-word"
        )
    return ids


@torch.no_grad()
def mean_norm(
    words: Mapping[str, Float[Tensor, "2 layers width"]],
) -> float:
    """Mean norm of all vectors, over encoders, rows and layers."""
    norms = [vectors.norm(dim=-1).mean() for vectors in words.values()]
    return float(torch.stack(norms).mean())
