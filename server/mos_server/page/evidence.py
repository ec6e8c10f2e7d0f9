"""What the gate left of a bundle that it held, as `mos_server.fusion.gate` wrote it."""

import json
import re
from pathlib import Path
from typing import Any, Final

from mos_runtime.files import read_whole
from mos_server.errors import RegistryError
from mos_server.registry.home import CentreHome

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_PICTURE: Final = re.compile(r"([0-9]{2})-(base|without|with)\.png")
_MOST_BYTES: Final = 16 * 2**20


def has_evidence(home: CentreHome, digest: str) -> bool:
    """Whether the gate has drawn anything of a bundle."""
    return _figures(home, digest).is_file()


def read_evidence(home: CentreHome, digest: str) -> dict[str, Any]:
    """Figures and pictures of one bundle.

    Args:
        home: The centre's.
        digest: The bundle's.

    Returns:
        `beyond`, the figures over their limits in words, and `rows`: a prompt, how far
        it moved with the bundle and without, and the names of its pictures.

    Raises:
        RegistryError: there is nothing of it.
    """
    if not _DIGEST.fullmatch(digest) or not has_evidence(home, digest):
        raise RegistryError(f"bundle {digest[:12]}: the gate has drawn nothing of it")
    figures = _figures(home, digest)
    content = read_whole(figures, what="the gate's figures", max_bytes=_MOST_BYTES)
    try:
        record = json.loads(content)
        moved, rest = record["found"]["words"], record["rest"]["words"]
        prompts = record.get("prompts", [])
        beyond = [str(one) for one in record["beyond"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RegistryError(f"{figures}: not the gate's figures; delete it") from error
    rows: dict[int, dict[str, Any]] = {}
    for path in sorted(figures.parent.iterdir()):
        if found := _PICTURE.fullmatch(path.name):
            number, side = int(found[1]), found[2]
            prompt = prompts[number] if number < len(prompts) else ""
            row = rows.setdefault(number, {"prompt": prompt, "pictures": {}})
            row["pictures"][side] = path.name
            row |= {"moved": moved.get(prompt), "moved_without": rest.get(prompt)}
    return {"beyond": beyond, "rows": list(rows.values())}


def picture_path(home: CentreHome, digest: str, name: str) -> Path:
    """Where one of its pictures lies.

    Raises:
        RegistryError: there is none of that name.
    """
    path = home.quarantine / digest / name
    if not (_DIGEST.fullmatch(digest) and _PICTURE.fullmatch(name) and path.is_file()):
        raise RegistryError("no such picture (any more)")
    return path


def _figures(home: CentreHome, digest: str) -> Path:
    return home.quarantine / digest / "figures.json"
