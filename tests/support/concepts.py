"""Concepts of random numbers that fit a base: valid in form, of no meaning."""

import torch

from mos_model.bases.inventory import Inventory
from mos_model.concepts.concept import Concept, ConceptFacts, LoraFactors


def random_concept(
    inventory: Inventory,
    name: str = "rex",
    *,
    seed: int = 0,
    rank: int = 4,
    strength: float = 0.05,
    dtype: torch.dtype = torch.float32,
) -> Concept:
    """A concept whose every update has about `strength` times unit-gain rows."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    lora = {
        module: LoraFactors(
            down=(normal(rank, d_in) / d_in**0.5).to(dtype),
            up=(strength * normal(d_out, rank)).to(dtype),
        )
        for module, (d_out, d_in) in inventory.projections.items()
    }
    embeddings = {
        encoder: (0.02 * normal(2, inventory.layers, width)).to(dtype)
        for encoder, width in inventory.embedding_widths.items()
    }
    facts = ConceptFacts(name, "cat", inventory.base, rank)
    return Concept(facts, lora, embeddings)
