"""The closed form against second methods, layer by layer."""

import pytest
import torch

from mos_model.concepts.concept import LoraFactors
from mos_server.errors import FusionError
from mos_server.fusion.baselines import ConceptTerm, objective
from mos_server.fusion.gradient_fusion import moment_sum, solve, stacked
from mos_server.fusion.moments import ridged
from mos_server.fusion.settings import FusionSettings

D_IN, D_OUT, RANK, ROWS = 12, 9, 2, 40


def normal(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def problem(
    count: int, rows: int = ROWS
) -> tuple[list[ConceptTerm], list[torch.Tensor]]:
    inputs = [normal(10 + i, rows, D_IN) for i in range(count)]
    terms = [
        ConceptTerm(
            LoraFactors(normal(20 + i, RANK, D_IN), normal(30 + i, D_OUT, RANK)),
            x.T @ x,
        )
        for i, x in enumerate(inputs)
    ]
    return terms, inputs


BARE = FusionSettings(ridge=0.0, prior=0.0)
RIDGED = FusionSettings(prior=0.0)


def fused_layer(
    terms: list[ConceptTerm],
    settings: FusionSettings,
    prior: torch.Tensor | None = None,
) -> LoraFactors:
    grams = [term.gram for term in terms]
    rows = stacked([term.factors for term in terms], grams)
    return solve(moment_sum(grams, prior, settings), {"layer": rows}, settings)["layer"]


def assert_kept_whole(fused: LoraFactors, term: ConceptTerm) -> None:
    missed = objective(fused.dense(), [term])
    assert missed < 1e-12 * objective(torch.zeros_like(fused.dense()), [term])


def test_unregularised_solution_is_the_least_squares_solution() -> None:
    terms, inputs = problem(3)
    fused = fused_layer(terms, BARE)
    rows = torch.cat(inputs)
    targets = torch.cat(
        [x @ t.factors.dense().T for x, t in zip(inputs, terms, strict=True)]
    )
    expected = torch.linalg.lstsq(rows, targets).solution.T
    assert torch.allclose(fused.dense(), expected, rtol=1e-8, atol=1e-8)


def test_objective_is_not_above_what_lbfgs_reaches() -> None:
    terms, _ = problem(3)
    settings = FusionSettings(ridge=0.1, prior=0.5)
    prior = normal(99, ROWS, D_IN)
    prior = prior.T @ prior
    total = torch.stack([t.gram for t in terms]).sum(0) + settings.prior * prior
    ridge = settings.ridge * total.trace() / D_IN

    def missed(update: torch.Tensor) -> torch.Tensor:
        errors = [
            ((update - t.factors.dense()) @ t.gram * (update - t.factors.dense())).sum()
            for t in terms
        ]
        held = settings.prior * (update @ prior * update).sum()
        return torch.stack(errors).sum() + held + ridge * update.square().sum()

    update = torch.zeros(D_OUT, D_IN, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [update], max_iter=500, history_size=25, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = missed(update)
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        ours = missed(fused_layer(terms, settings, prior).dense())
        assert ours <= missed(update) * (1 + 1e-12)
        assert ours < missed(torch.zeros_like(update))


def test_fused_rank_is_the_sum_of_ranks() -> None:
    terms, _ = problem(3)
    fused = fused_layer(terms, RIDGED)
    assert fused.down.shape == (3 * RANK, D_IN)
    assert fused.up.shape == (D_OUT, 3 * RANK)


def test_low_rank_factors_equal_the_dense_minimiser() -> None:
    terms, _ = problem(4)
    gram = ridged(moment_sum([t.gram for t in terms], None, RIDGED), RIDGED.ridge)
    target = torch.stack([t.factors.dense() @ t.gram for t in terms]).sum(0)
    dense = torch.linalg.solve(gram, target, left=False)
    error = (fused_layer(terms, RIDGED).dense() - dense).norm() / dense.norm()
    assert error < 1e-12


def test_single_concept_without_regularisation_is_kept_whole() -> None:
    terms, _ = problem(1)
    assert_kept_whole(fused_layer(terms, BARE), terms[0])


def test_concepts_on_separate_inputs_do_not_disturb_each_other() -> None:
    first, second = problem(2)[0]
    half = torch.zeros(D_IN, D_IN, dtype=torch.float64)
    half[: D_IN // 2, : D_IN // 2] = torch.eye(D_IN // 2, dtype=torch.float64)
    rest = torch.eye(D_IN, dtype=torch.float64) - half
    terms = [ConceptTerm(first.factors, half), ConceptTerm(second.factors, rest)]
    fused = fused_layer(terms, BARE)
    for term in terms:
        assert_kept_whole(fused, term)


def test_singular_moments_are_refused_with_the_layer_named() -> None:
    (term,), _ = problem(1)
    flat = torch.zeros_like(term.gram)
    with pytest.raises(FusionError, match=r"unet\.layer.*singular.*ridge"):
        solve(flat, {"unet.layer": stacked([term.factors], [flat])}, BARE)
