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

from mos_model.bases.base_config import read_base_config
from mos_model.bases.inventory import Inventory, Shape
from mos_model.errors import BaseError, TensorFileError
from mos_model.file_kinds import kind_of
from mos_model.mini import ZOO_NAMES, zoo_path
from mos_model.tensor_files import FileHeader, header_at
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

    Its configs are judged here (see `base_config`), so every command judges alike.

    Args:
        name: A name of the mini zoo ("mini"), a diffusers pipeline directory, or a
            model name on the Hugging Face hub.

    Raises:
        BaseError: none of the three, or not a base that is supported.
    """
    if name in ZOO_NAMES:
        return zoo_path(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        read_base_config(folder.resolve())
        return folder.resolve()
    if folder.is_file():
        raise BaseError(f"{folder}: {_file_as_base(folder)}")
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
            tensor: entry.shape
            for path in weight_files(folder / component)
            for tensor, entry in _header(path).tensors.items()
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
        BaseError: it is not a base.
    """
    second = ("text_encoder_2",) if read_base_config(folder).is_xl else ()
    return ("unet", "text_encoder", *second)


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
            table = _header(path).tensors
            with (
                path.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
            ):
                for tensor, entry in table.items():
                    if _is_buffer(tensor):
                        continue
                    with memoryview(content) as view:
                        digest = hashlib.sha256(view[entry.begin : entry.end])
                    name = f"{component}.{tensor.removeprefix('text_model.')}"
                    shape = "x".join(map(str, entry.shape))
                    yield f"{name} {entry.dtype} {shape} {digest.hexdigest()}"


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


def _header(path: Path) -> FileHeader:
    try:
        return header_at(path)
    except TensorFileError as error:
        raise BaseError(str(error)) from error


def _file_as_base(path: Path) -> str:
    """Why one file is no base, and what to do."""
    try:
        kind = kind_of(header_at(path).tensors)
    except TensorFileError:
        kind = None
    if kind and "checkpoint" in kind.what:
        return str(kind).replace("FILE", path.name).replace(", not a LoRA", "")
    what = f"{kind.what}, not a base" if kind else "one file"
    return f"{what}; a base is a diffusers pipeline directory"


def _from_hub(name: str) -> Path:
    """A hub's pipeline; its configs are fetched and judged before its weights."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        read_base_config(Path(snapshot_download(name, allow_patterns=["*.json"])))
        return Path(snapshot_download(name, allow_patterns=list(_HUB_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BaseError(
            f"base {name!r}: no such directory, and not available from the hub "
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
