"""The closed form against the published recipe, on captured inputs of every stage."""

import pytest
import torch

from mos_server.fusion.baselines import (
    lbfgs_update,
    objective,
    weight_average,
    weight_sum,
)
from mos_server.fusion.capture import capture
from mos_server.fusion.moments import STAGES, input_of, scaled, stage_of
from mos_server.fusion.settings import FusionSettings
from mos_server.fusion.solve import ConceptTerm, fused_factors, regularised_gram
from mos_shared.base import Base, load_base
from mos_shared.concept import LoraFactors
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept

SETTINGS = FusionSettings(steps=2, ridge=0.05, scenes=("",), prior_subjects=("dog",))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


def one_layer_an_input(base: Base) -> list[str]:
    """A projection for each kind of input: q, k and v share theirs."""
    by_kind: dict[tuple[str, bool, str], str] = {}
    for module in base.inventory.projections:
        component, kind = module.partition(".")[0], input_of(module).rpartition(".")[2]
        by_kind.setdefault((component, "attn2" in module, kind), module)
    return list(by_kind.values())


def test_closed_form_is_at_or_below_converged_lbfgs_in_every_stage(base: Base) -> None:
    concepts = [random_concept(base.inventory, f"c{i}", seed=i) for i in range(2)]
    moments = [
        scaled(
            capture(
                base,
                concept.lora,
                {concept.facts.name: concept.embeddings},
                SETTINGS.concept_prompts(concept.facts.name),
                SETTINGS,
            ),
            balance=True,
        )
        for concept in concepts
    ]
    prior = scaled(
        capture(base, {}, {}, SETTINGS.prior_prompts(), SETTINGS), balance=True
    )
    modules = one_layer_an_input(base)
    assert {stage_of(module) for module in modules} == set(STAGES)
    for module in modules:
        key = input_of(module)
        grams = [own[key] for own in moments]
        gram = regularised_gram(grams, prior[key], SETTINGS)
        terms = [
            ConceptTerm(
                LoraFactors(c.lora[module].down.double(), c.lora[module].up.double()), g
            )
            for c, g in zip(concepts, grams, strict=True)
        ]
        held = gram - torch.stack(grams).sum(0)
        ours = objective(fused_factors(gram, terms).dense(), terms, held=held)
        theirs = objective(
            lbfgs_update(terms, iterations=300, held=held), terms, held=held
        )
        assert ours <= theirs * (1 + 1e-9), module
        assert theirs <= ours * 1.01, module  # it did converge; the comparison counts


def test_average_and_sum_are_what_they_say(base: Base) -> None:
    concepts = [random_concept(base.inventory, f"c{i}", seed=i).lora for i in range(3)]
    module = next(iter(concepts[0]))
    total = torch.stack([lora[module].dense() for lora in concepts]).sum(0)
    assert torch.allclose(weight_sum(concepts)[module].dense(), total, atol=1e-6)
    average = weight_average(concepts)[module].dense()
    assert torch.allclose(average, total / 3, atol=1e-6)
