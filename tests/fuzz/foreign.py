"""LoRA files of other tools, and how chance or malice changes them."""

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from safetensors.torch import save

from mos_model.concepts.concept import Concept
from mos_model.interop.spelling import kohya_name
from tests.fuzz.mutations import NUMBERS, TEXTS, change_tree, changed_bytes, with_header

_FLOATS: Final = (torch.nan, torch.inf, -torch.inf, 3.4e38, 1e-40, 0.0)
_DTYPES: Final = (
    *(torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool),
    *(torch.complex64, torch.uint8, torch.float8_e4m3fn),
)
_SUFFIXES: Final = (
    *("lora_down.weight", "lora_up.weight", "alpha", "lora_A.weight", "dora_scale"),
    *("hada_w1_a", "diff", "lora_mid.weight", "lora_B.bias", "lora_A.default.weight"),
)

Tensors = dict[str, torch.Tensor]
Change = Callable[[random.Random, bytes], bytes]


@dataclass(frozen=True)
class Files:
    """What one `import` reads."""

    lora: bytes
    words: bytes | None = None
    adapter: bytes | None = None
    """PEFT's `adapter_config.json`."""


def honest_files(concept: Concept) -> list[Files]:
    """One of each kind that `import` reads, of the same concept."""
    pairs = concept.lora.items()
    diffusers = {f"{m}.lora_A.weight": f.down for m, f in pairs}
    diffusers |= {f"{m}.lora_B.weight": f.up for m, f in pairs}
    kohya: Tensors = {}
    for module, factors in pairs:
        name = kohya_name(module, two_encoders=False)
        kohya[f"{name}.lora_down.weight"] = factors.down.half()
        kohya[f"{name}.lora_up.weight"] = factors.up.half()
        kohya[f"{name}.alpha"] = torch.tensor(2.0)
    settings = {"unet.r": 4, "unet.lora_alpha": 8, "unet.alpha_pattern": {"to_q": 2}}
    header = {"lora_adapter_metadata": json.dumps(settings)}
    unet = {k.removeprefix("unet."): t for k, t in diffusers.items() if k[0] == "u"}
    peft = {f"base_model.model.{key}": tensor for key, tensor in unet.items()}
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "bias": "none"}
    word = concept.embeddings["text_encoder"][:, 0].contiguous()
    text = {k.partition(".")[2]: t for k, t in diffusers.items() if k[0] == "t"}
    reference = {
        "new_concept_embedding": {"<a>": word[:1].clone(), "<b>": word[1:].clone()},
        "text_encoder": {f"text_model.{key}": tensor for key, tensor in text.items()},
        "unet": unet,
    }
    a1111 = {"string_to_param": {"*": word}, "name": "rex", "step": 5}
    plain = save(diffusers)
    return [
        Files(save(diffusers, header)),
        Files(save(kohya, {"ss_network_dim": "4"})),
        Files(save(peft), adapter=json.dumps(config).encode()),
        Files(save(diffusers | {"bundle_emb.rex.emb_params": word})),
        Files(pickled(kohya)),
        Files(pickled({"params": reference})),
        Files(plain, words=save({"emb_params": word})),
        Files(plain, words=pickled(a1111)),
    ]


def pickled(table: Mapping[str, Any]) -> bytes:
    """A file of `torch.save`."""
    file = io.BytesIO()
    torch.save(dict(table), file)
    return file.getvalue()


def mutated(source: random.Random, honest: list[Files]) -> Files:
    """An honest file with one of its parts changed."""
    files = source.choice(honest)
    parts = [k for k in ("lora", "words", "adapter") if getattr(files, k) is not None]
    part = parts[-1] if source.random() < 0.5 else parts[0]
    content: bytes = getattr(files, part)
    change: Change
    if part == "adapter":
        change = source.choice((changed_bytes, _json_values))
    elif content.startswith(b"PK"):
        change = source.choice((changed_bytes, _entry_bytes, _entry_bytes))
    else:
        change = source.choice(_OF_SAFETENSORS)
    return replace(files, **{part: change(source, content)})


def _json_values(source: random.Random, content: bytes) -> bytes:
    table = json.loads(content)
    for _ in range(source.choice((1, 1, 2, 4))):
        change_tree(source, table)
    key = source.choice(("init_lora_weights", "alpha_pattern", "peft_type", "use_dora"))
    if source.random() < 0.5:
        table[key] = source.choice((*NUMBERS, *TEXTS, None, True, [], {"a": [1]}))
    return json.dumps(table).encode()


def _split(content: bytes) -> bytes:
    return content[8 : 8 + int.from_bytes(content[:8], "little")]


def _header_text(source: random.Random, content: bytes) -> bytes:
    return with_header(content, changed_bytes(source, _split(content)))


def _header_values(source: random.Random, content: bytes) -> bytes:
    table = json.loads(_split(content))
    for _ in range(source.choice((1, 1, 2, 4))):
        change_tree(source, table)
    return with_header(content, json.dumps(table).encode())


def _settings(source: random.Random, content: bytes) -> bytes:
    """Other settings of diffusers in the header's metadata."""
    table = json.loads(_split(content))
    settings = {"unet.r": 4, "unet.lora_alpha": 8, "text_encoder.lora_alpha": 1}
    said = _json_values(source, json.dumps(settings).encode()).decode()
    table["__metadata__"] = {"lora_adapter_metadata": said}
    return with_header(content, json.dumps(table).encode())


def _nested(source: random.Random, content: bytes) -> bytes:
    depth = source.choice((10, 900, 5000))
    opening, closing = source.choice((("[", "]"), ('{"a":', "}")))
    deep = opening * depth + "1" + closing * depth
    table = json.loads(_split(content))
    if source.random() < 0.5:
        table["__metadata__"] = {"lora_adapter_metadata": deep}
        return with_header(content, json.dumps(table).encode())
    table[source.choice(sorted(table))] = "@deep@"
    return with_header(content, json.dumps(table).replace('"@deep@"', deep).encode())


def _names(source: random.Random, content: bytes) -> bytes:
    """Other names for some tensors: other methods, other parts, hostile texts."""
    table = json.loads(_split(content))
    for name in source.sample(sorted(table), min(len(table), source.choice((1, 2, 9)))):
        layer = name.partition(".lora_")[0]
        other = source.choice((f"{layer}.{source.choice(_SUFFIXES)}", *TEXTS))
        table[other] = table.pop(name)
    return with_header(content, json.dumps(table).encode())


def _numbers(source: random.Random, content: bytes) -> bytes:
    """Other numbers, dtypes and shapes, in a file that is rightly written."""
    from safetensors.torch import load

    tensors = load(content)
    for name in source.sample(sorted(tensors), min(len(tensors), 2)):
        tensor = tensors[name]
        match source.randrange(4):
            case 0:
                tensors[name] = torch.full(tensor.shape, source.choice(_FLOATS))
            case 1:
                tensors[name] = tensor.to(source.choice(_DTYPES))
            case 2:
                tensors[name] = tensor.flatten()[: source.choice((0, 1, 8))]
            case _:
                tensors[name] = tensor[(None,) * source.choice((1, 2, 40))]
    return save({name: tensor.contiguous() for name, tensor in tensors.items()})


def _length(source: random.Random, content: bytes) -> bytes:
    length = source.choice([n for n in NUMBERS if 0 <= n < 2**64])
    return struct.pack("<Q", length) + content[8:]


def _entry_bytes(source: random.Random, content: bytes) -> bytes:
    """A zip whose pickle, or another entry, is changed before it is stored."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    pickle = next(name for name in entries if name.endswith("data.pkl"))
    name = pickle if source.random() < 0.8 else source.choice(sorted(entries))
    entries[name] = changed_bytes(source, entries[name])
    file = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if source.random() < 0.05 else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", method) as archive:
        for entry, held in entries.items():
            archive.writestr(entry, held)
    return file.getvalue()


_OF_SAFETENSORS: Final[tuple[Change, ...]] = (
    *(changed_bytes, _header_text, _header_values, _header_values, _settings),
    *(_nested, _names, _numbers, _numbers, _length),
)
