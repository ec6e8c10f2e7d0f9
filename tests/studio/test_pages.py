"""What every page keeps to: width, accessibility, messages, nothing lost."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mos_client.studio import Studio
from mos_client.studio.order import Order
from tests.client.studio.conftest import LAYOUT
from tests.client.studio.test_http import png_header
from tests.pages.browsing import cut_off, serious_faults, width_of
from tests.studio.conftest import Server, Visit
from tests.studio.test_drawing import LEFT
from tests.support.bases import save_tiny_sd
from tests.support.homes import home_with_release

TABS = ("draw", "tune", "releases")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_has_a_serious_fault_of_access_or_is_too_wide(
    visit: Callable[..., Visit], server: Server, scheme: str, width: int
) -> None:
    page = visit(width, 900, color_scheme=scheme).open(server.address)
    own = page.page
    own.click("[data-concept='north/rex']")
    own.fill("#region-prompt", "a photo of <rex> on the beach in the evening sun")
    for tab in TABS:
        own.click(f"#tab-{tab}")
        own.wait_for_selector(f"#page-{tab} >> :visible >> nth=3")
        assert serious_faults(own) == [], tab
        assert width_of(own) <= width, tab
        assert cut_off(own) == [], tab


def test_wrong_token_is_named_in_the_page(
    visit: Callable[..., Visit], server: Server
) -> None:
    own = visit().page
    own.goto(server.address.split("=")[0] + "=wrong")
    assert "The token is wrong or old" in own.inner_text("[role=alert]")


def test_bomb_and_hostile_names_are_refused_in_the_page(page: Visit) -> None:
    own = page.page
    own.click("summary:has-text('Layouts and reference')")
    bomb = {
        "name": "<img src=x onerror=alert(1)>.png",
        "mimeType": "image/png",
        "buffer": png_header(20_000, 10_000),
    }
    with own.expect_file_chooser() as chooser:
        own.click("#open-file")
    chooser.value.set_files([bomb])
    own.wait_for_selector("#banner:not([hidden])")
    message = own.inner_text("#banner")
    assert "<img src=x" in message
    assert "at most 40 megapixels" in message
    own.fill("#layout-name", "../../site.key")
    own.fill("#prompt", "a cat")
    own.click("#save-layout")
    own.wait_for_selector("#banner:has-text('layout')")
    assert page.page.input_value("#prompt") == "a cat"


def test_layout_that_is_none_is_refused_and_the_drawing_stays(page: Visit) -> None:
    own = page.page
    own.click("#tool-box")
    page.drag(*LEFT)
    own.click("summary:has-text('Layouts and reference')")
    layout = {"prompt": "a cat", "regions": [{"prompt": "x", "mask": "/etc/passwd"}]}
    file = {"name": "a.json", "mimeType": "application/json"}
    with own.expect_file_chooser() as chooser:
        own.click("#open-file")
    chooser.value.set_files([{**file, "buffer": json.dumps(layout).encode()}])
    own.wait_for_selector("#banner:has-text('names no uploaded picture')")
    assert page.regions() == 1


def test_picture_of_another_base_is_named_and_the_drawing_stays(
    page: Visit, tmp_path: Path
) -> None:
    other = str(save_tiny_sd(tmp_path / "other"))
    home = home_with_release(tmp_path / "site", other)
    picture = tmp_path / "other.png"
    Studio(home.folder, base=other).draw(Order(LAYOUT, settings={"steps": 1}), picture)
    own = page.page
    own.click("#tool-box")
    page.drag(*LEFT)
    own.click("summary:has-text('Layouts and reference')")
    with own.expect_file_chooser() as chooser:
        own.click("#open-file")
    chooser.value.set_files([str(picture)])
    own.wait_for_selector("#banner:has-text('the picture was made for base')")
    assert page.regions() == 1


def test_two_tabs_keep_their_own_drawings_and_share_the_gallery(
    page: Visit, server: Server
) -> None:
    first = page.page
    first.fill("#prompt", "a dog")
    other = Visit(first.context.new_page())
    other.page.goto(server.address.split("?")[0])
    other.page.wait_for_selector(".concept")
    other.page.fill("#prompt", "a cat")
    other.page.click("#sample")
    other.sampled()
    first.wait_for_selector("#gallery button")
    assert first.input_value("#prompt") == "a dog"
    first.reload()
    first.wait_for_selector(".concept")
    assert first.input_value("#prompt") == "a dog"


@pytest.fixture
def mortal(browser: Any, tmp_path: Path) -> Iterator[Server]:
    """A server of its own, to be killed."""
    running = Server(home_with_release(tmp_path, "mini").folder)
    running.start()
    yield running
    running.end(signal.SIGKILL)


def test_killed_server_is_named_and_the_next_one_goes_on(
    visit: Callable[..., Visit], mortal: Server
) -> None:
    page = visit().open(mortal.address)
    own = page.page
    own.click("#tool-box")
    page.drag(*LEFT)
    own.fill("#region-prompt", "a photo of <rex>")
    own.click("summary:has-text('Sampling')")
    own.fill("#set-steps", "900")
    own.click("#sample")
    own.wait_for_selector("#progress-text:has-text('Step')", timeout=90_000)
    mortal.end(signal.SIGKILL)
    own.wait_for_selector("#banner:has-text('The server does not answer')")
    assert page.regions() == 1
    mortal.start()
    page.open(mortal.address)
    assert page.regions() == 1
    own.wait_for_selector("#queue :text('interrupted')")
    own.click("#queue button:has-text('Sample')")
    own.wait_for_selector("#progress-text:has-text('Step')", timeout=90_000)
    own.click("#cancel")
    own.wait_for_selector("#live:has-text('Cancelled')", state="attached")
