"""From what happened to what the page says of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from PIL import Image

from mos_lab.demo.drawing import DemoPictures
from mos_lab.demo.record import Record
from mos_lab.demo.scenes import SEED
from mos_lab.demo.story import DemoStory, RegionStory, SiteStory, WireStory
from mos_lab.simulation.outcome import SimulationOutcome, SiteOutcome

_SOFTWARE: Final = ("flwr", "torch", "diffusers")


@dataclass(frozen=True)
class DemoConfig:
    """What the user asked for, and where the sites' pictures went."""

    base: str
    seed: int
    folders: Mapping[str, Path]
    """Site -> its pictures."""


def tell(
    config: DemoConfig,
    outcome: SimulationOutcome,
    record: Record,
    pictures: DemoPictures,
    seconds: Mapping[str, float],
) -> DemoStory:
    """The story of one demo.

    Args:
        config: What was asked for.
        outcome: What the simulation came to.
        record: What it left behind, verified.
        pictures: What was drawn of it.
        seconds: Phase -> wall time in seconds.
    """
    sites = [_site(config, site, record, pictures) for site in outcome.sites]
    return DemoStory(
        regional=pictures.regional,
        regions=[
            RegionStory(site.concept, region.prompt, region.box)
            for site, region in zip(outcome.sites, pictures.layout.regions, strict=True)
        ],
        context=pictures.layout.prompt,
        direct=pictures.direct,
        direct_prompt=pictures.direct_prompt,
        bare=pictures.bare,
        bare_prompts=pictures.bare_prompts,
        sites=sites,
        wire=[_wire(config, site, record) for site in outcome.sites],
        seed=config.seed + SEED,
        release_bytes=outcome.release_bytes,
        drift=float(record.report["drift"]),
        seconds=seconds,
        manifest=record.manifest(),
        facts={
            "base": f"{config.base}, {record.facts.base[:12]}",
            "release": f"{record.facts.version}, {record.release.digest[:12]}",
            "signed by the centre's key": record.signer,
            "rank of the fused factors": str(record.rank()),
            "seed": str(config.seed),
            "software": ", ".join(f"{name} {version(name)}" for name in _SOFTWARE),
        },
    )


def _site(
    config: DemoConfig, site: SiteOutcome, record: Record, pictures: DemoPictures
) -> SiteStory:
    files = sorted(config.folders[site.site].glob("*.png"))
    return SiteStory(
        site=site.site,
        concept=site.concept,
        class_word=site.class_word,
        pictures=[_opened(path) for path in files],
        pairs=pictures.pairs[site.site],
        kept=record.kept(site.site),
    )


def _wire(config: DemoConfig, site: SiteOutcome, record: Record) -> WireStory:
    files = config.folders[site.site].glob("*.png")
    return WireStory(
        site=site.site,
        picture_bytes=sum(path.stat().st_size for path in files),
        sent_bytes=site.bytes_sent,
        received_bytes=site.bytes_received,
        tensors=record.tensors[site.site],
    )


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")
