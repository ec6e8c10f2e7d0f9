"""Tuning on dropped pictures, in a browser, to the end."""

import io
from typing import Any

import numpy as np
from PIL import Image

from tests.studio.conftest import Visit
from tests.studio.test_drawing import until


def picture(seed: int) -> dict[str, Any]:
    """A picture as a file chooser takes it."""
    noise = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).save(content, "PNG")
    name = f"{seed}.png"
    return {"name": name, "mimeType": "image/png", "buffer": content.getvalue()}


def prepared(page: Visit, name: str) -> Any:
    """The page to tune, with three pictures of which two are the same."""
    own = page.page
    own.click("#tab-tune")
    own.fill("#new-concept", name)
    own.keyboard.press("Enter")
    own.wait_for_selector("#drop")
    again = {**picture(1), "name": "again.png"}
    with own.expect_file_chooser() as chooser:
        own.click("#drop")
    chooser.value.set_files([picture(1), picture(2), again])
    own.wait_for_selector(".shot >> nth=1")
    return own


def test_dropped_pictures_are_tuned_judged_and_shared(page: Visit) -> None:
    own = prepared(page, "rex")
    assert "the same picture as 1.png" in own.inner_text(".notes")
    own.fill("[aria-label='Caption of 1.png']", "a photo of {} in the snow")
    own.keyboard.press("Tab")
    own.wait_for_selector("#verdict:has-text('2 pictures used')")
    own.click(".shot >> nth=0 >> text='Draw mask'")
    box = own.locator(".mask-canvas").bounding_box()
    own.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
    own.mouse.down()
    own.mouse.move(box["x"] + box["width"] / 1.5, box["y"] + box["height"] / 1.5)
    own.mouse.up()
    own.click("text='Save mask'")
    own.wait_for_selector(".shot >> nth=0 >> text='Edit mask'")
    own.fill("#tune-class_word", "robot")
    own.fill("#tune-steps", "6")
    own.fill("#tune-preview_every", "5")
    own.click("summary:has-text('Further settings')")
    own.fill("#tune-further", "batch_size=2\naugmentations=2")
    own.keyboard.press("Tab")
    own.wait_for_selector("#verdict:has-text('class word robot, 6 steps')")
    own.click("#tune-start")
    own.wait_for_selector(".chart", timeout=120_000)
    own.wait_for_selector(".preview-grid", timeout=120_000)
    own.wait_for_selector("#tune-share:not([hidden])", timeout=120_000)
    assert "memorisation check" in own.inner_text("#tune-share")
    own.click("#show-leaving")
    promised = own.inner_text("#share")
    assert "bytes leave" in promised
    own.click("#share")
    own.wait_for_selector("#shared")
    signed = own.inner_text("#leaving .ok >> nth=1")
    number = promised.split(": ")[1].split(" bytes")[0]
    assert f"Signed: {number} bytes" in signed


def test_keyboard_alone_tunes_and_shares(page: Visit) -> None:
    own, keys = page.page, page.page.keyboard

    def fill(id_: str, text: str) -> None:
        until(own, id_)
        keys.press("Control+a")
        keys.type(text)

    until(own, "tab-draw")
    keys.press("ArrowRight")
    fill("new-concept", "bolt")
    keys.press("Enter")
    own.wait_for_selector("#drop")
    until(own, "drop")
    with own.expect_file_chooser() as chooser:
        keys.press("Enter")
    chooser.value.set_files([picture(3), picture(4)])
    own.wait_for_selector(".shot >> nth=1")
    fill("tune-class_word", "robot")
    fill("tune-steps", "2")
    keys.press("Tab")
    own.wait_for_selector("#verdict:has-text('class word robot, 2 steps')")
    until(own, "tune-start")
    keys.press("Enter")
    own.wait_for_selector("#tune-share:not([hidden])", timeout=120_000)
    until(own, "show-leaving")
    keys.press("Enter")
    own.wait_for_selector("#share:has-text('bytes leave')")
    until(own, "share")
    keys.press("Enter")
    own.wait_for_selector("#shared")


def test_run_is_stopped_and_resumed(page: Visit) -> None:
    own = prepared(page, "miso")
    own.fill("#tune-class_word", "cat")
    own.fill("#tune-steps", "4000")
    own.fill("#tune-preview_every", "4000")
    own.click("summary:has-text('Further settings')")
    own.fill("#tune-further", "batch_size=1")
    own.keyboard.press("Tab")
    own.wait_for_selector("#verdict:has-text('4000 steps')")
    own.click("#tune-start")
    own.wait_for_selector("#tune-run .chart", timeout=120_000)
    own.click("#tune-stop")
    own.wait_for_selector("#tune-state:has-text('a checkpoint is kept')")
    own.reload()
    own.click("#tab-tune")
    own.click(".chip:has-text('<miso>')")
    own.click("#tune-resume")
    own.wait_for_selector("#tune-state:has-text('Step')", timeout=120_000)
    own.click("#tune-stop")
    own.wait_for_selector("#tune-state:has-text('a checkpoint is kept')")
