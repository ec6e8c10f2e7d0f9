"""Layout files changed at random are read, or refused as layouts; nothing else."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from mos_model.errors import LayoutError
from mos_model.sampling import Layout, Region, layout_preview, read_layout

FILES: Final = 300
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 1, 0.5, 1e308, -1e308, 10**400, 2**63, 5e-324),
    *("", "x", "\x00", "/", "..", "a" * 5000, "\ud800", "mask.png/x", "."),
    *([], [[]], {}, [0] * 4, [1, 1, 0, 0], [0, 0, 1e-12, 1], {"a": 1}, [None]),
)
WHOLE: Final = {
    "prompt": "a dog",
    "negative_prompt": "night",
    "width": 32,
    "height": 16,
    "regions": [
        {"prompt": "a", "box": [0, 0, 0.5, 1], "weight": 2, "feather": 0.1, "z": 1},
        {"prompt": "b", "polygon": [[0.5, 0], [1, 0], [1, 1]]},
        {"prompt": "c", "mask": "mask.png", "negative_prompt": "snow"},
    ],
    "controls": [
        {
            "model": "m",
            "image": "mask.png",
            "weight": 0.8,
            "region_weights": [1, 0, 0.5],
            "until": 0.5,
        }
    ],
}


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every way down into a value of JSON."""
    if above:
        yield above
    keys: Any = value if isinstance(value, dict) else ()
    for key in range(len(value)) if isinstance(value, list) else keys:
        yield from places(value[key], (*above, key))


def changed(chance: random.Random) -> Any:
    """The whole layout with up to three values put elsewhere, left out or renamed."""
    entries = json.loads(json.dumps(WHOLE))
    for _ in range(chance.choice((1, 1, 2, 3))):
        found = list(places(entries))
        if not found:
            break
        *above, last = chance.choice(found)
        owner = entries
        for key in above:
            owner = owner[key]
        how = chance.random()
        if how < 0.2:
            del owner[last]
        elif how < 0.3 and isinstance(owner, dict):
            owner[f"{last}s"] = owner.pop(last)
        else:
            owner[last] = json.loads(json.dumps(chance.choice(VALUES)))
    return entries


def test_changed_layouts_are_read_and_previewed_or_refused(tmp_path: Path) -> None:
    Image.new("L", (32, 16), 255).save(tmp_path / "mask.png")
    chance = random.Random("layouts")
    path = tmp_path / "layout.json"
    outcomes = set()
    for _ in range(FILES):
        path.write_text(json.dumps(changed(chance)))
        try:
            layout_preview(read_layout(path, size=(32, 16)))
        except LayoutError:
            outcomes.add("refused")
        else:
            outcomes.add("read")
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("edge", [1e-12, 0.001])
def test_tiny_regions_have_a_preview(edge: float) -> None:
    boxes = ((0.0, 0.0, edge, 1.0), (0.5, 0.0, 1.0, edge))
    regions = tuple(Region("a", box) for box in boxes)
    layout_preview(Layout("", 32, 16, regions=regions))


def test_preview_of_a_long_layout_stays_of_a_size_to_look_at() -> None:
    assert layout_preview(Layout("", 8000, 8)).width == 8000
    assert layout_preview(Layout("", 192, 64)).width == 1536
