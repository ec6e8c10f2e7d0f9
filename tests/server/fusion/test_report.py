"""The fusion report: its figures add up, and its page says them."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mos_model.bases.base import Base, load_base
from mos_model.concepts.concept import Concept, LoraFactors
from mos_server.fusion import Fusion, FusionSettings, fuse_concepts
from mos_server.fusion.report.page import render_report
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept

QUICK = FusionSettings(steps=1, scenes=("",), prior_subjects=("dog",))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


@pytest.fixture(scope="module")
def concepts(base: Base) -> list[Concept]:
    return [random_concept(base.inventory, f"c{i}", seed=i) for i in range(2)]


@pytest.fixture(scope="module")
def fusion(base: Base, concepts: list[Concept]) -> Fusion:
    return fuse_concepts(base, [("s", c) for c in concepts], settings=QUICK)


def test_loss_is_what_regularisation_and_the_others_cost(fusion: Fusion) -> None:
    told = fusion.report.to_dict()["concepts"]
    for one in told.values():
        parts = (1 - one["kept_alone"]) + one["conflict"]
        assert one["predicted_loss"] == pytest.approx(parts)
        assert one["predicted_loss"] == pytest.approx(1 - one["kept"])


def test_concept_fused_alone_has_no_conflict(
    base: Base, concepts: list[Concept]
) -> None:
    report = fuse_concepts(base, [("s", concepts[0])], settings=QUICK).report
    assert report.conflict("s/c0") == pytest.approx(0, abs=1e-9)
    assert 0 < report.kept("s/c0") < 1


SCALES = {"down vast, up tiny": (1e36, 1e-36)}
VANISHING = {"vast and denormal": (1e30, 1e-44), "a thousandth": (1e-3, 1e-1)}


@pytest.mark.parametrize("how", [*SCALES, *VANISHING])
def test_scale_of_factors_changes_no_figure_and_none_is_absurd(
    base: Base, concepts: list[Concept], fusion: Fusion, how: str
) -> None:
    down, up = (SCALES | VANISHING)[how]
    lora = {
        module: LoraFactors(own.down * down, own.up * up)
        for module, own in concepts[1].lora.items()
    }
    odd = replace(concepts[1], lora=lora)
    pair = [("s", concepts[0]), ("s", odd)]
    found = fuse_concepts(base, pair, settings=QUICK).report
    if how in SCALES:
        for concept in ("s/c0", "s/c1"):
            kept = fusion.report.kept(concept)
            assert found.kept(concept) == pytest.approx(kept, rel=1e-3)
        return
    assert (found.kept("s/c1"), found.conflict("s/c1")) == (1.0, 0.0)
    assert 0 < found.kept("s/c0") <= 1


def test_same_concept_twice_is_in_no_conflict_and_spills_over(
    base: Base, concepts: list[Concept], fusion: Fusion
) -> None:
    twins = fuse_concepts(base, [(s, concepts[0]) for s in "ab"], settings=QUICK).report
    assert twins.kept("a/c0") == pytest.approx(twins.kept("b/c0"))
    assert twins.conflict("a/c0") < fusion.report.conflict("s/c0")
    assert twins.spill["a/c0"]["b/c0"] == pytest.approx(0.25, abs=0.1)


def test_unbalanced_report_follows_the_same_definitions(
    base: Base, concepts: list[Concept]
) -> None:
    settings = replace(QUICK, balance=False)
    report = fuse_concepts(base, [("", concepts[0])], settings=settings).report
    assert report.conflict("c0") == pytest.approx(0, abs=1e-9)


def test_page_is_one_file_that_says_every_figure_and_escapes_names(
    fusion: Fusion,
) -> None:
    told = fusion.report.to_dict()
    told["concepts"] = {
        "<img>/x" if name == "s/c0" else name: one
        for name, one in told["concepts"].items()
    }
    told["concepts"]["s/c1"]["spill"] = {"<img>/x": 0.5}
    for layer in told["layers"]:
        for kind in ("residual", "size", "alone"):
            layer[kind] = {"<img>/x": layer[kind]["s/c0"], "s/c1": layer[kind]["s/c1"]}
    page = render_report(told)
    assert "<img" not in page
    assert "&lt;img&gt;/x" in page
    assert not re.search(r"(src|href)=", page)
    for module in fusion.model.lora:
        assert f"<code>{module}</code>" in page
    loss = told["concepts"]["s/c1"]["predicted_loss"]
    assert f"{loss:.1%}</td>" in page
    assert "--v:70%" in page  # the deepest of concept against concept


def test_residual_is_that_of_the_dense_update(
    base: Base, concepts: list[Concept]
) -> None:
    from mos_server.fusion.report.judging import Standing, judged

    module = sorted(concepts[0].lora)[5]
    generator = torch.Generator().manual_seed(5)
    d_in = concepts[0].lora[module].down.shape[1]
    rows = torch.randn(50, d_in, generator=generator, dtype=torch.float64)
    gram = rows.T @ rows
    lora = [{module: _double(c, module)} for c in concepts]
    fused = {
        module: type(lora[0][module])(
            down=torch.cat([0.7 * one[module].down for one in lora]),
            up=torch.cat([one[module].up for one in lora], dim=1),
        )
    }
    standings = [
        Standing(name, one, {module: 0.0}, lambda _: gram)
        for name, one in zip("ab", lora, strict=True)
    ]
    report = judged(
        base, fused, standings, {"a": 4, "b": 4}, lambda _: None, FusionSettings()
    )
    first, second = (one[module].dense() for one in lora)
    missed = rows @ (0.7 * (first + second) - first).T
    assert report.layers[0].residual["a"] == pytest.approx(float(missed.square().sum()))
    size = float((rows @ first.T).square().sum())
    assert report.layers[0].size["a"] == pytest.approx(size)
    other = float((rows @ (0.7 * second).T).square().sum())
    assert report.spill["a"]["b"] == pytest.approx(other / size)


def _double(concept: Concept, module: str):  # type: ignore[no-untyped-def]
    factors = concept.lora[module]
    return type(factors)(factors.down.double(), factors.up.double())


@pytest.mark.parametrize("chunk_bytes", [1, 3 * 8 * 32 * 32, 2**30])
def test_report_of_many_concepts_is_the_same_in_chunks_of_any_size(
    base: Base, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    from mos_server.fusion.report import judging

    monkeypatch.setattr(judging, "_CHUNK_BYTES", chunk_bytes)
    module = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"
    d_out, d_in = base.inventory.projections[module]
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    # Together of a higher rank than the layer, as in a release of many concepts.
    ranks = {"a": 4, "b": 1, "c": 7, "d": d_in, "e": 2}
    lora = {n: LoraFactors(normal(r, d_in), normal(d_out, r)) for n, r in ranks.items()}
    rows = {name: normal(50, d_in) for name in ranks}
    generic = normal(50, d_in)
    parts = {name: normal(rank, d_in) for name, rank in ranks.items()}
    fused = LoraFactors(
        down=torch.cat(list(parts.values())),
        up=torch.cat([one.up for one in lora.values()], dim=1),
    )
    standings = [
        judging.Standing(n, {module: lora[n]}, {module: 0.5}, gram_of(rows[n]))
        for n in ranks
    ]
    prior = gram_of(generic)
    settings = FusionSettings()
    report = judging.judged(base, {module: fused}, standings, ranks, prior, settings)
    (layer,) = report.layers
    assert layer.drift == pytest.approx(energy(fused.dense(), generic))
    for name, own in lora.items():
        size = energy(own.dense(), rows[name])
        missed = energy(fused.dense() - own.dense(), rows[name])
        assert layer.size[name] == pytest.approx(size)
        assert layer.residual[name] == pytest.approx(missed)
        assert layer.alone[name] == 0.5
        for other in ranks.keys() - {name}:
            part = lora[other].up @ parts[other]
            told = report.spill[name][other]
            assert told == pytest.approx(energy(part, rows[name]) / size)


def energy(update: Tensor, rows: Tensor) -> float:
    return float((rows @ update.T).square().sum())


def gram_of(rows: Tensor) -> Callable[[str], Tensor]:
    return lambda _: rows.T @ rows
