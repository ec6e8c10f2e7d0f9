"""A release of many concepts: the same update, in no more rank than a layer has."""

import torch

from mos_model.bases.inventory import Inventory
from mos_model.concepts.concept import FusedConcept, FusedModel, LoraFactors
from mos_server.fusion.ledger.compacting import compact
from tests.support.concepts import random_concept
from tests.support.sites import small_inventory


def stacked(inventory: Inventory, count: int) -> FusedModel:
    concepts = [random_concept(inventory, f"c{i}", seed=i) for i in range(count)]
    lora = {
        module: LoraFactors(
            torch.cat([c.lora[module].down for c in concepts]),
            torch.cat([c.lora[module].up for c in concepts], dim=1),
        )
        for module in inventory.projections
    }
    held = tuple(FusedConcept(c.facts.name, "s", "cat", c.embeddings) for c in concepts)
    return FusedModel(inventory.base, lora, held)


def test_update_of_many_concepts_is_the_same_matrix_in_less_rank() -> None:
    inventory = small_inventory(width=12)
    model = stacked(inventory, 9)
    small = compact(model)
    ranks = {factors.down.shape[0] for factors in small.lora.values()}
    assert ranks == {max(min(shape) for shape in inventory.projections.values())}
    assert len(small.to_bytes()) < len(model.to_bytes())
    for module, factors in model.lora.items():
        torch.testing.assert_close(
            small.lora[module].dense(), factors.dense(), rtol=1e-5, atol=1e-6
        )
    assert small.concepts == model.concepts


def test_model_of_few_concepts_comes_back_as_it_is() -> None:
    model = stacked(small_inventory(width=12), 1)
    assert compact(model) is model
