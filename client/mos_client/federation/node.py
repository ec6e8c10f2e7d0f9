"""Which site a Flower context speaks for: the node configuration that `join` wrote."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mos_client.errors import SiteError
from mos_client.store.home import SiteHome
from mos_runtime.journal import Journal

HOME_KEY: Final = "site-home"
JOURNAL_FILE: Final = "journal.jsonl"
HEARD_FILE: Final = "heard"
"""Touched whenever the centre speaks to the site."""


@dataclass(frozen=True)
class SiteTuning:
    """What a site is to tune on, where the centre asks."""

    pictures: Path
    base: str
    steps: int | None
    seed: int
    threads: int
    max_steps: int | None = None
    """Optimiser steps at most, whatever the base's own number is."""


@dataclass(frozen=True)
class Site:
    """The site that a message is for."""

    home: SiteHome
    tuning: SiteTuning | None
    """None where the site's policy decides."""

    @property
    def journal(self) -> Journal:
        """Where it records events for its own people."""
        return Journal(journal_path(self.home))


def journal_path(home: SiteHome) -> Path:
    """The journal of a site."""
    return home.flower / JOURNAL_FILE


def site_of(node: Mapping[str, Any]) -> Site:
    """The site of a Flower node.

    Args:
        node: The node configuration, which the site wrote. What a centre writes into a
            run is not looked at, so it can never point a site to another folder.

    Raises:
        SiteError: it names no site.
        IdentityError: the site's home is not there.
    """
    if HOME_KEY not in node:
        raise SiteError("this Flower node belongs to no site; start it by join")
    return Site(SiteHome.open(Path(str(node[HOME_KEY]))), None)
