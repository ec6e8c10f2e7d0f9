"""Fusion of whole concepts on a small base of random weights."""

from dataclasses import replace

import pytest
import torch

from mos_model.bases.base import Base, load_base
from mos_model.concepts.applying import applied
from mos_model.concepts.concept import Concept, FusedModel, LoraFactors
from mos_model.errors import BaseMismatchError
from mos_server.errors import FusionError
from mos_server.fusion import Fusion, FusionSettings, fuse_concepts
from mos_server.fusion.gradient_fusion import capture, moment_sum
from mos_server.fusion.moments import STAGES, input_of, ridged, scaled
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept

Pair = list[tuple[str, Concept]]
QUICK = FusionSettings(steps=2, scenes=("", "in the snow"), prior_subjects=("dog",))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


@pytest.fixture(scope="module")
def pair(base: Base) -> Pair:
    return [
        ("north", random_concept(base.inventory, "rex", seed=1)),
        ("south", random_concept(base.inventory, "bolt", seed=2, rank=2)),
    ]


@pytest.fixture(scope="module")
def fusion(base: Base, pair: Pair) -> Fusion:
    return fuse_concepts(base, pair, settings=QUICK)


def test_release_holds_factors_of_the_rank_sum(fusion: Fusion, base: Base) -> None:
    shapes = base.inventory.projections
    assert set(fusion.model.lora) == set(shapes)
    for module, factors in fusion.model.lora.items():
        assert factors.down.shape == (4 + 2, shapes[module][1])
        assert factors.up.shape == (shapes[module][0], 4 + 2)


def test_release_equals_the_dense_closed_form(base: Base, pair: Pair) -> None:
    fusion = fuse_concepts(base, pair, settings=QUICK)
    moments = []
    for _, concept in pair:
        name = concept.facts.name
        words = {name: concept.embeddings}
        prompts = QUICK.concept_prompts(name)
        grams = capture(base, concept.lora, words, prompts, QUICK)
        moments.append(scaled(grams, balance=True))
    prior = scaled(capture(base, {}, {}, QUICK.prior_prompts(), QUICK), balance=True)
    for module, factors in fusion.model.lora.items():
        key = input_of(module)
        total = moment_sum([own[key] for own in moments], prior[key], QUICK)
        gram = ridged(total, QUICK.ridge)
        target = sum(
            concept.lora[module].dense().double() @ own[key]
            for (_, concept), own in zip(pair, moments, strict=True)
        )
        dense = torch.linalg.solve(gram, target, left=False)
        merged = factors.up.double() @ factors.down.double()
        assert (merged - dense).norm() <= 1e-6 * dense.norm(), module


def test_every_input_of_the_base_is_captured(base: Base, pair: Pair) -> None:
    concept = pair[0][1]
    grams = capture(
        base, concept.lora, {"rex": concept.embeddings}, ["<rex>"], QUICK, stages=STAGES
    )
    assert set(grams) == {input_of(module) for module in base.inventory.projections}
    for name, gram in grams.items():
        assert torch.allclose(gram, gram.T, rtol=1e-4), name
        assert gram.trace() > 0, name


def test_base_is_bit_equal_after_fusion(base: Base, pair: Pair) -> None:
    before = {n: layer.weight.clone() for n, layer in base.projections.items()}
    fuse_concepts(base, pair, settings=QUICK)
    for name, layer in base.projections.items():
        assert torch.equal(before[name], layer.weight), name


def test_equal_seeds_give_equal_bytes(base: Base, pair: Pair, fusion: Fusion) -> None:
    again = fuse_concepts(base, pair, settings=QUICK)
    assert again.model.to_bytes() == fusion.model.to_bytes()


def test_order_of_concepts_does_not_change_the_update(
    base: Base, pair: Pair, fusion: Fusion
) -> None:
    swapped = fuse_concepts(base, pair[::-1], settings=QUICK).model
    for module, factors in fusion.model.lora.items():
        other = swapped.lora[module].dense()
        assert torch.allclose(factors.dense(), other, atol=1e-6), module


def test_report_tells_what_each_concept_kept(fusion: Fusion) -> None:
    report = fusion.report
    assert report.concepts == ("north/rex", "south/bolt")
    assert 0 < report.kept("north/rex") < 1
    assert 0 < report.drift() < 1


def test_chained_inputs_fuse_every_layer(base: Base, pair: Pair) -> None:
    chained = fuse_concepts(base, pair, settings=replace(QUICK, inputs="chained"))
    assert set(chained.model.lora) == set(base.inventory.projections)


def test_release_survives_its_bytes(fusion: Fusion) -> None:
    content = fusion.model.to_bytes()
    again = FusedModel.from_bytes(content)
    assert again.to_bytes() == content
    assert [c.key for c in again.concepts] == ["north/rex", "south/bolt"]


def test_applied_release_is_taken_out_bit_by_bit(base: Base, fusion: Fusion) -> None:
    before = {n: layer.weight.clone() for n, layer in base.projections.items()}
    with applied(base, fusion.model.lora):
        assert any(
            not torch.equal(before[n], layer.weight)
            for n, layer in base.projections.items()
        )
    for name, layer in base.projections.items():
        assert torch.equal(before[name], layer.weight), name


def test_concept_of_another_base_is_refused(base: Base, pair: Pair) -> None:
    site, concept = pair[0]
    foreign = replace(concept, facts=replace(concept.facts, base="0" * 64))
    with pytest.raises(BaseMismatchError, match="north/rex was made for base 0000"):
        fuse_concepts(base, [(site, foreign)], settings=QUICK)


def test_concept_with_nan_is_refused_by_layer(base: Base, pair: Pair) -> None:
    site, concept = pair[0]
    module = next(iter(concept.lora))
    bad = LoraFactors(concept.lora[module].down * torch.nan, concept.lora[module].up)
    broken = replace(concept, lora={**concept.lora, module: bad})
    with pytest.raises(FusionError, match=f"north/rex: layer {module} holds NaN"):
        fuse_concepts(base, [(site, broken)], settings=QUICK)


def test_concept_lacking_a_layer_is_refused_by_layer(base: Base, pair: Pair) -> None:
    site, concept = pair[0]
    module = next(iter(concept.lora))
    fewer = {k: v for k, v in concept.lora.items() if k != module}
    with pytest.raises(FusionError, match=f"layer {module} is either missing"):
        fuse_concepts(base, [(site, replace(concept, lora=fewer))], settings=QUICK)


def test_two_concepts_of_one_name_are_refused(base: Base, pair: Pair) -> None:
    with pytest.raises(FusionError, match="two concepts are named north/rex"):
        fuse_concepts(base, [pair[0], pair[0]], settings=QUICK)


def test_nothing_to_fuse_is_refused(base: Base) -> None:
    with pytest.raises(FusionError, match="at least one concept"):
        fuse_concepts(base, [], settings=QUICK)
