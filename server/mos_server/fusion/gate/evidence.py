"""What the operator sees of a held bundle: figures, and pictures side by side.

FOLDER/
    figures.json        every figure with and without the bundle, the limits, and the
                        pictures' prompts in their order
    index.html          the same beside the pictures
    NN-base.png         the base alone
    NN-with.png         the release that is held
    NN-without.png      the release without the bundle
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Final

from PIL import Image

from mos_model.concepts.concept import FusedModel
from mos_runtime.files import private_folder, write_atomically
from mos_server.fusion.gate.behaviour import Behaviour
from mos_server.fusion.gate.canary import Canary
from mos_server.fusion.gate.limits import GateLimits

_MOST_PROMPTS: Final = 8
_SIDES: Final = ("base", "without", "with")
_HEAD: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Held by the gate'
    "</title><style>body{font:16px/1.5 sans-serif;margin:2rem}img{width:192px;"
    "image-rendering:pixelated}td,th{padding:.3rem .8rem;text-align:left}</style>"
)


@dataclass(frozen=True)
class Evidence:
    """Why one bundle is held."""

    bundle: str
    """Digest."""

    concept: str
    """Full name."""

    beyond: Sequence[str]
    """The figures that exceed their limits, in words, the worst first."""

    found: Behaviour
    """Of the release with it."""

    rest: Behaviour
    """Of the release without it."""

    limits: GateLimits

    others: Mapping[str, float]
    """Concept -> the excess of the release without that one."""


def write_evidence(
    folder: Path,
    evidence: Evidence,
    canary: Canary,
    model: FusedModel,
    without: FusedModel | None,
) -> None:
    """Write figures and pictures into `folder`.

    Args:
        folder: Made where it is missing.
        evidence: The figures.
        canary: Draws the pictures.
        model: The release that is held.
        without: The same without the bundle; None where it was the only one.

    Raises:
        StorageError: the disk is full, or the like.
    """
    private_folder(folder.parent, ours=False)
    private_folder(folder, ours=False)
    prompts = _worst(evidence.found)
    sides = [canary.pictures(one, prompts) for one in (None, without, model)]
    for side, pictures in zip(_SIDES, sides, strict=True):
        for number, picture in enumerate(pictures):
            write_atomically(folder / f"{number:02d}-{side}.png", _png(picture))
    record = {**asdict(evidence), "prompts": prompts}
    figures = json.dumps(record, indent=1, sort_keys=True)
    write_atomically(folder / "figures.json", figures.encode())
    write_atomically(folder / "index.html", _page(evidence, prompts).encode())


def _worst(found: Behaviour) -> list[str]:
    """Ordinary prompts that moved most, and the same classes in a whole phrase."""
    moved = sorted(found.words, key=lambda prompt: -found.words[prompt])
    return moved[:_MOST_PROMPTS]


def _page(evidence: Evidence, prompts: Sequence[str]) -> str:
    reasons = "".join(f"<li>{escape(one)}</li>" for one in evidence.beyond)
    heads = "".join(f"<th>{side}</th>" for side in ("", *_SIDES))
    rows = "".join(
        f"<tr><th>{escape(prompt)}<br>{evidence.found.words[prompt]:.3f}, without "
        f"{evidence.rest.words.get(prompt, 0.0):.3f}</th>"
        + "".join(f'<td><img src="{n:02d}-{s}.png" alt="{s}"></td>' for s in _SIDES)
        + "</tr>"
        for n, prompt in enumerate(prompts)
    )
    return (
        f"{_HEAD}<h1>{escape(evidence.concept)}</h1><p>Bundle {evidence.bundle}</p>"
        f"<ul>{reasons}</ul><table><tr>{heads}</tr>{rows}</table>"
    )


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
