"""A concept that went out to another tool's files comes back as it was."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mos_model.bases.inventory import Inventory
from mos_model.concepts.applying import as_fused
from mos_model.concepts.concept import Concept, ConceptFacts, FusedModel, LoraFactors
from mos_model.interop import export_diffusers, export_kohya, import_concept
from mos_model.interop.exporting import DIFFUSERS_FILE, KOHYA_FILE
from mos_model.interop.lora_files import read_lora
from mos_model.interop.pairs import evened, to_lora
from tests.support.concepts import random_concept

EXPORTS = {
    "kohya": (export_kohya, KOHYA_FILE),
    "diffusers": (export_diffusers, DIFFUSERS_FILE),
}


def assert_equal(found: Concept, wanted: Concept) -> None:
    assert set(found.lora) == set(wanted.lora)
    for module, factors in wanted.lora.items():
        assert torch.equal(found.lora[module].down, factors.down)
        assert torch.equal(found.lora[module].up, factors.up)
    assert set(found.embeddings) == set(wanted.embeddings)
    for encoder, vectors in wanted.embeddings.items():
        assert torch.equal(found.embeddings[encoder], vectors)


@pytest.mark.parametrize("tool", EXPORTS)
def test_concept_comes_back_bit_by_bit(
    base: str, inventory: Inventory, out: Path, tool: str
) -> None:
    concept = random_concept(inventory)
    export, file = EXPORTS[tool]
    export(as_fused(concept), out)
    back = import_concept(
        out / file,
        base=base,
        class_word="cat",
        name="rex",
        words=out / "layers" / "rex.safetensors",
    )
    assert back.concept.facts == concept.facts
    assert_equal(back.concept, concept)
    assert (back.dropped, back.absent) == ((), ())


@pytest.mark.parametrize("tool", EXPORTS)
def test_words_that_are_equal_over_layers_survive_as_one_vector(
    base: str, inventory: Inventory, out: Path, tool: str
) -> None:
    made = random_concept(inventory)
    flat = {
        encoder: vectors[:, :1].expand_as(vectors).contiguous()
        for encoder, vectors in made.embeddings.items()
    }
    concept = Concept(made.facts, made.lora, flat)
    export, file = EXPORTS[tool]
    export(as_fused(concept), out)
    words = out / "embeddings" / "rex.safetensors"
    back = import_concept(
        out / file, base=base, class_word="cat", name="rex", words=words
    )
    assert_equal(back.concept, concept)


def test_kohya_names_and_alpha_are_those_that_other_tools_read(
    inventory: Inventory, out: Path
) -> None:
    export_kohya(as_fused(random_concept(inventory, rank=2)), out)
    tensors = load_file(out / KOHYA_FILE)
    layer = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    assert tensors[f"{layer}.lora_down.weight"].shape == (2, 32)
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_out_0"
    assert tensors[f"{layer}.lora_up.weight"].shape == (32, 2)
    assert tensors[f"{layer}.alpha"] == 2.0
    words = load_file(out / "embeddings" / "rex.safetensors")
    assert words["emb_params"].shape == (2, 32)


def test_two_sites_words_of_one_name_do_not_overwrite_each_other(
    inventory: Inventory, out: Path
) -> None:
    one = as_fused(random_concept(inventory), site="north")
    two = as_fused(random_concept(inventory, seed=1), site="south")
    release = FusedModel(one.base, one.lora, (*one.concepts, *two.concepts))
    export_kohya(release, out)
    names = sorted(path.name for path in (out / "embeddings").iterdir())
    assert names == ["north.rex.safetensors", "south.rex.safetensors"]


def test_layers_of_a_lower_rank_are_filled_up_without_changing_the_update() -> None:
    lora = {
        "a": LoraFactors(torch.randn(2, 6), torch.randn(5, 2)),
        "b": LoraFactors(torch.randn(3, 6), torch.randn(5, 3)),
    }
    even = evened(lora)
    assert {factors.down.shape[0] for factors in even.values()} == {3}
    for name, factors in lora.items():
        torch.testing.assert_close(even[name].dense(), factors.dense())


def sdxl_inventory() -> Inventory:
    """Names and shapes of two levels with attention and two text encoders."""
    unet = {
        f"{block}.transformer_blocks.{depth}.attn2.to_k.weight": (8, 6)
        for block in (
            *(f"down_blocks.1.attentions.{i}" for i in range(2)),
            "mid_block.attentions.0",
            *(f"up_blocks.0.attentions.{i}" for i in range(3)),
        )
        for depth in range(2)
    }
    text = {
        "encoder.layers.0.self_attn.q_proj.weight": (6, 6),
        "embeddings.token_embedding.weight": (50, 6),
    }
    second = {f"text_model.{key}": shape for key, shape in text.items()}
    components = {"unet": unet, "text_encoder": text, "text_encoder_2": second}
    return Inventory.from_tensor_shapes("5a" * 32, components, label="xl")


def test_sdxl_of_kohya_is_read_under_its_original_block_names(out: Path) -> None:
    inventory = sdxl_inventory()
    renamed = {
        "down_blocks_1_attentions_0": "input_blocks_4_1",
        "down_blocks_1_attentions_1": "input_blocks_5_1",
        "mid_block_attentions_0": "middle_block_1",
        "up_blocks_0_attentions_0": "output_blocks_0_1",
        "up_blocks_0_attentions_1": "output_blocks_1_1",
        "up_blocks_0_attentions_2": "output_blocks_2_1",
    }
    concept = random_concept(inventory)
    export_kohya(as_fused(concept), out)
    tensors = load_file(out / KOHYA_FILE)
    assert any(key.startswith("lora_te2_text_model_encoder") for key in tensors)
    for ours, theirs in renamed.items():
        tensors = {key.replace(ours, theirs): t for key, t in tensors.items()}
    save_file(tensors, out / "sgm.safetensors")
    pairs = read_lora(load_file(out / "sgm.safetensors"), inventory)
    found = to_lora(pairs, inventory, drop_extra=False, whole=True)
    for module, factors in concept.lora.items():
        assert torch.equal(found.lora[module].up, factors.up)


def test_facts_of_an_import_are_a_concepts_header(
    base: str, inventory: Inventory, out: Path
) -> None:
    export_kohya(as_fused(random_concept(inventory)), out)
    back = import_concept(out / KOHYA_FILE, base=base, class_word="cat", licence="CC0")
    facts = Concept.from_bytes(back.concept.to_bytes()).facts
    assert facts == ConceptFacts("lora", "cat", inventory.base, 4, "CC0")
