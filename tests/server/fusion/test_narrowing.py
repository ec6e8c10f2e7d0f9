"""A release in float16: what it may lose, and how large it comes out."""

import torch

from mos_model.concepts.applying import as_fused
from mos_model.concepts.concept import FusedModel, LoraFactors
from mos_server.fusion.narrowing import MAX_ERROR, narrowed, update_error
from mos_server.fusion.report.sizes import inventory_of, sizes
from tests.support.concepts import random_concept
from tests.support.sites import small_inventory

MB = 10**6


def model() -> FusedModel:
    return as_fused(random_concept(small_inventory(), "rex", rank=8))


def scaled(model: FusedModel, down: float, up: float) -> FusedModel:
    lora = {m: LoraFactors(down * f.down, up * f.up) for m, f in model.lora.items()}
    return FusedModel(model.base, lora, model.concepts)


def test_narrow_update_is_within_its_bound_at_any_balance_of_the_factors() -> None:
    for down, up in ((1.0, 1.0), (1e-9, 1e6), (1e7, 1e-8)):
        wide = scaled(model(), down, up)
        for module, factors in narrowed(wide).lora.items():
            assert factors.down.dtype == factors.up.dtype == torch.float16
            assert update_error(factors, wide.lora[module]) <= MAX_ERROR


def test_layer_that_float16_cannot_hold_stays_as_it_is() -> None:
    wide = scaled(model(), 1e10, 1e10)
    for module, factors in narrowed(wide).lora.items():
        assert torch.equal(factors.up, wide.lora[module].up)


def test_words_keep_every_bit_and_zeros_stay_zeros() -> None:
    wide = scaled(model(), 0.0, 1.0)
    narrow = FusedModel.from_bytes(narrowed(wide).to_bytes())
    assert all(not factors.dense().any() for factors in narrow.lora.values())
    for one, other in zip(narrow.concepts, wide.concepts, strict=True):
        assert all(
            torch.equal(one.embeddings[k], v) for k, v in other.embeddings.items()
        )


def test_fourteen_concepts_of_stable_diffusion_stay_below_sixty_megabytes() -> None:
    found = sizes(inventory_of("sd15"), concepts=14, rank=4)
    assert 30 * MB < found.release < 60 * MB
