"""The two words of a concept: V_rand and V_class.

Mix-of-Show (arXiv:2305.18292), section 3.1: `V = V_rand V_class`, each layer-wise
(P+). The paper's comparison, a plain LoRA, trains one token V* with one vector for all
layers. It takes V_rand's place in a file, the same in every layer; V_class's holds the
class word as it was. So `<rex>` reads `V* cat`, and both kinds have one format.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mos_model.bases.base import Base
from mos_model.errors import TuningError

_INIT_STD: Final = 0.013  # of V_rand, as the reference draws it


@dataclass(frozen=True)
class Words:
    """A concept's words in training."""

    trained: Mapping[str, nn.Parameter]
    """Text encoder name -> [2, L, D]; of a plain LoRA [1, 1, D], V* alone."""

    fixed: Mapping[str, Tensor]
    """Text encoder name -> [1, 1, D], the class word of a plain LoRA; else empty."""

    layers: int
    """L."""

    def vectors(self) -> dict[str, Float[Tensor, "2 _ width"]]:
        """What a prompt's encoder reads: [2, L, D], or [2, 1, D] for all layers."""
        if not self.fixed:
            return dict(self.trained)
        return {n: torch.cat([own, self.fixed[n]]) for n, own in self.trained.items()}

    def finished(self) -> dict[str, Float[Tensor, "2 layers width"]]:
        """What the concept's file holds: [2, L, D], float32, on the CPU."""
        return {
            name: vectors.detach().float().cpu().expand(-1, self.layers, -1).clone()
            for name, vectors in self.vectors().items()
        }

    @torch.no_grad()
    def mean_norm(self) -> float:
        """Mean norm of all trained vectors, over encoders, rows and layers."""
        norms = [vectors.norm(dim=-1).mean() for vectors in self.trained.values()]
        return float(torch.stack(norms).mean())


def initial_words(
    base: Base, class_word: str, generator: torch.Generator, method: str = "ed-lora"
) -> Words:
    """The words before tuning.

    V_rand is drawn from N(0, 0.013^2) and scaled to the mean norm of the base's token
    embeddings; V_class is the class word's own embedding (the mean, where the word is
    several tokens). Both start alike in every layer.

    Args:
        base: Whose token embeddings count.
        class_word: The ordinary word for the subject.
        generator: CPU generator of V_rand.
        method: `ed-lora`, or `lora` for a plain LoRA's V*.

    Returns:
        Float32, on the base's device.

    Raises:
        TuningError: the class word is empty, or says nothing to the base's tokenizer.
    """
    trained: dict[str, nn.Parameter] = {}
    fixed: dict[str, Tensor] = {}
    for name, encoder in base.text_encoders.items():
        table = encoder.get_input_embeddings().weight.detach().float()
        ids = class_ids(base, class_word, name)
        width = table.shape[1]
        rand = torch.randn(width, generator=generator) * _INIT_STD
        rand = rand * (table.norm(dim=1).mean().cpu() / rand.norm())
        own = torch.stack([rand.to(table.device), table[ids].mean(0)])[:, None]
        if method == "lora":
            trained[name] = nn.Parameter(own[:1].clone())
            fixed[name] = own[1:].clone()
        else:
            trained[name] = nn.Parameter(own.repeat(1, base.inventory.layers, 1))
    return Words(trained, fixed, base.inventory.layers)


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
