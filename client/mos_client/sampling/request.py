"""What to draw, with which model, and where to."""

from dataclasses import dataclass, field
from pathlib import Path

from mos_model.layouts.layout import Control, Layout, Region
from mos_model.sampling.settings import Given

RANDOM_SEED = -1


@dataclass(frozen=True)
class SampleRequest:
    """A request to sample pictures, as the options of `mos-client sample` give it."""

    prompts: tuple[str, ...] = ()
    """What a picture shows; several give a picture each, in place of the layout's."""

    layout: Layout | Path | None = None
    """A layout, or its JSON file; None is an empty one of the base's own size."""

    regions: tuple[Region, ...] = ()
    """Added to the layout's."""

    controls: tuple[Control, ...] = ()
    """Added to the layout's."""

    negative: str | None = None
    """Negative prompt in place of the layout's."""

    size: tuple[int, int] | None = None
    """Width and height in pixels, in place of the layout's or the base's own."""

    from_picture: Path | None = None
    """Make this picture again, by the record in it."""

    files: tuple[Path, ...] = ()
    """Files and folders with the masks and controls that `from_picture` needs."""

    release: str | None = None
    """A received release's number, "newest", or a file."""

    concepts: tuple[Path, ...] = ()
    """Concept files, added up without fusion."""

    base: str = "mini"
    """Name, pipeline directory or hub name of the base."""

    seed: int | None = None
    """Of the first picture, the next ones counting up; -1 is a random one. None is 0,
    or that of `from_picture`."""

    images: int = 1
    """Pictures of each prompt."""

    settings: Given = field(default_factory=Given)
    """Steps, guidance and so on; what is absent is the base's own."""

    out: Path | None = None
    """Picture to write: PNG, JPEG or WebP by its suffix; -2, -3 .. for more. None
    writes nothing."""

    force: bool = False
    """Replace existing files."""

    grid: bool = False
    """One sheet, prompts down and seeds across, in place of a file each."""

    metadata: bool = True
    """Write into each file how it was made."""

    batch: int = 8
    """Pictures sampled at once."""

    preview_every: int | None = None
    """Steps between previews; None is without."""

    preview_share: float | None = None
    """Seconds of previews for each second of sampling at most; fewer are made then.
    None is without a bound."""

    device: str = "auto"
    precision: str = "auto"
    offload: bool = False
    """Keep only the part that computes on the device."""

    home: Path | None = None
    """The site's folder, for received releases; None is the default one."""
