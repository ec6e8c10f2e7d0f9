"""Concepts of random numbers: real bundles for simulations of many sites.

They have every tensor that a tuned concept of the base has, pass admission, and can be
fused; they show nothing.
"""

from typing import TYPE_CHECKING, Final

from mos_model.bases.inventory import Inventory
from mos_model.errors import DataError

if TYPE_CHECKING:
    from mos_model.concepts.concept import Concept

CLASS_WORD: Final = "dog"
MAX_RANK: Final = 128
"""Admission takes no concept of a higher rank."""

_GAIN: Final = 0.2
"""||B A||_F over sqrt(d_out) of every layer, as in a tuned concept of the mini base."""

_EMBEDDING_DEVIATION: Final = 0.02
_FLOAT_BYTES: Final = 4


def rank_for(inventory: Inventory, size: int) -> int:
    """The rank r at which a float32 concept has about `size` bytes; 1 for 0.

    Raises:
        DataError: even the highest rank admitted gives less.
    """
    per_rank = _FLOAT_BYTES * sum(map(sum, inventory.projections.values()))
    rank = max(1, round(size / per_rank))
    if rank > MAX_RANK:
        raise DataError(
            f"a bundle of {size} bytes: on this base the highest rank admitted, "
            f"{MAX_RANK}, gives {MAX_RANK * per_rank} bytes; ask for less"
        )
    return rank


def synthetic_concept(
    inventory: Inventory, name: str, *, size: int, seed: int
) -> "Concept":
    """A concept of random numbers that fits a base.

    Each update B A has about 0.2 times the norm of a layer of unit gain: A ~ N(0, 1 /
    d_in) of [r, d_in], B ~ N(0, 0.2^2 / r) of [d_out, r].

    Args:
        inventory: The base's.
        name: The concept's.
        size: About how many bytes it is to have.
        seed: Decides every number.

    Raises:
        DataError: no rank gives that size.
    """
    import torch

    from mos_model.concepts.concept import Concept, ConceptFacts, LoraFactors

    rank = rank_for(inventory, size)
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, deviation: float) -> torch.Tensor:
        return deviation * torch.randn(*shape, generator=generator)

    lora = {
        module: LoraFactors(
            down=normal(rank, d_in, deviation=d_in**-0.5),
            up=normal(d_out, rank, deviation=_GAIN * rank**-0.5),
        )
        for module, (d_out, d_in) in inventory.projections.items()
    }
    embeddings = {
        encoder: normal(2, inventory.layers, width, deviation=_EMBEDDING_DEVIATION)
        for encoder, width in inventory.embedding_widths.items()
    }
    facts = ConceptFacts(name, CLASS_WORD, inventory.base, rank)
    return Concept(facts, lora, embeddings)
