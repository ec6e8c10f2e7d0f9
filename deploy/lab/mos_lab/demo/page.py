"""The demo's page: one self-contained HTML file that shows what happened.

Everything a user can name is escaped; every picture lies in the page as a data URL.
"""

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from mos_lab.demo.figures import (
    bar,
    hue,
    overlay,
    picture,
    placeholder,
    size_text,
    time_text,
)
from mos_lab.demo.story import DemoStory, Pair, SiteStory, WireStory
from mos_zoo.world.captions import with_article

STAGE_NAMES: Final = {
    "text": "text encoder",
    "cross": "cross-attention K, V",
    "spatial": "spatial attention",
}
_NUMBERS: Final = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
_HERO_WIDTH: Final = 1536
_WIDE_WIDTH: Final = 960
_SINGLE_WIDTH: Final = 192
_THUMB_WIDTH: Final = 128


def render_page(story: DemoStory) -> str:
    """The page of one demo."""
    template = Template((files(__package__) / "page.html").read_text("utf-8"))
    sites, wire = story.sites, story.wire
    return template.substitute(
        headline=_headline(len(sites)),
        regional=picture(story.regional, "all concepts by region", width=_HERO_WIDTH),
        overlay=overlay(story.regions),
        context=escape(story.context),
        legend=_legend(story),
        path=_path(story),
        sites="".join(_site(site, index) for index, site in enumerate(sites)),
        wide=picture(story.regional, "by region", width=_WIDE_WIDTH),
        direct=picture(story.direct, "without regions", width=_WIDE_WIDTH),
        direct_prompt=escape(story.direct_prompt),
        bare=picture(story.bare, "the bare base", width=_WIDE_WIDTH),
        bare_prompts=" · ".join(escape(prompt) for prompt in story.bare_prompts),
        kept="".join(_kept(site, index) for index, site in enumerate(sites)),
        drift=f"{story.drift:.1%}",
        wire="".join(_wire(one) for one in wire),
        picture_bytes=size_text(sum(one.picture_bytes for one in wire)),
        phases=_phases(story),
        total=time_text(sum(story.seconds.values())),
        facts="".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
            for name, value in story.facts.items()
        ),
        seed=str(story.seed),
        manifest=escape(json.dumps(story.manifest, indent=2)),
    )


def _headline(count: int) -> str:
    word = _NUMBERS.get(count, str(count))
    return f"{word.capitalize()} sites, {word} subjects, one picture."


def _legend(story: DemoStory) -> str:
    return "".join(
        f'<li class="{hue(index)}"><code>{escape(region.prompt)}</code></li>'
        for index, region in enumerate(story.regions)
    )


def _path(story: DemoStory) -> str:
    """The stations of the data, each with its one figure."""
    pictures = sum(len(site.pictures) for site in story.sites)
    sent = sum(one.sent_bytes for one in story.wire)
    stations = (
        (str(pictures), "pictures", f"in {len(story.sites)} folders; none leaves"),
        (str(len(story.sites)), "ED-LoRAs", "tuned where the pictures are"),
        (size_text(sent), "sent", "signed factors and word vectors"),
        (size_text(story.release_bytes), "released", "fused, signed, sent back"),
    )
    return "".join(
        f"<li><b>{escape(figure)}</b> <span>{escape(unit)}</span>"
        f"<small>{escape(note)}</small></li>"
        for figure, unit, note in stations
    )


def _site(site: SiteStory, index: int) -> str:
    thumbs = "".join(
        picture(image, f"training picture {number}", width=_THUMB_WIDTH)
        for number, image in enumerate(site.pictures, start=1)
    )
    return (
        f'<article class="site {hue(index)}"><header>'
        f"<h3>{placeholder(site.concept)}</h3>"
        f"<p>{escape(with_article(site.class_word))}; only the site "
        f"<b>{escape(site.site)}</b> has its pictures</p></header>"
        f'<div class="thumbs">{thumbs}</div>{_pairs(site.pairs)}</article>'
    )


def _pairs(pairs: Sequence[Pair]) -> str:
    rows = "".join(
        "<figure>"
        f"{picture(pair.before, 'before fusion', width=_SINGLE_WIDTH)}"
        f"{picture(pair.after, 'after fusion', width=_SINGLE_WIDTH)}"
        f"<figcaption><code>{escape(pair.prompt)}</code></figcaption></figure>"
        for pair in pairs
    )
    return (
        '<p class="columns"><span>before</span><span>after</span></p>'
        f'<div class="pairs">{rows}</div>'
    )


def _kept(site: SiteStory, index: int) -> str:
    stages = "".join(
        f"<tr><th>{escape(STAGE_NAMES.get(stage, stage))}</th>"
        f"<td>{bar(share, hue(index))}</td><td>{share:.0%}</td></tr>"
        for stage, share in site.kept.items()
        if stage != "all"
    )
    return (
        f'<div class="kept {hue(index)}"><h3>{placeholder(site.concept)} '
        f"<b>{site.kept['all']:.0%}</b></h3><table>{stages}</table></div>"
    )


def _wire(one: WireStory) -> str:
    return (
        f"<tr><th>{escape(one.site)}</th><td>{size_text(one.picture_bytes)}</td>"
        f"<td>{size_text(one.sent_bytes)}</td><td>{one.tensors}</td>"
        f"<td>{size_text(one.received_bytes)}</td></tr>"
    )


def _phases(story: DemoStory) -> str:
    longest = max(story.seconds.values(), default=0.0) or 1.0
    return "".join(
        f"<tr><th>{escape(name)}</th><td>{bar(value / longest)}</td>"
        f"<td>{time_text(value)}</td></tr>"
        for name, value in story.seconds.items()
    )
