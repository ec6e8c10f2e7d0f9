"""Little pictures to tune on."""

import random
from pathlib import Path

from PIL import Image, ImageDraw


def save_pictures(folder: Path, *, count: int = 3, side: int = 32) -> Path:
    """Write `count` PNG files of a coloured disc on various grounds."""
    chance = random.Random(7)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        ground = tuple(chance.randrange(256) for _ in range(3))
        image = Image.new("RGB", (side, side), ground)
        box = (side // 4, side // 4, 3 * side // 4, 3 * side // 4)
        ImageDraw.Draw(image).ellipse(box, fill=(60, 205, 190))
        image.save(folder / f"{index}.png")
    return folder
