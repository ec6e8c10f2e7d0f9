"""Drawing, sampling and the gallery, as a person does it in a browser."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.pages.browsing import cut_off
from tests.studio.conftest import Server, Visit

LEFT = ((0.05, 0.05), (0.45, 0.95))
RIGHT = ((0.55, 0.05), (0.95, 0.95))


def test_two_regions_become_a_picture_whose_layout_comes_back(page: Visit) -> None:
    own = page.page
    own.click("#tool-box")
    page.drag(*LEFT)
    own.keyboard.type("a photo of <re")
    own.keyboard.press("Enter")
    assert own.input_value("#region-prompt") == "a photo of <rex>"
    own.keyboard.press("Escape")
    own.click("#tool-box")
    page.drag(*RIGHT)
    own.click("[data-concept='south/miso']")
    assert own.input_value("#region-prompt") == "a photo of <miso>"
    own.fill("#prompt", "a photo on the beach")
    own.click("summary:has-text('Sampling')")
    own.fill("#set-steps", "30")
    own.click("#sample")
    own.wait_for_selector("#progress:not([hidden])")
    own.wait_for_selector("#paper img[src*='preview']", timeout=60_000)
    page.sampled()
    assert "30 steps" in own.inner_text("#shown-text")
    own.click("summary:has-text('Layouts and reference')")
    own.click("#new-layout")
    assert page.regions() == 0
    own.fill("#set-steps", "5")
    own.click("#gallery button >> nth=0")
    own.click("#use-layout")
    own.wait_for_selector("#regions .pick >> nth=1")
    assert own.input_value("#prompt") == "a photo on the beach"
    assert own.input_value("#set-steps") == "30"


def test_misspelt_name_is_marked_at_once_and_mended_by_a_click(page: Visit) -> None:
    own = page.page
    own.fill("#prompt", "a photo of <rexx>")
    assert own.get_attribute("#prompt", "aria-invalid") == "true"
    own.click("#sample")
    assert own.inner_text("#check") == "No concept is named <rexx>."
    own.click("text='Use <rex>'")
    assert own.input_value("#prompt") == "a photo of <rex>"
    assert own.get_attribute("#prompt", "aria-invalid") == "false"


def test_regions_move_lock_hide_copy_and_undo(page: Visit) -> None:
    own = page.page
    own.click("#tool-box")
    page.drag(*LEFT)
    own.click("#tool-select")
    page.drag((0.25, 0.6), (0.5, 0.6))
    moved = box_of(own)
    assert moved[0] > 0.2
    own.click("[data-key^='lock']")
    page.drag((0.5, 0.6), (0.3, 0.6))
    assert box_of(own) == moved
    own.click("[data-key^='copy']")
    assert page.regions() == 2
    own.click("#undo")
    assert page.regions() == 1
    own.click("#redo")
    assert page.regions() == 2
    own.click("[data-key^='hide'] >> nth=0")
    assert own.locator("#paper .region").count() == 1
    own.keyboard.press("Control+z")
    assert own.locator("#paper .region").count() == 2


def test_boxes_snap_to_latent_cells(page: Visit) -> None:
    page.page.click("#tool-box")
    page.drag((0.11, 0.13), (0.47, 0.91))
    cell = page.page.evaluate("fetch('/api/studio').then(r => r.json())")
    for edge in box_of(page.page):
        cells = edge * cell["size"][0] / cell["cell"]
        assert cells == pytest.approx(round(cells))


def test_polygon_and_brushed_mask_are_sampled(page: Visit) -> None:
    own = page.page
    own.click("#tool-polygon")
    box = own.locator("#paper svg").bounding_box()
    for x, y in ((0.1, 0.1), (0.4, 0.2), (0.3, 0.9)):
        own.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    own.keyboard.press("Enter")
    own.click("[data-concept='north/rex']")
    own.keyboard.press("Escape")
    own.click("#paper svg", position={"x": 5, "y": 5})
    own.click("#tool-brush")
    page.drag((0.7, 0.3), (0.8, 0.7), (0.7, 0.7))
    own.fill("#region-prompt", "a cat")
    own.click("#tool-eraser")
    page.drag((0.7, 0.3), (0.72, 0.35))
    own.fill("#set-steps", "4") if own.is_visible("#set-steps") else None
    own.click("#sample")
    page.sampled()
    layout = picture_layout(own)
    assert "polygon" in layout["regions"][0]
    assert layout["regions"][1]["mask"].endswith(".png")


def test_saved_layout_opens_again(page: Visit) -> None:
    own = page.page
    own.click("#tool-box")
    page.drag(*LEFT)
    own.fill("#region-prompt", "a cat")
    own.click("summary:has-text('Layouts and reference')")
    own.fill("#layout-name", "beach")
    own.click("#save-layout")
    own.wait_for_selector("#saved option:has-text('beach')", state="attached")
    own.click("#new-layout")
    own.select_option("#saved", "beach")
    own.wait_for_selector("#regions .pick")
    assert page.regions() == 1


def test_two_pictures_are_compared_side_by_side(page: Visit) -> None:
    own = page.page
    own.fill("#prompt", "a cat")
    own.fill("#images", "2")
    own.click("#sample")
    page.sampled()
    own.click("#gallery button >> nth=0")
    own.click("#compare")
    own.click("#gallery button >> nth=1")
    own.wait_for_selector("#compare-dialog[open]")
    assert own.get_attribute("#compare-a", "src") != own.get_attribute(
        "#compare-b", "src"
    )


def test_scribble_goes_to_the_adapter(page: Visit) -> None:
    own = page.page
    own.fill("#prompt", "a cat")
    own.click("#tool-scribble")
    page.drag((0.2, 0.2), (0.8, 0.8))
    own.click("#sample")
    page.sampled()
    (control,) = picture_layout(own)["controls"]
    assert control["model"] == "mini-adapter"


def test_keyboard_alone_draws_samples_and_takes_a_layout_back(page: Visit) -> None:
    own, keys = page.page, page.page.keyboard
    until(own, "tool-box")
    keys.press("Enter")
    first = box_of(own)
    keys.press("ArrowRight")
    keys.press("Alt+ArrowLeft")
    keys.press("ArrowDown")
    left, top, right, _ = box_of(own)
    assert (left, top) > (first[0], first[1])
    assert right - left < first[2] - first[0]
    keys.press("Enter")
    assert own.evaluate("document.activeElement.id") == "region-prompt"
    keys.type("a photo of <mi")
    keys.press("ArrowDown")
    keys.press("Enter")
    keys.press("Control+Enter")
    page.sampled()
    until(own, "use-layout", back=True)
    keys.press("Enter")
    own.wait_for_selector("#live:has-text('on the canvas')", state="attached")
    assert page.regions() == 1


def test_touch_draws_a_region_on_a_phone(
    visit: Callable[..., Visit], server: Server
) -> None:
    page = visit(390, 844, has_touch=True, is_mobile=True).open(server.address)
    own = page.page
    own.tap("#tool-box")
    own.locator("#paper svg").scroll_into_view_if_needed()
    box = own.locator("#paper svg").bounding_box()
    session = own.context.new_cdp_session(own)
    for kind, x, y in (("Start", 0.1, 0.1), ("Move", 0.3, 0.5), ("Move", 0.5, 0.9)):
        point = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
        event = {"type": f"touch{kind}", "touchPoints": [point]}
        session.send("Input.dispatchTouchEvent", event)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert page.regions() == 1
    left, top, right, bottom = box_of(own)
    assert right - left > 0.3
    assert bottom - top > 0.6
    own.fill("#region-prompt", "a photo of <rex> on the beach in the evening sun")
    own.click("#sample")
    page.sampled()
    assert cut_off(own) == []


def until(own: Any, id_: str, *, back: bool = False) -> None:
    """Press Tab until the focus is there."""
    for _ in range(120):
        if own.evaluate("document.activeElement.id") == id_:
            return
        own.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"{id_} is not reached by Tab")


def box_of(own: Any) -> list[float]:
    """The first region's box, as the page's draft holds it."""
    draft = json.loads(own.evaluate("sessionStorage.getItem('studio-draft')"))
    return list(draft["regions"][0]["box"])


def picture_layout(own: Any) -> Any:
    """The layout in the newest picture."""
    return own.evaluate(
        "fetch('/api/pictures').then(r => r.json()).then(found => "
        "fetch(`/api/pictures/${found.pictures[0]}/layout`)).then(r => r.json())"
    )["layout"]
