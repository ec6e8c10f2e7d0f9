"""From the bundles that stand to the next release.

Bundles are read back from the registry, fused, signed and stored in that order; sites
and concepts stand in the release as they do in the registry, by name.
"""

import shutil
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from mos_protocol.errors import Reason
from mos_protocol.signed.release import (
    RELEASE_LIFETIME_SECONDS,
    Release,
    ReleasedConcept,
)
from mos_server.errors import HeldError, SupersededError, UnfusableError
from mos_server.registry.home import CentreHome
from mos_server.registry.keychain import endorsements
from mos_server.registry.records import StoredBundle
from mos_server.registry.registry import Registry

if TYPE_CHECKING:
    from mos_model.bases.base import Base
    from mos_server.fusion import FusionSettings, OnProgress
    from mos_server.fusion.gate import GateLimits

_RENEW_SHARE: Final = 1 / 3


def pending(registry: Registry, *, now: int | None = None) -> bool:
    """Whether `publish` would publish: bundles or the key changed, or the end is near.

    A release is renewed, with the same content, when less than a third of its life is
    left: sites take an expired one for a centre that is being held back from them. When
    the last concept is withdrawn, a release without any takes the place of the one
    that held it.
    """
    current = registry.bundles.current()
    newest = registry.published.newest()
    if newest is None:
        return bool(current)
    if newest.bundles != {bundle.digest for bundle in current}:
        return True
    if newest.signer != registry.home.signing_key().public.key_id:
        return True
    moment = int(time.time()) if now is None else now
    life = newest.expires - newest.created
    return newest.expires - moment < life * _RENEW_SHARE


def publish(
    home: CentreHome,
    registry: Registry,
    base: "Base",
    *,
    lifetime_seconds: int = RELEASE_LIFETIME_SECONDS,
    now: int | None = None,
    settings: "FusionSettings | None" = None,
    gate: "GateLimits | None" = None,
    on_progress: "OnProgress | None" = None,
) -> Release | None:
    """Fuse all that stands, sign it as the next release and store it.

    A bundle that cannot be fused, or that the gate holds, is left out and its site
    learns why; where the newest release has an older one of the same concept, that one
    stays.

    Args:
        home: Of the centre whose key signs.
        registry: Its current bundles are fused.
        base: The base they were tuned on; unchanged afterwards.
        lifetime_seconds: How long sites may trust the release.
        now: Unix time, seconds; the clock's where None.
        settings: Of the fusion; the base's own by default.
        gate: What a release may change (`gating`); None publishes without measuring.
        on_progress: Called with what happens, and the share that is done.

    Returns:
        The release; None where nothing has ever stood, or nothing changed since the
        newest.

    Raises:
        MosError: what is left cannot be fused, or the release not be stored; the newest
            release is still the one it was.
    """
    moment = int(time.time()) if now is None else now
    fuse = partial(_fused, home, registry, base, settings, gate, on_progress)
    while pending(registry, now=moment):
        try:
            return _published(home, registry, base, lifetime_seconds, moment, fuse)
        except UnfusableError as culprit:
            # Nothing of the work on the others is lost: the ledger has it.
            registry.bundles.leave_out(culprit.digest, str(culprit), moment)
        except HeldError as held:
            reason = Reason.QUARANTINED
            registry.bundles.leave_out(held.digest, str(held), moment, reason=reason)
        except SupersededError:
            continue
    return None


def _published(
    home: CentreHome,
    registry: Registry,
    base: "Base",
    lifetime_seconds: int,
    now: int,
    fuse: Callable[[tuple[StoredBundle, ...]], tuple[bytes, dict[str, object]]],
) -> Release:
    current, newest = registry.bundles.current(), registry.published.newest()
    unchanged = newest is not None and newest.bundles == {b.digest for b in current}
    if newest is not None and unchanged:
        payload, report = registry.published.read(newest.version).payload, None
    elif not current:
        payload, report = _empty(base), None
        # Nothing of what was withdrawn stays in saved work either.
        shutil.rmtree(home.ledger, ignore_errors=True)
    else:
        payload, report = fuse(current)
    key = home.signing_key()
    release = Release.sign(
        payload,
        version=1 if newest is None else newest.version + 1,
        previous="" if newest is None else newest.digest,
        concepts=[_released(bundle) for bundle in current],
        key=key,
        created=now,
        expires=now + lifetime_seconds,
        endorsements=endorsements(home),
    )
    registry.published.add(release, release.verified(key.public), report=report)
    return release


def _fused(
    home: CentreHome,
    registry: Registry,
    base: "Base",
    settings: "FusionSettings | None",
    gate: "GateLimits | None",
    on_progress: "OnProgress | None",
    current: tuple[StoredBundle, ...],
) -> tuple[bytes, dict[str, object]]:
    from mos_server.federation.gating import Gate
    from mos_server.federation.ledger_keeping import fuse_standing
    from mos_server.fusion.narrowing import narrowed

    fusion = fuse_standing(
        home.ledger,
        registry,
        base,
        current,
        settings=settings,
        on_progress=on_progress,
    )
    report = fusion.report.to_dict()
    if gate is not None:
        watch = Gate(home, registry, base, current, gate, settings)
        report["gate"] = watch.check(fusion)
    return narrowed(fusion.model).to_bytes(), report


def _empty(base: "Base") -> bytes:
    """A fused model of no concept: the base as it is, in updates of zeros."""
    import torch

    from mos_model.concepts.concept import FusedModel, LoraFactors

    lora = {
        module: LoraFactors(torch.zeros(1, d_in), torch.zeros(d_out, 1))
        for module, (d_out, d_in) in base.inventory.projections.items()
    }
    return FusedModel(base.inventory.base, lora, ()).to_bytes()


def _released(bundle: StoredBundle) -> ReleasedConcept:
    return ReleasedConcept(
        site=bundle.site,
        concept=bundle.concept,
        class_word=bundle.class_word,
        signer=bundle.signer,
        bundle_sha256=bundle.digest,
    )
