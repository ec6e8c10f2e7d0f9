"""What to publish, with which pictures, and where to."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PublishRequest:
    """A request to publish, as the options of `mos-client publish` give it."""

    file: str
    """A concept's or a release's file; or a received release: its number, "newest"."""

    out: Path
    """Folder to fill."""

    base: str = "mini"
    """Name, pipeline directory or hub name of the base it was made for."""

    title: str = ""
    """Heading of the model card; the file's name where "" is given."""

    licence: str = ""
    """Terms of use, where the file does not state them."""

    prompts: tuple[str, ...] = ()
    """Of the sample pictures; "a photo of <NAME>" of every concept where empty."""

    images: int = 2
    """Sample pictures of each prompt; 0 samples none, and loads no base."""

    seed: int = 0
    """Of the first sample picture."""

    data: Path | None = None
    """The concept's training pictures: the samples are compared with them. They
    themselves are not published."""

    metrics: str | None = None
    """CLIPModel directory that judges the samples (see `metrics_for`)."""

    force: bool = False
    """Write into a folder that holds something."""

    device: str = "auto"
    precision: str = "auto"
    home: Path | None = None
    """The site's, where `file` is a received release."""
