"""The demo's page: whole in itself, and safe with any name."""

import io
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from mos_lab.demo.figures import enlarged
from mos_lab.demo.page import render_page
from mos_lab.demo.story import (
    DemoStory,
    Pair,
    RegionStory,
    SiteStory,
    WireStory,
)

PAPERS = {"https://arxiv.org/abs/2305.18292", "https://arxiv.org/abs/2409.08482"}
"""The only addresses that the page names: links for a reader to follow."""

REACHING_OUT = re.compile(r"url\(|@import|src\s*=\s*[\"'](?!data:)|<script|<link", re.I)
VOID = {"meta", "img", "input", "br"}


class Reader(HTMLParser):
    """Collects what a browser would meet, and insists on closed elements."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.attributes: list[tuple[str, str]] = []
        self.pictures: list[Image.Image] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "img":
            data = dict(attrs)["src"] or ""
            content = b64decode(data.partition("base64,")[2])
            self.pictures.append(Image.open(io.BytesIO(content)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def close(self) -> None:
        super().close()
        assert self._open == []


def story(*names: str) -> DemoStory:
    """The story of sites with these names, each with a concept of its own."""
    small, wide = Image.new("RGB", (16, 16), "teal"), Image.new("RGB", (48, 16))
    return DemoStory(
        regional=wide,
        regions=[
            RegionStory(f"c-{name}", f"a photo of <c-{name}>", (0.0, 0.0, 0.5, 1.0))
            for name in names
        ],
        context="a photo on the beach",
        direct=wide,
        direct_prompt="a photo of both",
        bare=wide,
        bare_prompts=["a photo of a cat"],
        sites=[
            SiteStory(
                site=name,
                concept=f"c-{name}",
                class_word="owl",
                pictures=[small, small],
                pairs=[Pair(f"<c-{name}> at night", small, small)],
                kept={"all": 0.875, "text": 0.5, "cross": 1.0, "spatial": 0.9},
            )
            for name in names
        ],
        wire=[WireStory(name, 19_000, 320_000, 84, 912_000) for name in names],
        seed=7,
        release_bytes=912_000,
        drift=0.021,
        seconds={"tuning": 75.0, "fusion": 12.5},
        manifest={"version": 1, "concepts": [f"{name}/c-{name}" for name in names]},
        facts={"base": "mini"},
    )


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_page_reaches_for_nothing_outside_itself() -> None:
    page = render_page(story("north", "south"))
    reader = read(page)
    assert REACHING_OUT.search(page) is None
    targets = {v for name, v in reader.attributes if name in ("href", "action")}
    assert targets == PAPERS
    assert set(re.findall(r"https?://[^\s\"'<)]+", page)) == PAPERS


def test_page_shows_every_site_with_its_pictures_and_figures() -> None:
    reader = read(render_page(story("north", "south")))
    for name in ("north", "south"):
        assert f"<c-{name}>" in reader.text
        assert f"<c-{name}> at night" in reader.text
    assert "88%" in reader.text
    assert "2.1%" in reader.text
    assert "1 min 15 s" in reader.text
    assert "640 kB" in reader.text  # both sites together
    assert "an owl" in reader.text
    # Per site two of its own and one pair; the picture twice, direct, bare.
    assert len(reader.pictures) == 2 * (2 + 2) + 4


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x>', "$x"])
def test_page_escapes_what_a_user_can_name(name: str) -> None:
    reader = read(render_page(story(name)))
    assert name in reader.text
    assert ("src", "x") not in reader.attributes


def test_boxes_lie_where_the_regions_are() -> None:
    page = render_page(story("north"))
    assert "left:0.00%;top:0.00%;width:50.00%;height:100.00%" in page


def test_manifest_is_on_the_page_word_by_word() -> None:
    told = story("north")
    reader = read(render_page(replace(told, manifest={"note": "a < b & c"})))
    assert '"note": "a < b & c"' in reader.text


def test_pictures_grow_by_whole_multiples_and_never_shrink() -> None:
    assert enlarged(Image.new("RGB", (64, 32)), 100).size == (128, 64)
    assert enlarged(Image.new("RGB", (512, 512)), 100).size == (512, 512)
