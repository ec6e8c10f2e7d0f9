"""Screenshots of the studio's page and of the centre's, as the documentation has them.

    make demo
    python -m tests.pages.screenshots --demo out/demo --out deploy/docs/images

Both pages stand on copies of the demo's homes, and all that they show has happened: a
picture is sampled and a concept tuned in the page; a newer version of a concept, a copy
of an old bundle and a concept of random numbers come to the centre, and `mos-server
serve` judges and fuses them. Each page is taken 1440 pixels wide, and all tabs of one
side by side at 390. Some minutes on two cores.
"""

import argparse
import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from PIL import Image

from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_model.bases.base_files import read_inventory
from mos_protocol.messages import Verdict
from mos_protocol.signed.bundle import Bundle
from tests.pages.browsing import chromium
from tests.studio.conftest import Server, Visit
from tests.support.concepts import random_concept
from tests.support.sites import Centre

WIDE: Final = (1440, 900)
NARROW: Final = (390, 844)
HEIGHT: Final = f"""Math.round(Math.max(
  {WIDE[1]}, document.documentElement.scrollHeight,
  ...[...document.querySelectorAll("main:not([hidden])")].map(
    (one) => one.scrollHeight + one.getBoundingClientRect().top + scrollY)))"""
LONG_WAIT: Final = 900_000
"""Milliseconds for what tunes or fuses."""

REGIONS: Final = ("bolt", "rex", "miso")
"""Side by side; prompts, size and seed are those of the demo's picture."""

SCENE: Final = "on the beach"


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(description="Screenshots of the pages.")
    parser.add_argument("--demo", type=Path, default=Path("out/demo"))
    parser.add_argument("--out", type=Path, default=Path("deploy/docs/images"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        federation = Path(folder) / "federation"
        shutil.copytree(options.demo / "federation", federation)
        pictures = sorted((options.demo / "pictures" / "studio").glob("*.png"))
        _studio(browser, federation / "sites" / "studio", pictures, options.out)
        _centre(browser, federation, options.out)


def _studio(browser: Any, home: Path, pictures: list[Path], out: Path) -> None:
    server = Server(home)
    server.start()
    try:
        visit = _opened(browser, server.address, WIDE)
        _sample(visit)
        _keep(visit.page, out / "studio-draw.webp")
        _tune(visit.page, pictures)
        _keep(visit.page, out / "studio-tune.webp")
        visit.page.click("#tab-releases")
        visit.page.wait_for_selector("#page-releases article, #page-releases .card")
        _keep(visit.page, out / "studio-releases.webp")
        phone = _opened(browser, server.address, NARROW)
        phone.page.click("#gallery button >> nth=1")
        phone.page.click("#use-layout")
        phone.page.wait_for_selector("#regions .pick >> nth=2")
        names = ("draw", "tune", "releases")
        _keep_narrow(phone.page, names, out / "studio-390.webp")
    finally:
        server.end()


def _sample(visit: Visit) -> None:
    """Three regions and their picture, once every concept has its thumbnail."""
    page = visit.page
    page.wait_for_selector(".concept img >> nth=2", timeout=LONG_WAIT)
    page.fill("#width", "192")
    page.keyboard.press("Tab")
    for index, name in enumerate(REGIONS):
        page.click("#tool-box")
        left, right = index / len(REGIONS), (index + 1) / len(REGIONS)
        visit.drag((left + 0.002, 0.01), (right - 0.002, 0.99))
        page.fill("#region-prompt", f"a photo of <{name}> {SCENE}")
        page.keyboard.press("Escape")
    page.fill("#prompt", f"a photo of a robot, a dog and a cat {SCENE}")
    page.fill("#seed", "6")
    page.fill("#images", "2")
    page.click("#sample")
    page.wait_for_selector("#shown:not([hidden])", timeout=LONG_WAIT)
    page.wait_for_selector("#gallery button >> nth=1", timeout=LONG_WAIT)


def _tune(page: Any, pictures: list[Path]) -> None:
    """A short run on dropped pictures, with its loss and previews."""
    page.click("#tab-tune")
    page.fill("#new-concept", "tabby")
    page.keyboard.press("Enter")
    page.wait_for_selector("#drop")
    with page.expect_file_chooser() as chooser:
        page.click("#drop")
    chooser.value.set_files([str(picture) for picture in pictures])
    page.wait_for_selector(f".shot >> nth={len(pictures) - 1}")
    page.fill("#tune-class_word", "cat")
    page.fill("#tune-steps", "60")
    page.fill("#tune-preview_every", "20")
    page.keyboard.press("Tab")
    page.wait_for_selector("#verdict:has-text('60 steps')", timeout=LONG_WAIT)
    page.click("#tune-start")
    page.wait_for_selector("#tune-share:not([hidden])", timeout=LONG_WAIT)


def _centre(browser: Any, federation: Path, out: Path) -> None:
    _history(federation)
    with _serving(federation / "centre") as addresses:
        visit = _opened(browser, addresses["operator"], WIDE, "body[data-ready]")
        page = visit.page
        page.click("#tab-bundles")
        page.wait_for_selector("#held button", timeout=LONG_WAIT)
        page.click("#tab-releases")
        page.wait_for_selector("#releases article >> nth=1", timeout=LONG_WAIT)
        names = ("overview", "sites", "bundles", "releases")
        for name in names:
            page.click(f"#tab-{name}")
            _settled(page)
            _keep(page, out / f"centre-{name}.webp")
        page.click("#tab-bundles")
        page.click("#held button:has-text('Pictures')")
        page.wait_for_selector("#evidence[open] img")
        _settled(page)
        _keep(page, out / "centre-evidence.webp")
        phone = _opened(browser, addresses["operator"], NARROW, "body[data-ready]")
        _keep_narrow(phone.page, names, out / "centre-390.webp")


def _history(federation: Path) -> None:
    """A newer version, a copy of an old bundle, and a concept of random numbers."""
    inventory = read_inventory("mini")
    centre = Centre.at(federation / "centre", inventory)

    def send(home: SiteHome, bundle: Bundle) -> Verdict:
        sender = home.public_keys()[0].key_id
        return centre.desk.receive(
            bundle.to_bytes(), now=int(time.time()), sender_key_id=sender
        )

    museum = SiteHome(federation / "sites" / "museum")
    (sent,) = Outbox(museum).sent()
    old = Bundle.read(sent.path)
    newer = Outbox(museum).put(old.payload, "museum", int(time.time()))
    assert send(museum, Bundle.read(newer.path)).accepted
    assert not send(museum, old).accepted
    lab = SiteHome(federation / "sites" / "lab")
    random = random_concept(inventory, "noise", strength=1.0).to_bytes()
    entry = Outbox(lab).put(random, "lab", int(time.time()))
    assert send(lab, Bundle.read(entry.path)).accepted


@contextmanager
def _serving(home: Path) -> Iterator[dict[str, str]]:
    """`mos-server serve --page` of a centre; its page's addresses."""
    ports = [_free_port() for _ in range(2)]
    command = [sys.executable, "-m", "mos_server", "serve", "--page", "--insecure"]
    command += ["--home", str(home), "--address", f"127.0.0.1:{ports[0]}"]
    process = subprocess.Popen(
        [*command, "--page-port", str(ports[1])], stderr=subprocess.DEVNULL
    )
    addresses = home / "page" / "addresses"
    try:
        while not addresses.is_file():
            assert process.poll() is None
            time.sleep(0.2)
        yield dict(line.split() for line in addresses.read_text().splitlines())
    finally:
        process.terminate()
        process.wait(timeout=120)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _opened(
    browser: Any, address: str, size: tuple[int, int], ready: str = ".concept"
) -> Visit:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(ready)
    return Visit(page)


def _settled(page: Any) -> None:
    """Wait until every picture of the page is there."""
    page.evaluate(
        "Promise.all([...document.images].filter((one) => one.offsetParent)"
        ".map((one) => one.decode()))"
    )


def _keep(page: Any, path: Path) -> None:
    """The whole page as it is, in a window that is as high as it takes."""
    _settled(page)
    page.set_viewport_size({"width": WIDE[0], "height": page.evaluate(HEIGHT)})
    page.evaluate("scrollTo(0, 0)")
    _write(Image.open(io.BytesIO(page.screenshot())), path)
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})


def _keep_narrow(page: Any, tabs: tuple[str, ...], path: Path) -> None:
    """What a phone shows of each tab, side by side."""
    shots = []
    for tab in tabs:
        page.click(f"#tab-{tab}")
        page.wait_for_selector(f"#page-{tab} >> :visible >> nth=3")
        _settled(page)
        page.evaluate("scrollTo(0, 0)")
        shots.append(Image.open(io.BytesIO(page.screenshot())))
    gap = 16
    width = sum(shot.width + gap for shot in shots) - gap
    sheet = Image.new("RGB", (width, NARROW[1]), "white")
    for index, shot in enumerate(shots):
        sheet.paste(shot, (index * (NARROW[0] + gap), 0))
    _write(sheet, path)


def _write(image: Image.Image, path: Path) -> None:
    image.convert("RGB").save(path, "WEBP", quality=80, method=6)
    print(f"{path}: {image.width}x{image.height}, {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
