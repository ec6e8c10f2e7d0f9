"""What `<rex>` and `<north/rex>` mean where several sites have a rex."""

import pytest
import torch

from mos_model.bases.base import Base, load_base
from mos_model.concepts.concept import Concept, FusedConcept, FusedModel
from mos_model.errors import PromptError
from mos_model.prompts.encoder import PromptEncoder
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


@pytest.fixture(scope="module")
def own(base: Base) -> dict[str, Concept]:
    """Each site's concept by its full name."""
    return {
        key: random_concept(base.inventory, key.partition("/")[2], seed=seed)
        for seed, key in enumerate(("north/rex", "south/rex", "south/luna"))
    }


def release(*keys: str, own: dict[str, Concept]) -> FusedModel:
    concepts = tuple(
        FusedConcept(own[k].facts.name, k.partition("/")[0], "cat", own[k].embeddings)
        for k in keys
    )
    first = own[keys[0]]
    return FusedModel(first.facts.base, first.lora, concepts)


def hidden(base: Base, model: FusedModel, prompt: str) -> torch.Tensor:
    return PromptEncoder.of(base, model).encode([prompt]).hidden


def test_full_name_always_means_that_sites_concept(
    base: Base, own: dict[str, Concept]
) -> None:
    everyone = release(*own, own=own)
    for key in own:
        alone = release(key, own=own)
        expected = hidden(base, alone, f"a photo of <{key}>")
        assert torch.equal(hidden(base, everyone, f"a photo of <{key}>"), expected)
    north, south = (
        hidden(base, everyone, f"a photo of <{site}/rex>")
        for site in ("north", "south")
    )
    assert not torch.allclose(north, south)


def test_short_name_works_where_one_site_has_it(
    base: Base, own: dict[str, Concept]
) -> None:
    everyone = release(*own, own=own)
    short, full = (hidden(base, everyone, f"a <{n}>") for n in ("luna", "south/luna"))
    assert torch.equal(short, full)


def test_short_name_of_two_sites_is_refused_and_both_are_named(
    base: Base, own: dict[str, Concept]
) -> None:
    with pytest.raises(PromptError, match="<rex> may be <north/rex> or <south/rex>"):
        hidden(base, release(*own, own=own), "a photo of <rex>")


def test_name_of_a_site_that_has_no_such_concept_is_refused(
    base: Base, own: dict[str, Concept]
) -> None:
    with pytest.raises(PromptError, match="did you mean <south/luna>"):
        hidden(base, release(*own, own=own), "a photo of <north/luna>")


def test_two_sites_of_one_name_are_told_apart_in_the_files_too(
    own: dict[str, Concept],
) -> None:
    model = release("north/rex", "south/rex", own=own)
    again = FusedModel.from_bytes(model.to_bytes())
    for one, read in zip(model.concepts, again.concepts, strict=True):
        assert (one.key, one.class_word) == (read.key, read.class_word)
        for encoder, rows in one.embeddings.items():
            assert torch.equal(rows, read.embeddings[encoder])
