"""Aspect-ratio buckets: pictures keep their shape, a batch has one size.

As NovelAI published them for Stable Diffusion (2022), and the usual trainers have them
since: every bucket covers at most the area that the base works at, and both sides are
multiples of what VAE and UNet divide by.
"""

import math
from dataclasses import dataclass

Size = tuple[int, int]
"""Width and height in pixels, as Pillow has them."""


def bucket_sizes(side: int, unit: int) -> tuple[Size, ...]:
    """Every bucket of a base, by width; none is longer than twice the square's side.

    Args:
        side: Pixels of the square the base works at.
        unit: Pixels that both sides are multiples of.
    """
    found = {(side, side)}
    for width in range(-(-side // 2 // unit) * unit, side, unit):
        height = min(side * side // width, 2 * side) // unit * unit
        found |= {(width, height), (height, width)}
    return tuple(sorted(found))


def bucket_for(size: Size, buckets: tuple[Size, ...]) -> Size:
    """The bucket of the nearest shape (log aspect ratio) that a picture covers.

    A picture is never enlarged where any bucket fits in it; where none does, only its
    shape counts.
    """
    covered = [b for b in buckets if b[0] <= size[0] and b[1] <= size[1]]
    wanted = math.log(size[0] / size[1])

    def distance(bucket: Size) -> tuple[float, int]:
        away = abs(math.log(bucket[0] / bucket[1]) - wanted)
        return round(away, 6), -bucket[0] * bucket[1]

    return min(covered or buckets, key=distance)


@dataclass(frozen=True)
class Crop:
    """What a variant shows of its picture."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom in the picture's pixels; of the bucket's shape."""

    size: Size
    """The bucket."""

    mirrored: bool = False

    def time_ids(self, picture: Size) -> tuple[int, int, int, int, int, int]:
        """SDXL's original height and width, top and left of the crop, target size.

        The crop counts in pixels of the resized picture, mirrored if the variant is
        (Podell et al., arXiv:2307.01952, section 2.2).
        """
        left, top, right, _ = self.box
        if self.mirrored:
            left = picture[0] - right
        scale = self.size[0] / (self.box[2] - self.box[0])
        corner = round(top * scale), round(left * scale)
        return (picture[1], picture[0], *corner, self.size[1], self.size[0])


def crop_of(
    picture: Size,
    bucket: Size,
    *,
    lost: float = 0.0,
    across: float = 0.5,
    down: float = 0.5,
    mirrored: bool = False,
) -> Crop:
    """The largest part of the bucket's shape, less a share of its sides.

    Args:
        picture: Width and height.
        bucket: Width and height.
        lost: Share of both sides that the crop loses.
        across: Where it lies in the room that is left, 0 left to 1 right.
        down: 0 top to 1 bottom.
        mirrored: Whether the variant is mirrored.
    """
    width = min(picture[0], picture[1] * bucket[0] / bucket[1]) * (1 - lost)
    height = min(picture[1], picture[0] * bucket[1] / bucket[0]) * (1 - lost)
    left = (picture[0] - width) * across
    top = (picture[1] - height) * down
    return Crop((left, top, left + width, top + height), bucket, mirrored)
