"""When to fuse: whenever `publishing.pending`, and the registry has settled.

A site that sends on and on does not keep the others waiting: the registry counts as
settled, too, once a release has been due for the longest settling wait.
"""

import time
from collections.abc import Callable

from mos_runtime.journal import Journal
from mos_server.federation import events
from mos_server.federation.carrier import ConversationSettings, Fuser
from mos_server.federation.publishing import pending
from mos_server.registry.registry import Registry

_LOOK_EVERY_SECONDS = 0.5


class FusionClerk:
    """Has releases published as the registry changes; keeps no state that matters."""

    def __init__(
        self,
        registry: Registry,
        fuser: Fuser,
        settings: ConversationSettings,
        journal: Journal,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is fused before the first `step`."""
        self._registry, self._fuser = registry, fuser
        self._settings, self._journal, self._clock = settings, journal, clock
        self._seen: frozenset[str] = frozenset()
        self._changed_at = self._looked_at = float("-inf")
        self._due = False
        self._due_since = float("inf")
        self._running = False
        newest = registry.published.newest()
        self._announced = newest.version if newest else 0
        self._left_out = len(registry.bundles.left_out())
        self._failed: frozenset[str] | None = None
        self._failures = 0
        self._retry_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether a release is due or being made, and has not just failed."""
        return self._running or (self._due and self._failed != self._seen)

    def step(self, *, hold: bool = False) -> None:
        """Look at the registry, and start or finish a fusion.

        Args:
            hold: Start nothing yet; more bundles are on their way.
        """
        self._announce()
        if self._running:
            if self._fuser.running():
                return
            self._running = False
            self._finish()
            self._looked_at = float("-inf")
        now = self._clock()
        if now - self._looked_at < _LOOK_EVERY_SECONDS and not self._settings.sites:
            return
        self._looked_at = now
        wanted = frozenset(bundle.digest for bundle in self._registry.bundles.current())
        if wanted != self._seen:
            self._seen, self._changed_at, self._failures = wanted, now, 0
            self._failed = None
        self._due = pending(self._registry)
        self._due_since = min(self._due_since, now) if self._due else float("inf")
        resting = self._failed == wanted and now < self._retry_at
        if self._due and self._is_settled(now) and not hold and not resting:
            self._due_since = float("inf")
            self._journal.write(events.FusionStarted(concepts=len(wanted)))
            self._fuser.start()
            self._running = True

    def _is_settled(self, now: float) -> bool:
        settle = self._settings.settle_seconds
        longest = max(settle, self._settings.longest_settle_seconds)
        return now - self._changed_at >= settle or now - self._due_since >= longest

    def _finish(self) -> None:
        failure = self._fuser.failure()
        if failure:
            self._failed = self._seen
            wait = self._settings.retry_seconds * 2 ** min(self._failures, 6)
            self._failures += 1
            self._retry_at = self._clock() + wait
            self._journal.write(events.FusionFailed(reason=failure))
            return

    def _announce(self) -> None:
        for one in self._registry.bundles.left_out()[self._left_out :]:
            self._left_out += 1
            self._journal.write(
                events.LeftOut(
                    site=one.site,
                    concept=one.concept,
                    reason=f"{one.reason}: {one.text}",
                )
            )
        newest = self._registry.published.newest()
        if newest is None or newest.version == self._announced:
            return
        self._announced = newest.version
        self._journal.write(
            events.Published(
                version=newest.version,
                concepts=tuple(newest.concepts),
                bytes=newest.size,
            )
        )
