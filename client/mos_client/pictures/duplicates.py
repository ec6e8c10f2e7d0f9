"""Pictures that are the same, or nearly so.

A picture that is there twice counts twice in every loss, and tuning learns it by heart.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float
from PIL import Image

from mos_client.pictures.notes import FileNote

_SIDE: Final = 16
_ALIKE: Final = 4 / 255
"""Mean difference of two grey thumbnails below which pictures count as alike: another
size or compression stays well under it, another scene is far above."""


def thumbnail(image: Image.Image) -> Float[np.ndarray, " values"]:
    """The picture at 16x16 pixels in grey, 0..1, whatever its shape."""
    small = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel() / 255


def near_duplicates(
    names: Sequence[str], images: Sequence[Image.Image]
) -> list[FileNote]:
    """A note on every picture that is nearly an earlier one."""
    notes: list[FileNote] = []
    thumbnails = [thumbnail(image) for image in images]
    for index, name in enumerate(names):
        for earlier in range(index):
            apart = np.abs(thumbnails[index] - thumbnails[earlier]).mean()
            if apart < _ALIKE:
                alike = f"looks like {names[earlier]}; keep the better one"
                notes.append(FileNote(name, alike))
                break
    return notes
