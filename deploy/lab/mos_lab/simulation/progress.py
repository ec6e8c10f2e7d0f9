"""Where a simulation stands, told from the journals of centre and sites."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mos_lab.simulation.plan import SimulationPlan
from mos_runtime.journal import Event, JournalReader
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
    centre: list[Event] = field(default_factory=list)
    """All events of the centre so far."""

    own: dict[str, list[Event]] = field(default_factory=dict)
    """All events of each site so far."""

    def __post_init__(self) -> None:
        """Begin at the beginning of every journal."""
        names = [site.name for site in self.plan.sites]
        self.progress = SimulationProgress({name: SiteProgress() for name in names})
        self.own = {name: [] for name in names}
        self._readers = {
            name: JournalReader(self.plan.site_journal(self.folder, name))
            for name in names
        }
        self._reader = JournalReader(self.folder / JOURNAL_FILE)

    def look(self) -> bool:
        """Take in what is new; whether anything was."""
        news = False
        for name, reader in self._readers.items():
            for event in reader.new():
                self.own[name].append(event)
                self._site_event(name, event)
                news = True
        for event in self._reader.new():
            self.centre.append(event)
            self._centre_event(event)
            news = True
        return news

    def _site_event(self, name: str, event: Event) -> None:
        facts = event.facts
        if event.kind == "preparing":
            self._set(name, state="preparing", what=facts["what"])
        elif event.kind == "tune-started":
            self._set(
                name,
                state="tuning",
                concept=facts["concept"],
                class_word=facts["class_word"],
                pictures=facts["pictures"],
                steps=facts["steps"],
            )
        elif event.kind == "tuning":
            self._set(name, step=facts["step"], loss=facts["loss"])
        elif event.kind == "signed":
            self._set(
                name,
                state="signed",
                concept=facts["concept"],
                class_word=facts["class_word"],
            )
        elif event.kind in ("tuned", "sent"):
            self._set(name, state=event.kind)
        elif event.kind in ("tune-failed", "failed"):
            self._set(name, state="failed", reason=facts["error"])

    def _centre_event(self, event: Event) -> None:
        facts = event.facts
        if event.kind == "serving":
            self.progress = replace(self.progress, started=True)
        elif event.kind in ("accepted", "refused"):
            self._set(facts["site"], state=event.kind, reason=facts["reason"])
        elif event.kind == "fusing":
            self.progress = replace(
                self.progress, fusing=facts["share"], fusing_what=facts["what"]
            )
        elif event.kind == "published":
            self.progress = replace(
                self.progress, fusing=1.0, fusing_what="", release=facts["version"]
            )
        elif event.kind == "delivered":
            self._set(facts["site"], state="delivered")
        elif event.kind in ("fusion-failed", "crashed"):
            self.progress = replace(self.progress, failure=facts["reason"])
        elif event.kind == "finished":
            self.progress = replace(self.progress, finished=True)

    def _set(self, name: str, **changes: object) -> None:
        sites = dict(self.progress.sites)
        if name in sites:
            sites[name] = replace(sites[name], **changes)  # type: ignore[arg-type]
            self.progress = replace(self.progress, sites=sites)
