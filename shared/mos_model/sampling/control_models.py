"""The models behind controls, found by name and checked against the base."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from diffusers import ControlNetModel, T2IAdapter

from mos_model.bases.base import Base
from mos_model.bases.base_outline import BaseOutline
from mos_model.errors import LayoutError
from mos_model.layouts.layout import Layout
from mos_model.mini import ZOO_NAMES, zoo_path

_FAMILIES: Final[dict[str, Any]] = {
    "T2IAdapter": T2IAdapter,
    "ControlNetModel": ControlNetModel,
}


class ControlModels:
    """Loads every control model once, in the base's dtype."""

    def __init__(self, base: Base) -> None:
        """Take the base that they steer."""
        self._base = base
        self._loaded: dict[str, Any] = {}

    def of(self, layout: Layout) -> dict[str, Any]:
        """The models of a layout's controls, by name; `check_controls` comes first.

        Raises:
            LayoutError: a model is missing or broken.
            ZooError: this installation lacks a model of the mini zoo.
        """
        return {each.model: self._load(each.model) for each in layout.controls}

    def _load(self, name: str) -> Any:
        if name not in self._loaded:
            model = load_control(name).to(self._base.unet.dtype)
            self._loaded[name] = model.requires_grad_(False).eval()
        return self._loaded[name]


def check_controls(layout: Layout, outline: BaseOutline) -> None:
    """Refuse controls that cannot steer a layout on a base, by their configs.

    Raises:
        LayoutError: a model is missing, of no known kind or for another base; or the
            picture's size is not one that it takes.
        ZooError: this installation lacks a model of the mini zoo.
    """
    layout.check_controls()
    for control in layout.controls:
        family, own = _config(control.model)
        base = outline.unet
        widths = tuple(base["block_out_channels"])
        if family is T2IAdapter:
            factor = int(own.get("downscale_factor", 8))
            found, wanted = tuple(own.get("channels", ()))[: len(widths)], widths
        else:
            factor = 1
            own = {"in_channels": 4, "layers_per_block": 2, **own}
            found = (
                *own.get("block_out_channels", ()),
                *(own["in_channels"], own["layers_per_block"]),
            )
            wanted = (*widths, base["in_channels"], base["layers_per_block"])
        if found != wanted:
            raise LayoutError(
                f"control {control.model}: made for another base (channels {found}; "
                f"{outline.name!r} has {wanted})"
            )
        if layout.width % factor or layout.height % factor:
            raise LayoutError(
                f"control {control.model}: takes sides that are multiples of "
                f"{factor}, not {layout.width}x{layout.height}"
            )


def load_control(name: str) -> Any:
    """A `T2IAdapter` or `ControlNetModel`, on the CPU.

    Args:
        name: A name of the mini zoo, a directory, or a hub name.

    Raises:
        LayoutError: none of the three, or a model of another kind.
        ZooError: this installation lacks that model of the mini zoo.
    """
    family, _ = _config(name)
    try:
        return family.from_pretrained(
            control_folder(name), use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise LayoutError(f"control {name}: cannot be loaded: {reason}") from error


def weights_digest(folder: Path) -> str:
    """SHA-256 over a control's weights.

    Raises:
        LayoutError: they cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for path in sorted(folder.glob("*.safetensors")):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise LayoutError(f"{folder}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def control_folder(name: str, *, offline: bool = False) -> Path:
    """Where a control's model lies.

    Args:
        name: A name of the mini zoo, a directory, or a hub name.
        offline: Take a hub's model only where it is here already.

    Raises:
        LayoutError: none of the three.
        ZooError: this installation lacks that model of the mini zoo.
    """
    if name in ZOO_NAMES:
        return zoo_path(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _from_hub(name, offline)
    raise LayoutError(
        f"control {name!r}: no such directory. Give `mini-adapter`, `mini-controlnet`, "
        "a directory, or a hub name like `owner/model`"
    )


def _config(name: str) -> tuple[Any, dict[str, Any]]:
    """A control's class and config."""
    folder = control_folder(name)
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        family = _FAMILIES.get(str(config.get("_class_name")))
    except (OSError, ValueError, AttributeError) as error:
        raise LayoutError(
            f"control {name}: {folder} has no readable config.json"
        ) from error
    if family is None:
        raise LayoutError(
            f"control {name}: {config.get('_class_name')} is not supported; a control "
            f"is one of {', '.join(_FAMILIES)}"
        )
    if not any(folder.glob("*.safetensors")):
        raise LayoutError(f"control {name}: {folder} has no safetensors weights")
    return family, config


def _from_hub(name: str, offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = ["config.json", "diffusion_pytorch_model.safetensors"]
    try:
        return Path(
            snapshot_download(name, allow_patterns=patterns, local_files_only=offline)
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise LayoutError(
            f"control {name!r}: no such directory, and not available from the hub "
            f"({reason})"
        ) from error
