"""Layouts from the command line's shorthand and from files."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mos_model.errors import LayoutError
from mos_model.layouts.layout_file import layout_record
from mos_model.sampling import Control, Layout, Mask, Polygon, Region, read_layout
from mos_runtime.errors import StorageError

BOX = [0, 0, 0.5, 1]
REGION = {"prompt": "<rex>", "box": BOX}
CONTROL = {"model": "m", "image": "edges.png"}
WHOLE = {
    "prompt": "a dog",
    "negative_prompt": "night",
    "width": 32,
    "height": 16,
    "regions": [
        REGION | {"negative_prompt": "snow", "weight": 2, "feather": 0.1, "z": 1},
        {"prompt": "a cat", "polygon": [[0.5, 0], [1, 0], [1, 1]]},
        {"prompt": "a car", "mask": "mask.png"},
    ],
    "controls": [
        {
            "model": "models/mini-adapter",
            "image": "edges.png",
            "weight": 0.8,
            "region_weights": [1, 0, 0.5],
            "until": 0.5,
        }
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("mask.png", "edges.png"):
        Image.new("L", (32, 16), 255).save(tmp_path / name)
    return tmp_path


def read(folder: Path, entries: Any) -> Layout:
    path = folder / "layout.json"
    path.write_text(json.dumps(entries))
    return read_layout(path, size=(64, 48))


def test_everything_in_a_layout_file_is_kept(folder: Path) -> None:
    layout = read(folder, WHOLE)
    assert (layout.width, layout.height, layout.negative_prompt) == (32, 16, "night")
    first, second, third = layout.regions
    box = (0.0, 0.0, 0.5, 1.0)
    assert first == Region("<rex>", box, "snow", weight=2.0, feather=0.1, z=1)
    assert second.shape == Polygon(((0.5, 0.0), (1.0, 0.0), (1.0, 1.0)))
    assert second.box == (0.5, 0.0, 1.0, 1.0)
    assert isinstance(third.shape, Mask)
    (control,) = layout.controls
    assert (control.weight, control.region_weights) == (0.8, (1, 0, 0.5))
    assert control.until == 0.5


def test_file_without_a_size_takes_the_one_given(folder: Path) -> None:
    layout = read(folder, {"prompt": "a dog"})
    assert (layout.width, layout.height) == (64, 48)


def test_record_names_no_file_and_no_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "models" / "mini-adapter").mkdir(parents=True)
    text = json.dumps(layout_record(read(folder, WHOLE)))
    assert "mask.png" not in text
    assert "edges.png" not in text
    assert "models" not in text
    assert str(folder) not in text


def test_record_keeps_a_hubs_name_whole(folder: Path) -> None:
    control = CONTROL | {"model": "owner/net"}
    record = layout_record(read(folder, {"prompt": "", "controls": [control]}))
    assert record["controls"][0]["model"] == "owner/net"


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([], "an object was expected"),
        ({}, "'prompt' is missing"),
        ({"prompt": 3}, "prompt: a text was expected"),
        ({"prompt": "", "promt": ""}, "'promt' is not known; it has prompt"),
        ({"prompt": "", "width": 64}, "both width and height"),
        ({"prompt": "", "width": 6.5, "height": 8}, "width: a whole number"),
        ({"prompt": "", "regions": [{"prompt": "a"}]}, "one of box, polygon and mask"),
        ({"prompt": "", "regions": [REGION | {"mask": "a"}]}, "region 1: give one of"),
        ({"prompt": "", "regions": [REGION | {"box": [0, 0, 1]}]}, "four numbers"),
        ({"prompt": "", "regions": [REGION | {"box": [0, 0, 2, 1]}]}, "leaves the pic"),
        ({"prompt": "", "regions": [REGION | {"box": [1, 0, 1, 1]}]}, "is empty"),
        ({"prompt": "", "regions": [REGION | {"weight": 0}]}, "weight 0.0; above 0"),
        ({"prompt": "", "regions": [REGION | {"feather": 2}]}, "feather 2.0; a frac"),
        ({"prompt": "", "regions": [{"box": BOX}]}, "region 1: 'prompt' is missing"),
        ({"prompt": "", "regions": [REGION | {"prompt": " "}]}, "prompt is empty"),
        ({"prompt": "", "regions": [REGION | {"weight": 10**400}]}, "beyond all bou"),
        ({"prompt": "", "width": 0, "height": 8}, "0x8: both sides are at least 1"),
        ({"prompt": "", "width": -8, "height": 8}, "both sides are at least 1 pixel"),
        ({"prompt": "", "width": 10**6, "height": 10**6}, "more than 67108864 pixels"),
        (
            {"prompt": "", "regions": [{"prompt": "a", "polygon": [[0, 0], [1, 1]]}]},
            "three points",
        ),
        (
            {"prompt": "", "regions": [{"prompt": "a", "mask": "none.png"}]},
            "none.png: no such file; a mask",
        ),
        (
            {"prompt": "", "controls": [{"model": "m", "image": "none.png"}]},
            "none.png: no such file; a control's picture",
        ),
        (
            {"prompt": "", "controls": [CONTROL | {"weight": -1}]},
            "control m: weight -1.0; 0 or more",
        ),
        (
            {"prompt": "", "controls": [CONTROL | {"region_weights": [1, -0.5]}]},
            "control m: weight -0.5; 0 or more",
        ),
        ({"prompt": "", "controls": [CONTROL | {"until": 0}]}, "until 0.0; a share"),
        (
            {"prompt": "", "controls": [{"model": "m", "image": "layout.json"}]},
            r"not a readable picture \(JSON text.*\); a control",
        ),
    ],
)
def test_file_that_is_no_layout_is_refused_with_the_reason(
    folder: Path, entries: Any, reason: str
) -> None:
    with pytest.raises(LayoutError, match=reason):
        read(folder, entries)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file; a layout"):
        read_layout(tmp_path / "none.json", size=(8, 8))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON at line 1, column 2: Expecting property name"),
        ('{"prompt": "a",\n "regions": [}', "not JSON at line 2, column 14: Expecting"),
        ('{"prompt": "a"} x', "line 1, column 17: Extra data"),
        ("[" * 100_000, "not JSON"),
        ('{"prompt": "a", "prompt": "b"}', "'prompt' stands twice in one object"),
        ('{"prompt": "", "regions": [{"box": [NaN, 0, 1, 1]}]}', "NaN is no number"),
        ('{"prompt": "", "width": Infinity, "height": 8}', "Infinity is no number"),
        (f'{{"prompt": "", "width": {"9" * 5000}}}', "not JSON"),
        (
            '{"prompt": "", "regions": [{"prompt": "a", "box": [0, 0, 1e999, 1]}]}',
            "leaves the picture",
        ),
    ],
)
def test_broken_json_is_told_with_its_place(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(LayoutError, match=rf"a\.json: .*{reason}"):
        read_layout(path, size=(8, 8))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0,0,1.5,1: <rex>", "leaves the picture"),
        ("0.5,0,0.5,1: <rex>", "box 0.5,0,0.5,1 is empty"),
        ("0.5,0,0.2,1: <rex>", "left,top,right,bottom is 0.2,0,0.5,1"),
        ("0,0,256,512: <rex>", "divide pixels by width and height, as 128/512 = 0.25"),
        ("0,0 1,1 0.5,0.5 0.2,0.2: <rex>", "all points on a line"),
        ("0,0 1,0 2,1: <rex>", "polygon leaves the picture"),
        ("0,0 1,0 0.5,0: <rex>", "polygon is empty"),
        ("0,0,1: <rex>", "write `x0,y0,x1,y1: prompt`"),
        ("a,0,1,1: <rex>", "write `x0,y0,x1,y1: prompt`"),
        ("nan,0,1,1: <rex>", "leaves the picture"),
        ("0,0,1,1", "write `x0,y0,x1,y1: prompt`"),
        ("0,0,1,1:  ", "write `x0,y0,x1,y1: prompt`"),
        ("0,0,1,1;heavy=2: <rex>", "after the shape go"),
        ("0,0,1,1;weight=inf: <rex>", "weight inf; above 0"),
        ("none.png: <rex>", "no such file; a mask"),
    ],
)
def test_region_that_is_none_is_refused(text: str, reason: str) -> None:
    with pytest.raises(LayoutError, match=reason):
        Region.parse(text)


def test_black_mask_is_refused(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "mask.png")
    with pytest.raises(LayoutError, match="black all over"):
        Region.parse(f"{tmp_path / 'mask.png'}: <rex>")


def test_shorthand_gives_shape_extras_and_prompt() -> None:
    region = Region.parse("0, 0.25, 0.5,1 : <rex> : in the snow")
    assert region == Region("<rex> : in the snow", (0.0, 0.25, 0.5, 1.0))
    region = Region.parse("0,0 1,0 1,1; z=2;weight=0.5; not=night, snow: <rex>")
    shape = Polygon(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)))
    assert region == Region("<rex>", shape, "night, snow", weight=0.5, z=2)


def test_control_shorthand_gives_weights(folder: Path) -> None:
    image = folder / "edges.png"
    assert Control.parse(f"mini-adapter:{image}").weight == 1
    control = Control.parse(f"owner/net:{image}:0.5,1,0")
    assert (control.model, control.weight) == ("owner/net", 0.5)
    assert control.region_weights == (1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mini-adapter", "write `MODEL:IMAGE`"),
        ("mini-adapter:a.png:heavy", "write `MODEL:IMAGE`"),
        ("mini-adapter:none.png", "no such file; a control's picture"),
        ("mini-adapter:edges.png:-0.5", "mini-adapter: weight -0.5; 0 or more"),
        ("mini-adapter:edges.png:nan", "weight nan; 0 or more"),
        ("mini-adapter:edges.png:1,inf", "weight inf; 0 or more"),
    ],
)
def test_control_that_is_none_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(LayoutError, match=reason):
        Control.parse(text)
