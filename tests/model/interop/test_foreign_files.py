"""Files of other tools, whole and broken."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file

from mos_model.bases.inventory import Inventory
from mos_model.concepts.concept import Concept
from mos_model.errors import BaseMismatchError, ConceptError
from mos_model.interop import import_concept, importing
from mos_model.interop.words import class_rows
from mos_runtime.errors import StorageError
from tests.support.concepts import random_concept

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def concept(inventory: Inventory) -> Concept:
    return random_concept(inventory)


def reference(concept: Concept, **also: torch.Tensor) -> dict[str, Any]:
    """A concept as the reference's `delta_state_dict` has it."""
    parts: dict[str, dict[str, torch.Tensor]] = {"text_encoder": {}, "unet": {}}
    for module, factors in concept.lora.items():
        component, _, layer = module.partition(".")
        layer = layer if component == "unet" else f"text_model.{layer}"
        parts[component][f"{layer}.lora_down.weight"] = factors.down
        parts[component][f"{layer}.lora_up.weight"] = factors.up
    rand, own_class = concept.embeddings["text_encoder"]
    words = {"<Potter1>": rand.clone(), "<Potter2>": own_class.clone()}
    parts["unet"] |= also
    return {"params": {"new_concept_embedding": words, **parts}}


def save_pth(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def plain(concept: Concept) -> Tensors:
    """The same LoRA under PEFT's keys, as diffusers saves it."""
    tensors: Tensors = {}
    for module, factors in concept.lora.items():
        tensors[f"{module}.lora_A.weight"] = factors.down
        tensors[f"{module}.lora_B.weight"] = factors.up
    return tensors


# The reference's ED-LoRA


def test_reference_is_read_with_its_words_and_undivided_scale(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    path = save_pth(tmp_path / "edlora_model-latest.pth", reference(concept))
    found = import_concept(path, base=base, class_word="person").concept
    assert found.facts.name == "potter"
    assert torch.equal(
        found.embeddings["text_encoder"], concept.embeddings["text_encoder"]
    )
    for module, factors in concept.lora.items():
        # dW = alpha * up @ down with alpha = 1, whatever the rank.
        assert torch.equal(found.lora[module].dense(), factors.dense())


def test_alpha_of_the_reference_is_folded_into_up_and_not_divided(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    also = {f"{layer}.alpha": torch.tensor(0.5)}
    path = save_pth(tmp_path / "a.pth", reference(concept, **also))
    found = import_concept(path, base=base, class_word="person").concept
    factors = found.lora[f"unet.{layer}"]
    assert torch.equal(factors.down, concept.lora[f"unet.{layer}"].down)
    assert torch.equal(factors.up, 0.5 * concept.lora[f"unet.{layer}"].up)


def test_reference_plain_lora_has_one_vector_for_all_layers(
    base: str, concept: Concept, inventory: Inventory, tmp_path: Path
) -> None:
    content = reference(concept)
    word = torch.randn(1, 32)
    content["params"]["new_concept_embedding"] = {"<dog>": word}
    path = save_pth(tmp_path / "a.pth", content)
    rows = import_concept(path, base=base, class_word="dog").concept.embeddings
    rand, own_class = rows["text_encoder"]
    assert torch.equal(rand, word.expand(inventory.layers, -1))
    assert torch.equal(own_class[0], class_rows(base, "dog", "text_encoder")[1])


def test_reference_that_lacks_a_layer_is_refused_by_its_name(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    content = reference(concept)
    layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    for part in ("down", "up"):
        del content["params"]["unet"][f"{layer}.lora_{part}.weight"]
    path = save_pth(tmp_path / "a.pth", content)
    with pytest.raises(ConceptError, match=f"layer unet.{layer} is missing"):
        import_concept(path, base=base, class_word="person")


class Evil:
    """Runs code when unpickled; what weights_only is there to keep out."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (exec, ("raise SystemExit('a pickle ran')",))


def zip_bomb(path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 2**20)
    path.write_bytes(buffer.getvalue())


BROKEN_PTH: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a pickle with code": (lambda p: torch.save(Evil(), p), "plain tensors"),
    "a bare pickle": (lambda p: p.write_bytes(pickle.dumps(Evil())), "bare Python"),
    "a picture": (lambda p: p.write_bytes(b"\x89PNG\r\n"), "a PNG picture"),
    "a compressed zip": (zip_bomb, "compressed"),
    "an empty table": (lambda p: torch.save({}, p), "not one attention layer"),
    "a list": (lambda p: torch.save([torch.ones(1)], p), "no table"),
}


@pytest.mark.parametrize("what", BROKEN_PTH)
def test_pth_that_is_no_ed_lora_is_refused(
    base: str, tmp_path: Path, what: str
) -> None:
    write, reason = BROKEN_PTH[what]
    write(tmp_path / "a.pth")
    with pytest.raises(ConceptError, match=reason):
        import_concept(tmp_path / "a.pth", base=base, class_word="cat", name="rex")


def test_truncated_pth_is_refused(base: str, concept: Concept, tmp_path: Path) -> None:
    path = save_pth(tmp_path / "a.pth", reference(concept))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ConceptError, match=r"a\.pth: not a whole"):
        import_concept(path, base=base, class_word="cat")


def test_vast_tensor_that_costs_no_bytes_is_not_expanded(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    content = reference(concept)
    vast = torch.zeros(1).expand(10**7, 10**7)
    content["params"]["new_concept_embedding"] = {"<rex>": vast}
    path = save_pth(tmp_path / "a.pth", content)
    with pytest.raises(BaseMismatchError, match="width 10000000"):
        import_concept(path, base=base, class_word="cat")


# LoRA in safetensors


def old_diffusers(concept: Concept) -> Tensors:
    names = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
    tensors: Tensors = {}
    for module, factors in concept.lora.items():
        block, _, projection = module.removesuffix(".0").rpartition(".")
        block += ".processor" if module.startswith("unet.") else ""
        block = block.replace("text_encoder.", "text_encoder.text_model.")
        key = f"{block}.{names.get(projection, projection)}_lora"
        tensors[f"{key}.down.weight"] = factors.down
        tensors[f"{key}.up.weight"] = factors.up
    return tensors


def linear_layers(concept: Concept) -> Tensors:
    tensors: Tensors = {}
    for module, factors in concept.lora.items():
        kind = "lora" if module.startswith("unet.") else "lora_linear_layer"
        tensors[f"{module}.{kind}.down.weight"] = factors.down
        tensors[f"{module}.{kind}.up.weight"] = factors.up
    return tensors


@pytest.mark.parametrize("spelled", [plain, old_diffusers, linear_layers])
def test_every_spelling_of_diffusers_is_read(
    base: str, concept: Concept, tmp_path: Path, spelled: Callable[[Concept], Tensors]
) -> None:
    save_file(spelled(concept), tmp_path / "rex.safetensors")
    found = import_concept(tmp_path / "rex.safetensors", base=base, class_word="cat")
    assert found.absent == ()
    for module, factors in concept.lora.items():
        assert torch.equal(found.concept.lora[module].up, factors.up)


def test_lora_without_words_answers_with_the_class_words_vectors(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    save_file(plain(concept), tmp_path / "My Rex.safetensors")
    path = tmp_path / "My Rex.safetensors"
    one = import_concept(path, base=base, class_word="dog")
    assert one.concept.facts.name == "my-rex"
    assert not one.own_words
    rand, own_class = one.concept.embeddings["text_encoder"]
    assert torch.equal(rand, own_class)
    two = import_concept(path, base=base, class_word="red dog")
    rand, own_class = two.concept.embeddings["text_encoder"]
    assert torch.equal(own_class, one.concept.embeddings["text_encoder"][1])
    assert torch.equal(rand[0], class_rows(base, "red", "text_encoder")[0])


MID = "unet.mid_block.attentions.0.transformer_blocks.0"


def test_layers_that_a_lora_lacks_become_zero(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    kept = {k: t for k, t in plain(concept).items() if k.startswith("unet.")}
    del kept[f"{MID}.attn1.to_q.lora_A.weight"], kept[f"{MID}.attn1.to_q.lora_B.weight"]
    save_file(kept, tmp_path / "rex.safetensors")
    found = import_concept(tmp_path / "rex.safetensors", base=base, class_word="cat")
    assert f"{MID}.attn1.to_q" in found.absent
    assert not found.concept.lora[f"{MID}.attn1.to_q"].dense().any()
    assert found.concept.lora[f"{MID}.attn1.to_k"].dense().any()
    assert set(found.concept.lora) == set(concept.lora)


def test_layers_beyond_attention_are_refused_until_they_may_be_dropped(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    extra = {
        f"{MID}.ff.net.2.lora_A.weight": torch.ones(4, 64),
        f"{MID}.ff.net.2.lora_B.weight": torch.ones(64, 4),
    }
    path = tmp_path / "rex.safetensors"
    save_file(plain(concept) | extra, path)
    with pytest.raises(ConceptError, match="--drop-extra-layers"):
        import_concept(path, base=base, class_word="cat")
    found = import_concept(path, base=base, class_word="cat", drop_extra=True)
    assert found.dropped == (f"{MID}.ff.net.2",)


@pytest.mark.parametrize(
    ("told", "scale"),
    [
        ({"unet.lora_alpha": 2}, 0.5),
        ({"unet.lora_alpha": 2, "unet.use_rslora": True}, 1.0),
        ({"unet.lora_alpha": 2, "unet.alpha_pattern": {"attn1.to_q": 8}}, 2.0),
        ({"text_encoder.lora_alpha": 2}, 1.0),
        ({}, 1.0),
    ],
)
def test_alpha_in_the_header_is_honoured(
    base: str, concept: Concept, tmp_path: Path, told: dict[str, Any], scale: float
) -> None:
    path = tmp_path / "rex.safetensors"
    save_file(plain(concept), path, {"lora_adapter_metadata": json.dumps(told)})
    found = import_concept(path, base=base, class_word="cat").concept
    layer = f"{MID}.attn1.to_q"
    torch.testing.assert_close(found.lora[layer].up, scale * concept.lora[layer].up)


def test_peft_folder_tells_its_scale_beside_the_weights_or_is_refused(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    kept = {
        f"base_model.model.{key.removeprefix('unet.')}": tensor
        for key, tensor in plain(concept).items()
        if key.startswith("unet.")
    }
    path = tmp_path / "adapter_model.safetensors"
    save_file(kept, path)
    with pytest.raises(ConceptError, match="adapter_config"):
        import_concept(path, base=base, class_word="cat")
    beside = tmp_path / "adapter_config.json"
    beside.write_text(json.dumps({"r": 4, "lora_alpha": 8}))
    found = import_concept(path, base=base, class_word="cat").concept
    layer = f"{MID}.attn1.to_q"
    assert torch.equal(found.lora[layer].up, 2 * concept.lora[layer].up)


def spoilt(concept: Concept, what: str) -> bytes:
    """One LoRA file, broken in one way."""
    tensors, key = plain(concept), f"{MID}.attn1.to_q.lora_A.weight"
    if what == "not finite":
        tensors[key] = tensors[key].clone()
        tensors[key][0, 0] = float("nan")
    elif what == "integers":
        tensors[key] = tensors[key].to(torch.int32)
    elif what == "half a pair":
        del tensors[key]
    elif what == "ranks disagree":
        tensors[key] = torch.ones(3, tensors[key].shape[1])
    elif what == "rank beyond reason":
        tensors[key] = torch.ones(2000, tensors[key].shape[1])
        tensors[key.replace("_A", "_B")] = torch.ones(64, 2000)
    elif what == "three dimensions":
        tensors[key] = tensors[key][None]
    elif what == "dora":
        tensors[f"{MID}.attn1.to_q.lora_magnitude_vector"] = torch.ones(64)
    elif what == "lokr":
        tensors = {"lora_unet_mid_block.lokr_w1": torch.ones(2, 2)}
    elif what == "a whole model":
        tensors = {"conv_in.weight": torch.ones(4, 4)}
    elif what == "no attention":
        tensors = {}
    elif what == "infinite alpha":
        tensors[f"{MID}.attn1.to_q.alpha"] = torch.tensor(float("inf"))
    elif what == "twice":
        twin = key.replace("unet.mid_block", "mid_block")
        tensors[twin] = tensors[key].clone()
    content = save(tensors)
    if what == "truncated":
        return content[:-10]
    if what == "endless header":
        return struct.pack("<Q", 2**60) + content[8:]
    return content


BROKEN: dict[str, str] = {
    "not finite": "layer unet.*not finite",
    "integers": "no floating point",
    "half a pair": "its down factor is missing",
    "ranks disagree": "no pair of a rank",
    "rank beyond reason": "no pair of a rank",
    "three dimensions": "3 dimensions",
    "dora": "this is DoRA",
    "lokr": "this is LoKr",
    "a whole model": "weights of a UNet, not a LoRA",
    "no attention": "not one attention layer",
    "infinite alpha": "not finite",
    "twice": "is there twice",
    "truncated": "not a whole safetensors file",
    "endless header": "not a whole safetensors file",
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_lora_is_refused_with_its_reason(
    base: str, concept: Concept, tmp_path: Path, what: str
) -> None:
    path = tmp_path / "rex.safetensors"
    path.write_bytes(spoilt(concept, what))
    with pytest.raises(ConceptError, match=BROKEN[what]):
        import_concept(path, base=base, class_word="cat")


def test_lora_for_another_base_is_refused_by_shape_and_by_name(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    path, key = tmp_path / "rex.safetensors", f"{MID}.attn2.to_k"
    wide = plain(concept)
    wide[f"{key}.lora_A.weight"] = torch.ones(4, 768)
    save_file(wide, path)
    with pytest.raises(BaseMismatchError, match=r"64x768, the base has 64x32"):
        import_concept(path, base=base, class_word="cat")
    deep = plain(concept)
    name = "unet.down_blocks.3.attentions.0.transformer_blocks.0.attn1.to_q"
    deep[f"{name}.lora_A.weight"] = torch.ones(4, 64)
    deep[f"{name}.lora_B.weight"] = torch.ones(64, 4)
    save_file(deep, path)
    with pytest.raises(BaseMismatchError, match=r"has no layer unet\.down_blocks\.3"):
        import_concept(path, base=base, class_word="cat", drop_extra=True)


def test_words_of_another_width_or_number_are_refused(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    path, words = tmp_path / "rex.safetensors", tmp_path / "words.safetensors"
    save_file(plain(concept), path)
    for tensor, error, reason in (
        (torch.ones(2, 768), BaseMismatchError, "width 768"),
        (torch.ones(3, 32), ConceptError, "not one or two"),
        (torch.full((1, 32), torch.nan), ConceptError, "not finite"),
    ):
        save_file({"emb_params": tensor}, words)
        with pytest.raises(error, match=reason):
            import_concept(path, base=base, class_word="cat", words=words)


def test_file_beyond_the_limit_is_not_read(
    base: str, concept: Concept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rex.safetensors"
    save_file(plain(concept), path)
    monkeypatch.setattr(importing, "MAX_FOREIGN_BYTES", 1000)
    with pytest.raises(StorageError, match="at most 1000 bytes"):
        import_concept(path, base=base, class_word="cat")
