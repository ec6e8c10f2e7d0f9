"""Captures weigh the cells where the concept's words are looked at."""

from pathlib import Path

import pytest
import torch
from diffusers.models.attention_processor import Attention

from mos_model.bases.base import Base, load_base
from mos_server.fusion import FusionSettings
from mos_server.fusion.focus import Focus, attention_to, cell_weights
from mos_server.fusion.gradient_fusion import capture
from mos_server.fusion.moments import STAGES, stage_of
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder: Path = save_tiny_sd(tmp_path_factory.mktemp("base"))
    return load_base(str(folder))


def test_attention_is_what_diffusers_itself_computes() -> None:
    torch.manual_seed(0)
    attention = Attention(query_dim=12, cross_attention_dim=8, heads=3, dim_head=4)
    cells, text = torch.randn(2, 9, 12), torch.randn(2, 5, 8)
    query = attention.head_to_batch_dim(attention.to_q(cells))
    key = attention.head_to_batch_dim(attention.to_k(text))
    shares = attention.get_attention_scores(query, key).view(2, 3, 9, 5).mean(1)
    found = attention_to(attention, cells, text, [(1, 2), (4,)])
    assert torch.allclose(found[0], shares[0][:, [1, 2]].sum(-1), atol=1e-6)
    assert torch.allclose(found[1], shares[1][:, 4], atol=1e-6)


def test_weights_are_one_on_average_and_never_nothing() -> None:
    attention = torch.tensor([[0.1, 0.1, 0.5, 0.4], [0.2, 0.2, 0.2, 0.2]])
    weights = cell_weights(attention)
    assert torch.allclose(weights.mean(1), torch.ones(2))
    assert weights[0, 2] > weights[0, 3] > weights[0, 0] > 0
    assert torch.allclose(weights[1], torch.ones(4)), "all alike count alike"


def test_a_moment_counts_the_subjects_cells_most() -> None:
    focus = Focus()
    focus.start([(1,)])
    focus._attention = torch.tensor([[[[0.9, 0.1], [0.1, 0.1]]]])
    inputs = torch.eye(4)[None]
    weighted = focus.weighted(inputs)[0]
    gram = weighted.T @ weighted
    assert gram.trace() == pytest.approx(4)
    assert gram[0, 0] > 20 * gram[1, 1]


def test_before_the_first_attention_all_cells_count_alike() -> None:
    focus = Focus()
    focus.start([(1,)])
    inputs = torch.randn(1, 4, 3)
    assert torch.equal(focus.weighted(inputs), inputs)


def test_only_spatial_moments_of_a_named_concept_are_weighted(base: Base) -> None:
    concept = random_concept(base.inventory, "rex")
    words = {"rex": concept.embeddings}

    def moments(prompts: list[str], *, focus: bool) -> dict[str, torch.Tensor]:
        settings = FusionSettings(steps=2, scenes=("",), focus=focus)
        return capture(base, concept.lora, words, prompts, settings)

    named = [moments(["a photo of <rex>"], focus=focus) for focus in (False, True)]
    differing = {
        stage_of(name)
        for name, gram in named[0].items()
        if not torch.equal(gram, named[1][name])
    }
    assert differing == {STAGES[-1]}
    for name, gram in named[0].items():
        assert named[1][name].trace() > 0.2 * gram.trace(), name
    generic = [moments(["a photo of a dog"], focus=focus) for focus in (False, True)]
    for name, gram in generic[0].items():
        assert torch.equal(gram, generic[1][name]), name
