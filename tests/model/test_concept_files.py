"""Concepts read part by part from their files are those that were written."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mos_model.bases.inventory import Inventory
from mos_model.concepts.concept import Concept, FusedModel
from mos_model.errors import ConceptError
from tests.support.concepts import random_concept

INVENTORY = Inventory(
    base="a" * 64,
    projections={"unet.x.attn2.to_k": (6, 5), "unet.x.attn2.to_v": (7, 5)},
    embedding_widths={"text_encoder": 8},
    layers=3,
)


def opened(path: Path) -> Concept:
    return Concept.from_open(safe_open(path, framework="pt"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_open_concept_is_the_one_that_was_written(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    concept = random_concept(INVENTORY, dtype=dtype)
    concept = replace(concept, facts=replace(concept.facts, licence="CC0-1.0"))
    path = tmp_path / "rex.safetensors"
    path.write_bytes(concept.to_bytes())
    found = opened(path)
    assert found.facts == concept.facts
    assert list(found.lora) == sorted(concept.lora)
    assert found.to_bytes() == concept.to_bytes()
    with pytest.raises(KeyError, match=r"unet\.y"):
        found.lora["unet.y"]


def test_file_of_another_kind_is_no_concept(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    fused = FusedModel(INVENTORY.base, random_concept(INVENTORY).lora, ())
    path.write_bytes(fused.to_bytes())
    with pytest.raises(ConceptError, match="says format 'mos-fused/1'"):
        opened(path)
    path.write_bytes(random_concept(INVENTORY).to_bytes())
    save_file(load_file(path), path)
    with pytest.raises(ConceptError, match="says format None"):
        opened(path)
