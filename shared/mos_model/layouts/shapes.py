"""The shapes that regions have, and how much of each pixel they cover."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFilter

from mos_model.errors import DataError, LayoutError
from mos_model.images import decode_picture
from mos_model.masks import mask_of

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as fractions of the picture."""

Point = tuple[float, float]
"""From the left and from the top, as fractions of the picture."""


@dataclass(frozen=True)
class Polygon:
    """Three corners or more, in order around it.

    Where its edges cross, what lies inside an even number of times is outside.
    """

    points: tuple[Point, ...]


@dataclass(frozen=True, eq=False)
class Mask:
    """A picture of the size of the whole: white is inside, greys are soft edges.

    Files with transparency, 16 bits or labels are read as `masks` says.
    """

    image: Image.Image
    """Of mode L."""

    @staticmethod
    def read(path: Path) -> "Mask":
        """Raises LayoutError: missing, or not a mask."""
        try:
            inside = mask_of(open_picture(path, "a mask"))
        except DataError as error:
            raise LayoutError(f"{path}: {error}") from error
        return Mask(Image.fromarray(np.uint8(np.round(255 * inside))))

    @property
    def digest(self) -> str:
        """SHA-256 of the pixels; names the mask where its file must not be named."""
        return picture_digest(self.image)


Shape = Box | Polygon | Mask


def check_shape(shape: Shape, whose: str) -> None:
    """Refuse shapes that leave the picture or hold nothing of it.

    Raises:
        LayoutError: naming `whose` shape it is.
    """
    if isinstance(shape, Mask):
        if shape.image.getextrema()[1] == 0:
            raise LayoutError(f"{whose}: its mask is black all over; white is inside")
        return
    if isinstance(shape, Polygon):
        _check_inside([edge for point in shape.points for edge in point], whose, shape)
        if len(shape.points) < 3:
            raise LayoutError(f"{whose}: a polygon has three points or more")
        if _on_a_line(shape.points):
            raise LayoutError(f"{whose}: its polygon is empty; all points on a line")
        return
    left, top, right, bottom = shape
    _check_inside(list(shape), whose, shape)
    if left > right or top > bottom:
        first, last = (min(left, right), min(top, bottom)), (max(left, right),)
        turned = (*first, *last, max(top, bottom))
        raise LayoutError(
            f"{whose}: box {_numbers(shape)} has its edges in another order; left,top,"
            f"right,bottom is {_numbers(turned)}"
        )
    if left == right or top == bottom:
        raise LayoutError(f"{whose}: box {_numbers(shape)} is empty")


def bounds(shape: Shape) -> Box:
    """The smallest box around a shape."""
    if isinstance(shape, Mask):
        found = shape.image.getbbox()
        assert found is not None, "a mask is not black all over"
        width, height = shape.image.size
        left, top, right, bottom = found
        return left / width, top / height, right / width, bottom / height
    if isinstance(shape, Polygon):
        across, down = zip(*shape.points, strict=True)
        return min(across), min(down), max(across), max(down)
    return shape


def coverage(
    shape: Shape, width: int, height: int, *, feather: float = 0.0
) -> Float[np.ndarray, "height width"]:
    """How much of each pixel a shape covers, 0 to 1, float32.

    A pixel belongs to a box or a polygon if its centre does.

    Args:
        shape: The shape.
        width: Pixels across.
        height: Pixels down.
        feather: Standard deviation of the blur that softens the shape's edge, as a
            fraction of the picture's shorter side. Edges along the picture's own
            border stay hard.

    Raises:
        LayoutError: a mask of another size.
    """
    if isinstance(shape, Mask):
        if shape.image.size != (width, height):
            own = "x".join(map(str, shape.image.size))
            raise LayoutError(
                f"a mask of {own} pixels for a picture of {width}x{height}; they must "
                "be of one size"
            )
        image = shape.image
    else:
        image = _drawn(shape, width, height)
    if feather > 0:
        image = image.filter(ImageFilter.GaussianBlur(feather * min(width, height)))
    return np.asarray(image, dtype=np.float32) / 255


def open_picture(path: Path, what: str) -> Image.Image:
    """A picture from a file, turned as its EXIF says.

    Raises:
        LayoutError: missing, or no picture.
    """
    if not path.exists():
        raise LayoutError(f"{path}: no such file; {what} was expected there")
    try:
        return decode_picture(path)
    except DataError as error:
        raise LayoutError(f"{path}: {error}; {what} was expected") from error


def picture_digest(image: Image.Image) -> str:
    """SHA-256 over mode, size and pixels, 64 hexadecimal digits."""
    head = f"{image.mode} {image.width} {image.height}\n".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()


def _drawn(shape: Box | Polygon, width: int, height: int) -> Image.Image:
    across = (np.arange(width) + 0.5) / width
    down = (np.arange(height) + 0.5) / height
    if isinstance(shape, Polygon):
        image = Image.new("L", (width, height))
        corners = [(x * width - 0.5, y * height - 0.5) for x, y in shape.points]
        ImageDraw.Draw(image).polygon(corners, fill=255)
        return image
    left, top, right, bottom = shape
    rows = (down >= top) & (down < bottom)
    columns = (across >= left) & (across < right)
    if not rows.any():
        rows[int(np.abs(down - (top + bottom) / 2).argmin())] = True
    if not columns.any():
        columns[int(np.abs(across - (left + right) / 2).argmin())] = True
    return Image.fromarray(np.uint8(255) * (rows[:, None] & columns[None]))


def _check_inside(edges: list[float], whose: str, shape: Box | Polygon) -> None:
    if not all(0 <= edge <= 1 for edge in edges):
        kind = "polygon" if isinstance(shape, Polygon) else f"box {_numbers(shape)}"
        way = ""
        if any(edge > 1 and edge.is_integer() for edge in edges):
            way = "; divide pixels by width and height, as 128/512 = 0.25"
        raise LayoutError(
            f"{whose}: {kind} leaves the picture; edges are fractions from 0 to 1{way}"
        )


def _numbers(box: Box) -> str:
    return ",".join(f"{edge:g}" for edge in box)


def _on_a_line(points: tuple[Point, ...]) -> bool:
    """Whether all points lie on the line through the first and the one furthest off."""
    first = np.array(points[0])
    rest = np.array(points) - first
    along = rest[np.abs(rest).sum(1).argmax()]
    across = rest[:, 0] * along[1] - rest[:, 1] * along[0]
    return bool(np.abs(across).max() <= 1e-9)
