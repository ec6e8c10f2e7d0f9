"""Which cells belong to whom."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mos_model.errors import LayoutError
from mos_model.sampling import Layout, Mask, Polygon, Region
from mos_model.sampling.shares import Shares

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
MIDDLE = (0.25, 0.0, 0.75, 1.0)
WIDTH, HEIGHT = 64, 32


def shares(*regions: Region) -> torch.Tensor:
    """[parts, rows, columns] at 4x8 cells."""
    layout = Layout("a dog", WIDTH, HEIGHT, regions=regions)
    return Shares(layout, (4, 8), levels=2).at(32).view(-1, 4, 8)


@pytest.mark.parametrize(
    "regions",
    [
        (Region("a", LEFT), Region("b", MIDDLE, weight=3.0)),
        (Region("a", LEFT, feather=0.2), Region("b", MIDDLE, z=1)),
        (
            Region("a", Polygon(((0.0, 0.0), (1.0, 0.2), (0.3, 1.0)))),
            Region("b", RIGHT),
        ),
        tuple(Region("a", (i / 8, 0.0, (i + 1) / 8, 1.0), z=i) for i in range(8)),
    ],
)
def test_every_cell_is_shared_out_wholly(regions: tuple[Region, ...]) -> None:
    found = shares(*regions)
    assert found.min() >= 0
    torch.testing.assert_close(found.sum(0), torch.ones(4, 8))


def test_every_region_keeps_one_cell_however_small() -> None:
    tiny = Region("a", (0.51, 0.51, 0.52, 0.52))
    layout = Layout("a dog", WIDTH, HEIGHT, regions=(tiny,))
    levels = Shares(layout, (4, 8), levels=3)
    assert [int(levels.at(n)[1].sum()) for n in (32, 8, 2)] == [1, 1, 1]


def test_overlap_is_averaged_by_weight() -> None:
    found = shares(Region("a", LEFT), Region("b", MIDDLE, weight=3.0))
    assert found[1:, 0, 2].tolist() == [0.25, 0.75]
    assert found[1:, 0, 0].tolist() == [1.0, 0.0]


def test_higher_z_hides_lower() -> None:
    found = shares(Region("a", MIDDLE, z=1), Region("b", LEFT))
    assert found[:, 0].argmax(0).tolist() == [2, 2, 1, 1, 1, 1, 0, 0]
    assert found.max() == 1


def test_feather_fades_into_the_context_but_not_at_the_border() -> None:
    found = shares(Region("a", LEFT, feather=0.2))[1, 1]
    assert found[0] > 0.95
    assert all(found[i] >= found[i + 1] for i in range(7))
    assert 0 < float(found[4]) < 0.5 < float(found[3]) < 1


def test_greys_of_a_mask_are_shares() -> None:
    mask = Image.new("L", (WIDTH, HEIGHT), 51)
    assert float(shares(Region("a", Mask(mask)))[1].max()) == pytest.approx(0.2)


def test_mask_and_box_of_the_same_pixels_cover_the_same_cells() -> None:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[:, : WIDTH // 2] = 255
    by_mask = shares(Region("a", Mask(Image.fromarray(pixels))))
    assert torch.equal(by_mask, shares(Region("a", LEFT)))


def test_masks_are_read_from_alpha_depth_and_labels(tmp_path: Path) -> None:
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[:, : WIDTH // 2] = True
    painted = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    painted[inside] = (0, 0, 0, 255)
    kinds: dict[str, np.ndarray] = {
        "black on nothing": painted,
        "16 bits": inside * np.uint16(65535),
        "label": inside * np.uint8(1),
    }
    for name, pixels in kinds.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        found = shares(Region("a", Mask.read(tmp_path / f"{name}.png")))
        assert torch.equal(found, shares(Region("a", LEFT))), name


def test_labels_of_several_things_are_no_mask(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.putpixel((0, 0), 2)
    image.putpixel((1, 1), 0)
    image.save(tmp_path / "labels.png")
    with pytest.raises(LayoutError, match=r"labels\.png: not a mask .*several things"):
        Mask.read(tmp_path / "labels.png")


@pytest.mark.parametrize(
    ("regions", "reason"),
    [
        ((Region("a", LEFT), Region("b", LEFT)), "'a' and 'b' cover the same"),
        (
            (Region("a", LEFT), Region("b", (0.0, 0.0, 1.0, 1.0), z=1)),
            "'a': others of higher",
        ),
        ((Region("a", Mask(Image.new("L", (8, 8), 255))),), "mask of 8x8 pixels for"),
        (
            (
                Region("a", (0.01, 0.01, 0.05, 0.2)),
                Region("b", (0.06, 0.01, 0.1, 0.2)),
            ),
            "'a' and 'b' cover the same cells of the 8x4 latents",
        ),
        (
            (Region("a", (0.0, 0.0, 0.1, 0.2)), Region("b", (0.0, 0.0, 0.1, 0.1), z=1)),
            "'a': others of higher z hide it wholly",
        ),
    ],
)
def test_regions_that_do_not_go_together_are_refused(
    regions: tuple[Region, ...], reason: str
) -> None:
    with pytest.raises(LayoutError, match=reason):
        shares(*regions)


def test_polygon_that_crosses_itself_is_filled_by_the_even_odd_rule() -> None:
    bow = Polygon(((0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)))
    found = shares(Region("a", bow))[1]
    assert found[:, [0, -1]].all(), "both wings"
    assert not found[[0, -1], 3:5].any(), "above and below the crossing"
