"""What people have on their disks: each file is read, or named by what it is."""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import save, save_file

from mos_model.bases.base_files import read_inventory
from mos_model.bases.inventory import Inventory
from mos_model.concepts.concept import Concept
from mos_model.errors import ConceptError
from mos_model.interop import import_concept
from mos_model.interop.spelling import spelling_table
from tests.support.concepts import random_concept
from tests.support.families import save_family

Tensors = dict[str, torch.Tensor]
MID = "mid_block.attentions.0.transformer_blocks.0"
ONE = torch.ones(4, 4)


@pytest.fixture
def concept(inventory: Inventory) -> Concept:
    return random_concept(inventory)


def lora(
    concept: Concept, spelled: Callable[[str], str] = lambda name: name
) -> Tensors:
    tensors: Tensors = {}
    for module, factors in concept.lora.items():
        tensors[f"{spelled(module)}.lora_A.weight"] = factors.down
        tensors[f"{spelled(module)}.lora_B.weight"] = factors.up
    return tensors


def with_header(content: bytes, **header: Any) -> bytes:
    """The same tensors under a header with other entries."""
    length = int.from_bytes(content[:8], "little")
    table = json.loads(content[8 : 8 + length]) | header
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def assert_same(found: Concept, concept: Concept) -> None:
    for module, factors in concept.lora.items():
        assert torch.equal(found.lora[module].down, factors.down)
        assert torch.equal(found.lora[module].up, factors.up)


# Headers


@pytest.mark.parametrize("metadata", [None, {}])
def test_header_with_null_or_empty_metadata_is_read(
    base: str, concept: Concept, tmp_path: Path, metadata: Any
) -> None:
    path = tmp_path / "rex.safetensors"
    path.write_bytes(with_header(save(lora(concept)), __metadata__=metadata))
    assert_same(import_concept(path, base=base, class_word="cat").concept, concept)


@pytest.mark.parametrize(
    "metadata",
    [{"a": None}, {"lora_adapter_metadata": None}, {"mos": 1}, [], 1, "x", True],
    ids=str,
)
def test_header_with_odd_metadata_is_refused_in_one_line(
    base: str, concept: Concept, tmp_path: Path, metadata: Any
) -> None:
    path = tmp_path / "rex.safetensors"
    path.write_bytes(with_header(save(lora(concept)), __metadata__=metadata))
    with pytest.raises(ConceptError, match=r"rex\.safetensors: not a whole safeten"):
        import_concept(path, base=base, class_word="cat")


@pytest.mark.parametrize("text", ["no json", "[]", "[" * 5000, "null"], ids=range(4))
def test_broken_settings_in_the_header_are_refused_in_one_line(
    base: str, concept: Concept, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "rex.safetensors"
    save_file(lora(concept), path, {"lora_adapter_metadata": text})
    with pytest.raises(ConceptError, match="in the header is no"):
        import_concept(path, base=base, class_word="cat")


NO_SAFETENSORS = {
    "a Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "not a safetensors file but a Git LFS pointer.*git lfs pull",
    ),
    "a web page": (
        b"\n<!DOCTYPE html><html>sign in</html>",
        "an HTML page saved under",
    ),
    "JSON": (b'{"error": "Unauthorized"}', "JSON text, perhaps a server's answer"),
    "nothing": (b"", "an empty file"),
    "GGUF": (b"GGUF\x03\0\0\0" + b"\0" * 40, "a GGUF file of quantised weights"),
    "an archive": (b"\x1f\x8b" + b"\0" * 40, "an archive; unpack it first"),
}


@pytest.mark.parametrize("what", NO_SAFETENSORS)
def test_file_that_is_no_safetensors_is_named_by_what_it_is(
    base: str, tmp_path: Path, what: str
) -> None:
    content, reason = NO_SAFETENSORS[what]
    path = tmp_path / "rex.safetensors"
    path.write_bytes(content)
    with pytest.raises(ConceptError, match=reason):
        import_concept(path, base=base, class_word="cat")
    with pytest.raises(ConceptError, match=reason):
        Concept.from_bytes(content)


# PEFT's settings


def peft(folder: Path, concept: Concept, **settings: Any) -> Path:
    """A folder as PEFT's `save_pretrained` of a UNet writes it."""
    folder.mkdir(exist_ok=True)
    own = {k: t for k, t in lora(concept).items() if k.startswith("unet.")}
    named = {f"base_model.model.{k.removeprefix('unet.')}": t for k, t in own.items()}
    save_file(named, folder / "adapter_model.safetensors")
    common = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "init_lora_weights": True}
    text = json.dumps(common | settings)
    (folder / "adapter_config.json").write_text(text)
    return folder / "adapter_model.safetensors"


CHANGED_BASE = ["pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga"]


@pytest.mark.parametrize("start", CHANGED_BASE)
def test_factors_relative_to_a_changed_base_are_refused_with_the_conversion(
    base: str, concept: Concept, tmp_path: Path, start: str
) -> None:
    path = peft(tmp_path / "rex", concept, init_lora_weights=start)
    with pytest.raises(ConceptError, match=f"{start!r}.*path_initial_model_for_weight"):
        import_concept(path, base=base, class_word="cat")


@pytest.mark.parametrize(
    "settings",
    [
        *({"peft_type": "LOHA"}, {"peft_type": "IA3"}, {"peft_type": 1}),
        *({"lora_alpha": True}, {"lora_alpha": "8"}, {"lora_alpha": 10**400}),
        *({"init_lora_weights": "next_years"}, {"init_lora_weights": 1}),
        *({"use_dora": True}, {"use_qalora": True}, {"bias": "lora_only"}),
        *({"lora_bias": True}, {"modules_to_save": ["conv_in"]}),
        *({"alora_invocation_tokens": [1]}, {"layer_replication": [[0, 1]]}),
        {"a_setting_of_next_year": "on"},
    ],
    ids=str,
)
def test_peft_settings_that_are_not_plain_lora_are_refused_by_name(
    base: str, concept: Concept, tmp_path: Path, settings: Mapping[str, Any]
) -> None:
    path = peft(tmp_path / "rex", concept, **settings)
    named = "alpha|DoRA|PEFT|" + next(iter(settings))
    with pytest.raises(ConceptError, match=named):
        import_concept(path, base=base, class_word="cat")
    header = {f"unet.{key}": value for key, value in settings.items()}
    save_file(
        lora(concept),
        tmp_path / "diffusers.safetensors",
        {"lora_adapter_metadata": json.dumps(header)},
    )
    with pytest.raises(ConceptError, match=named):
        import_concept(tmp_path / "diffusers.safetensors", base=base, class_word="cat")


def test_every_default_of_the_installed_peft_is_plain_lora(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    settings = {
        key: getattr(value, "value", value)
        for key, value in LoraConfig(r=4, lora_alpha=4).to_dict().items()
    }
    for start in (True, False, "gaussian", "orthogonal"):
        settings["init_lora_weights"] = start
        path = peft(tmp_path / "rex", concept, **settings)
        found = import_concept(path, base=base, class_word="cat").concept
        layer = f"unet.{MID}.attn1.to_q"
        assert torch.equal(found.lora[layer].up, concept.lora[layer].up)


def test_folder_of_peft_or_diffusers_is_read_and_named_by_its_folder(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    path = peft(tmp_path / "My Rex", concept)
    for given in (path, path.parent):
        found = import_concept(given, base=base, class_word="cat").concept
        assert found.facts.name == "my-rex"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConceptError, match="a folder without adapter_model"):
        import_concept(tmp_path / "empty", base=base, class_word="cat")


# ComfyUI's keys


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_keys_of_comfyui_are_read_bit_by_bit(tmp_path: Path, family: str) -> None:
    base = str(save_family(tmp_path / "base", family))
    inventory = read_inventory(base)
    concept = random_concept(inventory)
    spelled = {
        module: name
        for name, module in spelling_table(inventory).items()
        if name.startswith("diffusion_model.")
    }
    clip = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}

    def comfy(module: str) -> str:
        component, _, rest = module.partition(".")
        if component == "unet":
            return spelled[module]
        letter = "clip_h" if family == "sd2" else clip[component]
        return f"text_encoders.{letter}.transformer.text_model.{rest}"

    assert "diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q" in (
        spelled.values()
    )
    path = tmp_path / "rex.safetensors"
    save_file(lora(concept, comfy), path)
    found = import_concept(path, base=base, class_word="cat")
    assert not found.absent
    assert_same(found.concept, concept)


# Pickles, words, bundles


def test_pickled_lora_of_plain_tensors_is_read(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    path = tmp_path / "rex" / "pytorch_lora_weights.bin"
    path.parent.mkdir()
    torch.save(lora(concept), path)
    found = import_concept(path, base=base, class_word="cat").concept
    assert_same(found, concept)
    assert found.facts.name == "rex"
    torch.save({"state_dict": lora(concept), "step": 9}, path)
    assert_same(import_concept(path, base=base, class_word="cat").concept, concept)


def test_content_decides_how_a_file_is_read_and_not_its_name(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    save_file(lora(concept), tmp_path / "rex.pt")
    torch.save(lora(concept), tmp_path / "rex.safetensors")
    for name in ("rex.pt", "rex.safetensors"):
        found = import_concept(tmp_path / name, base=base, class_word="cat").concept
        assert_same(found, concept)


def test_vast_tensors_of_a_pickled_lora_are_refused_unread(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    vast = torch.zeros(1).expand(10**7, 10**7)
    path = tmp_path / "rex.bin"
    torch.save(lora(concept) | {f"unet.{MID}.attn1.to_q.lora_A.weight": vast}, path)
    with pytest.raises(ConceptError, match="larger than its bytes in the file"):
        import_concept(path, base=base, class_word="cat")
    deep: dict[str, Any] = {}
    deep["again"] = deep
    torch.save(deep, path)
    with pytest.raises(ConceptError, match="nested too deep"):
        import_concept(path, base=base, class_word="cat")


WORD = torch.linspace(-1, 1, 2 * 32).reshape(2, 32)
WORDS: dict[str, tuple[str, Any]] = {
    "A1111's safetensors": ("rex.safetensors", {"emb_params": WORD}),
    "A1111's pt": (
        "rex.pt",
        {
            "string_to_token": {"*": 265},
            "string_to_param": {"*": torch.nn.Parameter(WORD)},
            "name": "rex",
            "step": 500,
            "sd_checkpoint": None,
        },
    ),
    "diffusers' safetensors": ("learned_embeds.safetensors", {"<rex>": WORD}),
    "diffusers' bin": ("learned_embeds.bin", {"<rex>": WORD}),
}


@pytest.mark.parametrize("what", WORDS)
def test_words_of_other_tools_are_read_next_to_a_lora(
    base: str, concept: Concept, tmp_path: Path, what: str
) -> None:
    name, content = WORDS[what]
    words, path = tmp_path / name, tmp_path / "lora.safetensors"
    save_file(lora(concept), path)
    if name.endswith(".safetensors"):
        save_file(content, words)
    else:
        torch.save(content, words)
    found = import_concept(path, base=base, class_word="cat", words=words)
    assert found.own_words
    rows = found.concept.embeddings["text_encoder"]
    assert torch.equal(rows, WORD[:, None].expand_as(rows))
    with pytest.raises(ConceptError, match=r"words .*--words"):
        import_concept(words, base=base, class_word="cat")


@pytest.mark.parametrize("form", ["emb_params", "string_to_param.*"])
def test_words_bundled_with_a_lora_are_its_words_and_name(
    base: str, concept: Concept, tmp_path: Path, form: str
) -> None:
    path = tmp_path / "lora-v2.safetensors"
    save_file(lora(concept) | {f"bundle_emb.Rex.{form}": WORD}, path)
    found = import_concept(path, base=base, class_word="cat")
    assert found.own_words
    assert found.concept.facts.name == "rex"
    rows = found.concept.embeddings["text_encoder"]
    assert torch.equal(rows, WORD[:, None].expand_as(rows))
    save_file(
        lora(concept)
        | {f"bundle_emb.{name}.{form}": WORD.clone() for name in ("rex", "miso")},
        path,
    )
    with pytest.raises(ConceptError, match="2 words are bundled with it"):
        import_concept(path, base=base, class_word="cat")


def test_concept_of_ours_is_not_imported_again(
    base: str, concept: Concept, tmp_path: Path
) -> None:
    path = tmp_path / "rex.safetensors"
    path.write_bytes(concept.to_bytes())
    with pytest.raises(ConceptError, match="of ours already"):
        import_concept(path, base=base, class_word="cat")


# Numbers and names


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("alpha", [1.0, 3.0, 4.0])
def test_factors_of_any_precision_are_kept_exactly(
    base: str, concept: Concept, tmp_path: Path, dtype: torch.dtype, alpha: float
) -> None:
    """float32 holds bfloat16 and float16; only alpha / rank may round the last bit."""
    tensors = {key: tensor.to(dtype) for key, tensor in lora(concept).items()}
    scales = {
        f"{module}.alpha": torch.tensor(alpha, dtype=dtype) for module in concept.lora
    }
    path = tmp_path / "rex.safetensors"
    save_file(tensors | scales, path)
    found = import_concept(path, base=base, class_word="cat").concept
    for module in concept.lora:
        down = tensors[f"{module}.lora_A.weight"].float()
        up = tensors[f"{module}.lora_B.weight"].float()
        assert torch.equal(found.lora[module].down, down)
        assert torch.equal(found.lora[module].up, up * (alpha / 4))


def test_names_in_a_foreign_file_cannot_write_on_the_terminal(
    base: str, tmp_path: Path
) -> None:
    path = tmp_path / "rex.safetensors"
    save_file({"\x1b[2J\n" + "a" * 5000: ONE, "b": ONE.clone()}, path)
    with pytest.raises(ConceptError) as told:
        import_concept(path, base=base, class_word="cat")
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 800
