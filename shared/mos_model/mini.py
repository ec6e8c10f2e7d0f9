"""Where the mini zoo's models lie."""

from pathlib import Path
from typing import Final

from mos_model.errors import ZooError

ZOO_NAMES: Final = ("mini", "mini-clip", "mini-adapter", "mini-controlnet")
"""The base, the metrics' CLIP, the edge adapter and the ControlNet."""

_WEIGHTS: Final = Path(__file__).parent / "weights"


def weights_folder() -> Path:
    """Where this installation keeps the zoo's models."""
    return _WEIGHTS


def zoo_path(name: str) -> Path:
    """The directory of one of the zoo's models.

    Args:
        name: One of `ZOO_NAMES`.

    Raises:
        ZooError: there is no such model, or this installation came without it.
    """
    if name not in ZOO_NAMES:
        raise ZooError(
            f"{name!r} is not in the mini zoo; it has {', '.join(ZOO_NAMES)}"
        )
    folder = _WEIGHTS / name
    if not folder.is_dir():
        raise ZooError(
            f"{folder}: the zoo's {name!r} is missing; install "
            "the package again, or pass a model of your own"
        )
    return folder
