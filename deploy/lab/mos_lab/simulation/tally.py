"""What a simulation came to, counted from its journals and the centre's registry."""

import time
from collections.abc import Iterable
from pathlib import Path

from mos_client.federation.events import Tuned, TuneStarted
from mos_lab.errors import SimulationError
from mos_lab.simulation.outcome import SimulationOutcome, SiteOutcome
from mos_lab.simulation.plan import SimulationPlan
from mos_lab.simulation.progress import Watch
from mos_runtime.journal import Entry, Event
from mos_server.federation.events import (
    Accepted,
    Delivered,
    Published,
    Received,
    Refused,
    Serving,
)
from mos_server.registry.registry import Registry


def tally(
    folder: Path,
    plan: SimulationPlan,
    watch: Watch,
    registry: Registry,
    *,
    begun: float,
) -> SimulationOutcome:
    """The outcome of a simulation that has ended.

    Args:
        folder: The simulation's.
        plan: Who took part.
        watch: Has read all journals.
        registry: The centre's.
        begun: Unix time at which it began, seconds.

    Raises:
        SimulationError: no release came of it; it says why.
    """
    newest = registry.published.newest()
    if newest is None:
        raise SimulationError(_why(watch))
    return SimulationOutcome(
        base=plan.base,
        seed=plan.seed,
        steps=plan.steps,
        sites=tuple(_site(folder, plan, watch, site.name) for site in plan.sites),
        release=newest.version,
        release_file=str(newest.path.resolve().relative_to(folder)),
        release_bytes=newest.size,
        concepts=newest.concepts,
        seconds=_seconds(watch, begun),
    )


def _site(folder: Path, plan: SimulationPlan, watch: Watch, name: str) -> SiteOutcome:
    progress, own = watch.progress.sites[name], watch.own[name]
    centre = [e.event for e in watch.centre if getattr(e.event, "site", "") == name]
    accepted = any(isinstance(event, Accepted) for event in centre)
    files = sorted((plan.home(folder, name) / "sent").glob("*.safetensors"))
    delivered = [event for event in centre if isinstance(event, Delivered)]
    began, ended = _first(own, TuneStarted), _last(own, Tuned)
    return SiteOutcome(
        site=name,
        pictures=progress.pictures,
        concept=progress.concept,
        class_word=progress.class_word,
        concept_file=str(files[-1].relative_to(folder)) if files else "",
        accepted=accepted,
        reason="" if accepted else progress.reason,
        bytes_sent=sum(e.bytes for e in centre if isinstance(e, Received)),
        bytes_received=sum(e.bytes for e in delivered),
        tune_seconds=round(ended - began, 3) if began and ended else 0.0,
        release=max((e.version for e in delivered), default=0),
    )


def _seconds(watch: Watch, begun: float) -> dict[str, float]:
    everyone = [entry for own in watch.own.values() for entry in own]
    marks = {
        "start": _first(everyone, TuneStarted) or _first(watch.centre, Serving),
        "tune": _last(everyone, Tuned),
        "verify": _last(watch.centre, Accepted, Refused),
        "fuse": _last(watch.centre, Published),
        "deliver": _last(watch.centre, Delivered),
    }
    seconds, before = {}, begun
    for phase, mark in marks.items():
        seconds[phase] = round(max(0.0, mark - before), 3) if mark else 0.0
        before = max(before, mark)
    return {**seconds, "total": round(time.time() - begun, 3)}


def _why(watch: Watch) -> str:
    if watch.progress.failure:
        return f"no release: {watch.progress.failure}"
    reasons = [
        f"{name}: {site.reason}"
        for name, site in watch.progress.sites.items()
        if site.reason
    ]
    return f"no release: {'; '.join(reasons) or 'no site brought a concept'}"


def _first(entries: Iterable[Entry[Event]], *kinds: type[Event]) -> float:
    times = [one.time for one in entries if isinstance(one.event, kinds)]
    return min(times, default=0.0)


def _last(entries: Iterable[Entry[Event]], *kinds: type[Event]) -> float:
    times = [one.time for one in entries if isinstance(one.event, kinds)]
    return max(times, default=0.0)
