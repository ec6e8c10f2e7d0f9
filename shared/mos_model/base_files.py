"""The files of a base: where they are, which base they are, what they hold.

Works on file headers and digests alone; no torch, no model is built.
"""

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import platformdirs

from mos_model.errors import BaseError
from mos_model.inventory import Inventory, Shape
from mos_model.mini import ZOO_NAMES, zoo_path
from mos_runtime.errors import StorageError
from mos_runtime.files import write_atomically

_FACTS: Final[Mapping[str, tuple[str, ...]]] = {
    "unet": (
        *("in_channels", "out_channels", "cross_attention_dim", "block_out_channels"),
        *("attention_head_dim", "layers_per_block", "down_block_types"),
        *("up_block_types", "transformer_layers_per_block"),
    ),
    "text_encoder": (
        *("hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act"),
        *("max_position_embeddings", "vocab_size"),
    ),
    "scheduler": ("prediction_type",),
}
"""Config entries that decide what the weights compute; versions and paths do not."""

_CACHE_FROM_BYTES: Final = 64 * 2**20
_HUB_FILES: Final = (
    *("model_index.json", "*/*.json", "*/*.safetensors", "*/merges.txt"),
    *("*/spiece.model",),
)


def resolve_base(name: str) -> Path:
    """The pipeline directory of a base.

    Args:
        name: A name of the mini zoo ("mini"), a diffusers pipeline directory, or a
            model name on the Hugging Face hub.

    Raises:
        BaseError: neither of the three.
    """
    if name in ZOO_NAMES:
        return zoo_path(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise BaseError(
                f"{folder}: not a diffusers pipeline directory (no model_index.json)"
            )
        return folder.resolve()
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _from_hub(name)
    raise BaseError(
        f"base {name!r}: no such directory. Give `mini`, a diffusers pipeline "
        "directory, or a hub name like `owner/model`"
    )


def read_inventory(name: str) -> Inventory:
    """The fingerprint, names and shapes of a base.

    Raises:
        BaseError: the base is missing, or a part of it.
    """
    folder = resolve_base(name)
    shapes = {
        component: {
            tensor: tuple(entry["shape"])
            for path in weight_files(folder / component)
            for tensor, entry in read_header(path)[0].items()
        }
        for component in adapted_components(folder)
    }
    try:
        return Inventory.from_tensor_shapes(
            fingerprint(folder), _without_buffers(shapes), label=name
        )
    except ValueError as error:
        raise BaseError(f"{folder}: {error}") from error


def adapted_components(folder: Path) -> tuple[str, ...]:
    """The parts of a base that a concept changes: UNet and text encoder(s).

    Raises:
        BaseError: one of them is missing.
    """
    names = ["unet", "text_encoder"]
    if (folder / "text_encoder_2").is_dir():
        names.append("text_encoder_2")
    for name in names:
        if not (folder / name / "config.json").is_file():
            raise BaseError(f"{folder}: the base lacks {name}/config.json")
    return tuple(names)


def weight_files(component: Path) -> tuple[Path, ...]:
    """The safetensors files of one component: one file, or its shards.

    Raises:
        BaseError: there is none; pickled weights are not read.
    """
    for pattern in ("*model.safetensors", "*-of-*.safetensors", "*.fp16.safetensors"):
        files = tuple(sorted(component.glob(pattern)))
        if files:
            return files
    raise BaseError(
        f"{component}: no safetensors weights; convert the base with diffusers' "
        "`save_pretrained` first, pickled weights are not read"
    )


def read_header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """A safetensors file's table of tensors, and the offset of the first tensor.

    Raises:
        BaseError: the file is not safetensors, or cut short.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("header longer than the file")
            table = json.loads(file.read(length))
            table.pop("__metadata__", None)
            return table, 8 + length
    except (OSError, ValueError, AttributeError) as error:
        raise BaseError(f"{path}: not a whole safetensors file ({error})") from error


def fingerprint(folder: Path) -> str:
    """SHA-256 over the config facts and tensor digests of UNet and text encoder(s).

    Equal for two directories whose models compute the same, whatever diffusers or
    transformers version wrote them. Digests of large bases are cached by path, size
    and modification time.

    Returns:
        64 hexadecimal digits.

    Raises:
        BaseError: a part of the base is missing or broken.
    """
    files = [
        path
        for component in adapted_components(folder)
        for path in weight_files(folder / component)
    ]
    stamps = [[str(f), f.stat().st_size, f.stat().st_mtime_ns] for f in files]
    cached = _Cache()
    if (known := cached.get(stamps)) is not None:
        return known
    digest = hashlib.sha256(b"mos-base/1\n")
    for line in _facts(folder):
        digest.update(line.encode() + b"\n")
    for line in sorted(_tensor_digests(folder)):
        digest.update(line.encode() + b"\n")
    if sum(path.stat().st_size for path in files) >= _CACHE_FROM_BYTES:
        cached.put(stamps, digest.hexdigest())
    return digest.hexdigest()


def _facts(folder: Path) -> Iterator[str]:
    for component in (*adapted_components(folder), "scheduler"):
        kind = component.removesuffix("_2")
        name = "scheduler_config.json" if kind == "scheduler" else "config.json"
        try:
            config = json.loads((folder / component / name).read_text())
        except (OSError, ValueError) as error:
            raise BaseError(
                f"{folder / component / name}: not readable ({error})"
            ) from error
        facts = {key: config.get(key) for key in _FACTS[kind]}
        yield f"{component} {json.dumps(facts, sort_keys=True)}"


def _tensor_digests(folder: Path) -> Iterator[str]:
    for component in adapted_components(folder):
        for path in weight_files(folder / component):
            table, start = read_header(path)
            with (
                path.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
            ):
                for tensor, entry in table.items():
                    if _is_buffer(tensor):
                        continue
                    first, end = entry["data_offsets"]
                    with memoryview(content) as view:
                        digest = hashlib.sha256(view[start + first : start + end])
                    name = f"{component}.{tensor.removeprefix('text_model.')}"
                    shape = "x".join(map(str, entry["shape"]))
                    yield f"{name} {entry['dtype']} {shape} {digest.hexdigest()}"


def _is_buffer(tensor: str) -> bool:
    """Old files hold CLIP's position ids as a tensor; newer ones do not."""
    return tensor.endswith("position_ids")


def _without_buffers(
    components: Mapping[str, Mapping[str, Shape]],
) -> dict[str, dict[str, Shape]]:
    return {
        component: {k: v for k, v in tensors.items() if not _is_buffer(k)}
        for component, tensors in components.items()
    }


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(_HUB_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BaseError(
            f"base {name!r}: not a directory here, and not to be had from the hub "
            f"({reason})"
        ) from error


class _Cache:
    """Fingerprints of large bases, in one JSON file of the user's cache folder."""

    def __init__(self) -> None:
        self._path = platformdirs.user_cache_path("mix-of-show") / "fingerprints.json"
        try:
            self._known: dict[str, str] = json.loads(self._path.read_text())
        except (OSError, ValueError):
            self._known = {}

    def get(self, stamps: list[list[Any]]) -> str | None:
        return self._known.get(json.dumps(stamps))

    def put(self, stamps: list[list[Any]], digest: str) -> None:
        self._known[json.dumps(stamps)] = digest
        try:
            write_atomically(self._path, json.dumps(self._known, indent=1).encode())
        except StorageError:
            return  # a cache that cannot be written only costs time
