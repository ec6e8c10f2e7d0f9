"""Layouts as JSON files, and as the record that a picture carries.

Every key is checked, so that a misspelt one is told and not passed over. Files named in
a layout are looked for beside it. `deploy/docs/layouts.md` describes the format.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from mos_model.errors import LayoutError
from mos_model.layouts.layout import Control, Layout, Region
from mos_model.layouts.shapes import (
    Mask,
    Polygon,
    Shape,
    open_picture,
    picture_digest,
)
from mos_runtime.files import read_whole

_MAX_LAYOUT_BYTES: Final = 2**20

Size = tuple[int, int]
"""Width and height in pixels."""


def read_layout(path: Path, *, size: Size) -> Layout:
    """A layout from its file.

    Args:
        path: The JSON file.
        size: Of the picture where the file gives none.

    Raises:
        StorageError: the file is missing or too large.
        LayoutError: it is not a layout, or a file named in it is missing.
    """
    content = read_whole(path, what="a layout", max_bytes=_MAX_LAYOUT_BYTES)
    try:
        entries = parsed_json(content)
        return layout_from(entries, folder=path.parent, size=size)
    except LayoutError as error:
        raise LayoutError(f"{path}: {error}") from error


def parsed_json(content: bytes | str) -> Any:
    """What a JSON text holds.

    Raises:
        LayoutError: not JSON, naming line and column; a number that is none, as NaN;
            or a key that stands twice.
    """
    try:
        return json.loads(
            content, parse_constant=_refused_constant, object_pairs_hook=_each_once
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise LayoutError(f"not JSON at {where}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise LayoutError(f"not JSON ({error})") from error


def layout_from(entries: Any, *, folder: Path, size: Size) -> Layout:
    """A layout from what its JSON holds.

    Args:
        entries: The parsed JSON.
        folder: Where the files named in it are looked for.
        size: Of the picture where `entries` give none.

    Raises:
        LayoutError: it is not a layout, or a file named in it is missing.
    """
    keys = _checked(
        entries,
        "the layout",
        {
            "prompt": _text,
            "negative_prompt": _text,
            "width": _whole,
            "height": _whole,
            "regions": _list,
            "controls": _list,
        },
        required=("prompt",),
    )
    sides = {side for side in ("width", "height") if side in keys}
    if len(sides) == 1:
        raise LayoutError("give both width and height, or neither")
    keys = {"width": size[0], "height": size[1]} | keys
    keys["regions"] = tuple(
        _region(each, f"region {number}", folder)
        for number, each in enumerate(keys.get("regions", ()), 1)
    )
    keys["controls"] = tuple(
        _control(each, f"control {number}", folder)
        for number, each in enumerate(keys.get("controls", ()), 1)
    )
    return Layout(**keys)


def layout_record(
    layout: Layout, *, weights: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A layout as JSON that names no file: pictures in it stand by their digests.

    Args:
        layout: The layout.
        weights: The digest of each control's weights, by its model.
    """
    return {
        "prompt": layout.prompt,
        "negative_prompt": layout.negative_prompt,
        "width": layout.width,
        "height": layout.height,
        "regions": [_region_record(region) for region in layout.regions],
        "controls": [
            _control_record(control, (weights or {}).get(control.model))
            for control in layout.controls
        ],
    }


def _region(entries: Any, what: str, folder: Path) -> Region:
    keys = _checked(
        entries,
        what,
        {
            "prompt": _text,
            "negative_prompt": _text,
            "box": _numbers,
            "polygon": _list,
            "mask": _text,
            "weight": _number,
            "feather": _number,
            "z": _whole,
        },
        required=("prompt",),
    )
    given = [kind for kind in ("box", "polygon", "mask") if kind in keys]
    if len(given) != 1:
        raise LayoutError(f"{what}: give one of box, polygon and mask")
    if not keys["prompt"].strip():
        raise LayoutError(f"{what}: its prompt is empty; say what it shows")
    value = keys.pop(given[0])
    readers: dict[str, Callable[[Any], Shape]] = {
        "box": lambda box: _box(box, what),
        "polygon": lambda points: _polygon(points, what),
        "mask": lambda name: Mask.read(folder / name),
    }
    return Region(shape=readers[given[0]](value), **keys)


def _control(entries: Any, what: str, folder: Path) -> Control:
    keys = _checked(
        entries,
        what,
        {
            "model": _text,
            "image": _text,
            "weight": _number,
            "region_weights": _numbers,
            "until": _number,
        },
        required=("model", "image"),
    )
    keys["image"] = open_picture(folder / keys["image"], "a control's picture")
    return Control(**keys)


def _box(numbers: tuple[float, ...], what: str) -> Shape:
    if len(numbers) != 4:
        raise LayoutError(f"{what}: a box is four numbers, left, top, right, bottom")
    left, top, right, bottom = numbers
    return (left, top, right, bottom)


def _polygon(points: Any, what: str) -> Polygon:
    corners = [_numbers(point, f"{what}: a point of the polygon") for point in points]
    if any(len(corner) != 2 for corner in corners):
        raise LayoutError(f"{what}: a point of a polygon is two numbers")
    return Polygon(tuple((x, y) for x, y in corners))


def _checked(
    entries: Any,
    what: str,
    known: Mapping[str, Callable[[Any, str], Any]],
    *,
    required: tuple[str, ...],
) -> dict[str, Any]:
    """Every value read by its key's reader; unknown and missing keys are refused."""
    if not isinstance(entries, dict):
        raise LayoutError(f"{what}: an object was expected")
    for key in entries:
        if key not in known:
            raise LayoutError(
                f"{what}: {key!r} is not known; it has {', '.join(known)}"
            )
    for key in required:
        if key not in entries:
            raise LayoutError(f"{what}: {key!r} is missing")
    return {key: known[key](value, f"{what}: {key}") for key, value in entries.items()}


def _refused_constant(name: str) -> Any:
    raise LayoutError(f"{name} is no number of JSON; numbers are finite")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise LayoutError(f"{key!r} stands twice in one object")
    return dict(pairs)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise LayoutError(f"{what}: a text was expected, not {value!r}")
    return value


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LayoutError(f"{what}: a number was expected, not {value!r}")
    try:
        return float(value)
    except OverflowError as error:
        raise LayoutError(f"{what}: a number beyond all bounds") from error


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise LayoutError(f"{what}: a whole number was expected, not {value!r}")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise LayoutError(f"{what}: a list was expected, not {value!r}")
    return value


def _numbers(value: Any, what: str) -> tuple[float, ...]:
    return tuple(_number(each, what) for each in _list(value, what))


def _region_record(region: Region) -> dict[str, Any]:
    shape = region.shape
    if isinstance(shape, Mask):
        where: dict[str, Any] = {"mask_sha256": shape.digest}
    elif isinstance(shape, Polygon):
        where = {"polygon": [list(point) for point in shape.points]}
    else:
        where = {"box": list(shape)}
    record = {"prompt": region.prompt, **where, "weight": region.weight}
    record |= {"feather": region.feather, "z": region.z}
    if region.negative_prompt is not None:
        record["negative_prompt"] = region.negative_prompt
    return record


def _control_record(control: Control, weights: str | None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "model": _public_name(control.model),
        "image_sha256": picture_digest(control.image),
        "weight": control.weight,
        "until": control.until,
    }
    if control.region_weights is not None:
        record["region_weights"] = list(control.region_weights)
    if weights is not None:
        record["weights_sha256"] = weights
    return record


def _public_name(model: str) -> str:
    """A hub's name whole, of a directory the last part alone."""
    path = Path(model).expanduser()
    hub = model.count("/") == 1 and not model.startswith((".", "/", "~"))
    return model if hub and not path.exists() else path.name
