"""Where a simulation stands, read from the journals of centre and sites."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mos_client.federation import events as at_site
from mos_client.federation.events import SITE_EVENTS, SiteEvent
from mos_lab.simulation.plan import SimulationPlan
from mos_runtime.journal import Entry, JournalReader
from mos_server.federation import events as at_centre
from mos_server.federation.events import CENTRE_EVENTS, CentreEvent
from mos_server.federation.names import JOURNAL_FILE


@dataclass(frozen=True)
class SiteProgress:
    """Where one site stands."""

    state: str = "waiting"
    """`waiting`, `preparing`, `tuning`, `tuned` (or `signed`, at a synthetic site),
    `sent`, `accepted`, `refused`, `failed`, or `delivered`."""

    concept: str = ""
    class_word: str = ""
    pictures: int = 0
    step: int = 0
    steps: int = 0
    """Optimiser steps in all; 0 until tuning begins."""

    loss: float | None = None
    """Smoothed."""

    what: str = ""
    """What it is preparing."""

    reason: str = ""
    """Why it was refused, or failed."""


@dataclass(frozen=True)
class SimulationProgress:
    """Where a simulation stands."""

    sites: Mapping[str, SiteProgress]
    started: bool = False
    """Whether the centre is up."""

    fusing: float = 0.0
    """Share of the fusion that is done, 0 to 1."""

    fusing_what: str = ""
    """What the fusion is at."""

    release: int = 0
    """Version published."""

    finished: bool = False
    failure: str = ""
    """Why it cannot come to an end; "" while it can."""


@dataclass
class Watch:
    """Reads the journals of a simulation as they grow."""

    folder: Path
    plan: SimulationPlan
    progress: SimulationProgress = field(init=False)
    centre: list[Entry[CentreEvent]] = field(default_factory=list)
    """All events of the centre so far."""

    own: dict[str, list[Entry[SiteEvent]]] = field(default_factory=dict)
    """All events of each site so far."""

    def __post_init__(self) -> None:
        """Begin at the beginning of every journal."""
        names = [site.name for site in self.plan.sites]
        self.progress = SimulationProgress({name: SiteProgress() for name in names})
        self.own = {name: [] for name in names}
        self._readers = {
            name: JournalReader(self.plan.site_journal(self.folder, name), SITE_EVENTS)
            for name in names
        }
        self._reader = JournalReader(self.folder / JOURNAL_FILE, CENTRE_EVENTS)

    def look(self) -> bool:
        """Take in what is new; whether anything was."""
        news = False
        for name, reader in self._readers.items():
            for entry in reader.new():
                self.own[name].append(entry)
                self._site_event(name, entry.event)
                news = True
        for own in self._reader.new():
            self.centre.append(own)
            self._centre_event(own.event)
            news = True
        return news

    def _site_event(self, name: str, event: SiteEvent) -> None:
        match event:
            case at_site.Preparing(what):
                self._set(name, state="preparing", what=what)
            case at_site.TuneStarted(concept, class_word, pictures, steps):
                self._set(
                    name,
                    state="tuning",
                    concept=concept,
                    class_word=class_word,
                    pictures=pictures,
                    steps=steps,
                )
            case at_site.Tuning(step=step, loss=loss):
                self._set(name, step=step, loss=loss)
            case at_site.Signed(concept, word):
                self._set(name, state="signed", concept=concept, class_word=word)
            case at_site.Tuned() | at_site.Sent():
                self._set(name, state=event.kind())
            case at_site.TuneFailed(error) | at_site.Failed(error=error):
                self._set(name, state="failed", reason=error)

    def _centre_event(self, event: CentreEvent) -> None:
        match event:
            case at_centre.Serving():
                self.progress = replace(self.progress, started=True)
            case at_centre.Accepted(site) | at_centre.Refused(site):
                self._set(site, state=event.kind(), reason=event.reason)
            case at_centre.Fusing(what, share):
                self.progress = replace(self.progress, fusing=share, fusing_what=what)
            case at_centre.Published(version):
                self.progress = replace(
                    self.progress, fusing=1.0, fusing_what="", release=version
                )
            case at_centre.Delivered(site):
                self._set(site, state="delivered")
            case at_centre.FusionFailed(reason) | at_centre.Crashed(reason):
                self.progress = replace(self.progress, failure=reason)
            case at_centre.Finished():
                self.progress = replace(self.progress, finished=True)

    def _set(self, name: str, **changes: object) -> None:
        sites = dict(self.progress.sites)
        if name in sites:
            sites[name] = replace(sites[name], **changes)  # type: ignore[arg-type]
            self.progress = replace(self.progress, sites=sites)
