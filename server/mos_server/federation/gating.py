"""The gate before a release: measured, compared with its limits, the culprit named.

A fusion whose behaviour is within the limits goes on to be signed. Of any other, one
bundle is held (`HeldError`): the one without which the figures are best, by exact
withdrawal from the ledger; bundles that the last release lacks come first. What is left
is fused and measured again, until it is within the limits or nothing new is left.
Bundles that the operator has released from quarantine are never held again; the rest is
measured without them, so that nobody else answers for what they do.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from mos_model.bases.base import Base
from mos_server.errors import HeldError
from mos_server.federation.ledger_keeping import fuse_without
from mos_server.fusion.gate import Behaviour, Canary, GateLimits, Plan, excesses
from mos_server.fusion.gate.blame import trials
from mos_server.fusion.gate.evidence import Evidence, write_evidence
from mos_server.fusion.report.outcome import Fusion
from mos_server.fusion.settings import FusionSettings
from mos_server.registry.home import CentreHome
from mos_server.registry.records import StoredBundle
from mos_server.registry.registry import Registry

_MOST_REASONS: Final = 3


class Gate:
    """Measures one fusion of some bundles."""

    def __init__(
        self,
        home: CentreHome,
        registry: Registry,
        base: Base,
        current: Sequence[StoredBundle],
        limits: GateLimits,
        settings: FusionSettings | None = None,
    ) -> None:
        """Nothing is measured yet.

        Args:
            home: Where the ledger is, and the evidence goes.
            registry: Of the bundles and the last release.
            base: The base; unchanged afterwards.
            current: The bundles that were fused.
            limits: What a release may change.
            settings: Of the fusion; the base's own by default.
        """
        self._home, self._registry, self._base = home, registry, base
        self._current, self._limits, self._settings = current, limits, settings
        newest = registry.published.newest()
        known = frozenset[str]() if newest is None else newest.bundles
        self._fresh = [one for one in current if one.digest not in known]
        self._kept = [one for one in current if one.digest in known]
        self._passed = [one for one in current if one.exempt]
        self._seed = secrets.token_hex(8)
        plan = Plan.of(
            base,
            limits,
            classes=[one.class_word for one in (*self._fresh, *self._kept)],
            kept=[_name(one) for one in self._kept if not one.exempt],
            seed=self._seed,
        )
        # Withdrawal is exact: this is the last release, but for what left it since.
        before = self._fusion_without(*self._fresh) if plan.concepts else None
        model = None if before is None else before.model
        self._canary = Canary(base, plan, limits, model)

    def check(self, fusion: Fusion) -> dict[str, Any]:
        """The figures of a fusion, for its report.

        Raises:
            HeldError: it is beyond the limits, and one bundle is the culprit.
        """
        began = time.process_time()
        judged = fusion if not self._passed else self._fusion_without()
        found = self._behaviour(judged)
        if judged is not None and excesses(found, self._limits):
            self._hold(judged, found)
        return {
            "behaviour": asdict(found),
            "limits": asdict(self._limits),
            "exceeded": [str(one) for one in excesses(found, self._limits)],
            "released_by_operator": [_name(one) for one in self._passed],
            "seed": self._seed,
            "seconds": round(time.process_time() - began, 3),
        }

    def _hold(self, fusion: Fusion, found: Behaviour) -> None:
        groups = [
            [one for one in group if not one.exempt]
            for group in (self._fresh, self._kept)
        ]
        tried = trials(
            groups,
            lambda one: self._behaviour(self._fusion_without(one)),
            self._limits,
        )
        culprit, rest = tried[0].gone, tried[0].rest
        beyond = excesses(found, self._limits)
        evidence = Evidence(
            bundle=culprit.digest,
            concept=_name(culprit),
            beyond=[str(one) for one in beyond],
            found=found,
            rest=rest,
            limits=self._limits,
            others={_name(trial.gone): trial.excess for trial in tried},
        )
        folder = self._home.quarantine / culprit.digest
        others = self._fusion_without(culprit)
        without = None if others is None else others.model
        write_evidence(folder, evidence, self._canary, fusion.model, without)
        reasons = "; ".join(map(str, beyond[:_MOST_REASONS]))
        raise HeldError(culprit.digest, reasons)

    def _behaviour(self, fusion: Fusion | None) -> Behaviour:
        """A release of no concept is the base as it is."""
        if fusion is None:
            return Behaviour()
        return self._canary.behaviour(fusion.model, fusion.report)

    def _fusion_without(self, *gone: StoredBundle) -> Fusion | None:
        """Of all but some, and but those that the operator released; None of none."""
        away = {one.digest for one in (*self._passed, *gone)}
        if len(away) == len(self._current):
            return None
        return fuse_without(
            self._home.ledger,
            self._registry,
            self._base,
            self._current,
            away,
            settings=self._settings,
        )


def _name(bundle: StoredBundle) -> str:
    return f"{bundle.site}/{bundle.concept}"
