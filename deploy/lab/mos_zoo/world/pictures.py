"""Pictures between pixels, tensors and grids to look at."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from mos_runtime.files import write_atomically

_LINE: int = 11
_LETTER: int = 6


def to_tensor(
    pixels: UInt8[np.ndarray, "n h w 3"], device: torch.device | None = None
) -> Float[Tensor, "n 3 h w"]:
    """Bytes to -1..1, channels last in memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)).to(device or "cpu")
    return tensor.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def to_pixels(tensor: Float[Tensor, "n 3 h w"]) -> UInt8[np.ndarray, "n h w 3"]:
    """-1..1 to bytes."""
    scaled = tensor.detach().cpu().float().clamp(-1, 1).add(1).mul(127.5).round()
    pixels: UInt8[np.ndarray, "n h w 3"] = (
        scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    )
    return pixels


def save_grid(
    path: Path,
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]],
    *,
    columns: int,
    labels: Sequence[str] = (),
    zoom: int = 2,
) -> None:
    """A PNG of pictures of one size in rows, labels under them.

    Raises:
        StorageError: it cannot be written.
    """
    height, width = (side * zoom for side in pictures[0].shape[:2])
    text = 3 * _LINE if labels else 0
    rows = -(-len(pictures) // columns)
    grid = Image.new(
        "RGB", (columns * (width + 4), rows * (height + text + 4)), "white"
    )
    draw = ImageDraw.Draw(grid)
    for i, picture in enumerate(pictures):
        x, y = i % columns * (width + 4), i // columns * (height + text + 4)
        large = Image.fromarray(picture).resize(
            (width, height), Image.Resampling.NEAREST
        )
        grid.paste(large, (x, y))
        if i < len(labels):
            per_line = width // _LETTER
            for line in range(3):
                part = labels[i][line * per_line : (line + 1) * per_line]
                draw.text((x, y + height + line * _LINE), part, fill="black")
    file = io.BytesIO()
    grid.save(file, "PNG")
    write_atomically(path, file.getvalue())
