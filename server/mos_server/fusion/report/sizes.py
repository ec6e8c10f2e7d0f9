"""How large bundles, releases and ledgers are, from a base's shapes alone.

Nothing is estimated: files of zeros are written in the real formats, and counted.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch

from mos_model.bases.base_files import read_inventory
from mos_model.bases.inventory import Inventory
from mos_model.concepts.concept import (
    Concept,
    ConceptFacts,
    FusedConcept,
    FusedModel,
    LoraFactors,
)
from mos_server.fusion.moments import input_of

SD15: Final = "sd15"
"""Names the shapes of Stable Diffusion 1.5, of which no weights are needed."""

_SD15_TEXT: Final[dict[str, Any]] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
_SD15_UNET: Final[dict[str, Any]] = {"cross_attention_dim": 768, "sample_size": 64}


@dataclass(frozen=True)
class Sizes:
    """Bytes of what some concepts of one base come to."""

    bundle: int
    """One concept's file, float32."""

    release: int
    """The fused model's file as published: float16 factors, float32 words."""

    ledger_sum: int
    """What a ledger has once: M's triangles, int64, and G_0's, float32."""

    ledger_concept: int
    """What a ledger has for each concept: it, its terms, its triangles."""


def inventory_of(base: str) -> Inventory:
    """The shapes of a base: `sd15`, "mini", a pipeline's directory or a hub name.

    Raises:
        BaseError: there is no such base here.
    """
    return _sd15() if base == SD15 else read_inventory(base)


def sizes(inventory: Inventory, *, concepts: int, rank: int) -> Sizes:
    """What `concepts` concepts of one rank come to.

    Args:
        inventory: Of the base.
        concepts: How many a release holds.
        rank: r of each.
    """
    words = {
        encoder: torch.zeros(2, inventory.layers, width)
        for encoder, width in inventory.embedding_widths.items()
    }
    bundle = Concept(
        ConceptFacts("concept", "cat", inventory.base, rank),
        _zeros(inventory, rank, torch.float32),
        words,
    )
    release = FusedModel(
        inventory.base,
        _zeros(inventory, rank * concepts, torch.float16),
        tuple(FusedConcept(f"c{i}", "site", "cat", words) for i in range(concepts)),
    )
    shapes = inventory.projections.values()
    widths = {input_of(m): d_in for m, (_, d_in) in inventory.projections.items()}
    entries = sum(width * (width + 1) // 2 for width in widths.values())
    terms = rank * sum(4 * d_out + 8 * d_in for d_out, d_in in shapes)
    one = len(bundle.to_bytes())
    return Sizes(
        bundle=one,
        release=len(release.to_bytes()),
        ledger_sum=(8 + 4) * entries,
        ledger_concept=one + terms + 4 * entries,
    )


def _zeros(
    inventory: Inventory, rank: int, dtype: torch.dtype
) -> dict[str, LoraFactors]:
    return {
        module: LoraFactors(
            torch.zeros(rank, d_in, dtype=dtype), torch.zeros(d_out, rank, dtype=dtype)
        )
        for module, (d_out, d_in) in inventory.projections.items()
    }


def _sd15() -> Inventory:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        parts = {
            "unet": UNet2DConditionModel(**_SD15_UNET),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**_SD15_TEXT)),
        }
    shapes = {
        component: {name: tuple(t.shape) for name, t in model.state_dict().items()}
        for component, model in parts.items()
    }
    return Inventory.from_tensor_shapes("0" * 64, shapes, label="Stable Diffusion 1.5")
