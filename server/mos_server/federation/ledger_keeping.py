"""The centre's ledger: kept level with the bundles that stand in the registry.

It lies in the centre's home and is no more than saved work. Where it is damaged, or of
another base or other settings, it is made anew from the registry's bundles, and that is
told in one line.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mos_protocol.signed.bundle import Bundle
from mos_runtime.errors import MosError, StorageError
from mos_server.errors import LedgerError, SupersededError, UnfusableError
from mos_server.registry.records import StoredBundle
from mos_server.registry.registry import Registry

if TYPE_CHECKING:
    from mos_model.bases.base import Base
    from mos_model.concepts.concept import Concept
    from mos_server.fusion import Fusion, FusionSettings, Ledger, OnProgress

_JOINED_SHARE = 0.95


def fuse_standing(
    folder: Path,
    registry: Registry,
    base: "Base",
    current: Sequence[StoredBundle],
    *,
    settings: "FusionSettings | None" = None,
    on_progress: "OnProgress | None" = None,
) -> "Fusion":
    """Fuse the bundles that stand; only what the ledger does not hold is captured.

    Args:
        folder: The ledger's.
        registry: Where the bundles are read from.
        base: The base they were tuned on; unchanged afterwards.
        current: Which bundles stand.
        settings: Of the fusion; the base's own by default. Where concepts cannot join
            one by one with them, all are captured anew and no ledger is kept.
        on_progress: Called with what happens.

    Returns:
        The fusion, its model compact (`compacting`).

    Raises:
        UnfusableError: one bundle cannot be fused; the ledger keeps the others.
        SupersededError: one is not current any more, and its file is gone.
        MosError: a bundle cannot be read, or the disk is full.
    """
    from mos_server.fusion import FusionSettings, Ledger, can_join, fuse_concepts
    from mos_server.fusion.checks import check_concept
    from mos_server.fusion.ledger.compacting import compact
    from mos_server.fusion.progress import silent

    settings = settings or FusionSettings.for_base(base)
    tell = on_progress or silent
    if not can_join(settings):
        concepts = [(one.site, _concept(registry, one)) for one in current]
        for stored, (_, concept) in zip(current, concepts, strict=True):
            with _blaming(stored):
                check_concept(base, f"{stored.site}/{stored.concept}", concept)
        fusion = fuse_concepts(base, concepts, settings=settings, on_progress=tell)
        return replace(fusion, model=compact(fusion.model))
    ledger = Ledger(folder, base, settings)
    try:
        fusion = _level(ledger, registry, current, tell)
    except LedgerError as error:
        tell(f"the ledger is made anew: {error}", 0.0)
        ledger.clear()
        fusion = _level(ledger, registry, current, tell)
    tell("fused", 1.0)
    return fusion


def fuse_without(
    folder: Path,
    registry: Registry,
    base: "Base",
    current: Sequence[StoredBundle],
    gone: Collection[str],
    *,
    settings: "FusionSettings | None" = None,
) -> "Fusion":
    """What `fuse_standing` has just fused, with some bundles left out.

    The withdrawal is exact, and the ledger itself is left as it is.

    Args:
        folder: The ledger's.
        registry: Where the bundles are read from.
        base: The base.
        current: Which bundles stand.
        gone: Digests of those to leave out; not all.
        settings: Of the fusion, as before.
    """
    from mos_server.fusion import FusionSettings, Ledger, can_join

    settings = settings or FusionSettings.for_base(base)
    if can_join(settings):
        ledger = Ledger(folder, base, settings)
        return ledger.fuse(compact=True, without=gone)
    others = [one for one in current if one.digest not in gone]
    return fuse_standing(folder, registry, base, others, settings=settings)


def _level(
    ledger: "Ledger",
    registry: Registry,
    current: Sequence[StoredBundle],
    tell: "OnProgress",
) -> "Fusion":
    from mos_server.fusion.progress import part_of

    wanted = {bundle.digest: bundle for bundle in current}
    kept = {entry.source for entry in ledger.entries()}
    coming = [bundle for digest, bundle in wanted.items() if digest not in kept]
    replaced = {(bundle.site, bundle.concept) for bundle in coming}
    for entry in ledger.entries():
        if entry.source not in wanted and (entry.site, entry.concept) not in replaced:
            ledger.withdraw(entry.name)
    for place, bundle in enumerate(coming):
        first, last = place / len(coming), (place + 1) / len(coming)
        share = part_of(tell, _JOINED_SHARE * first, _JOINED_SHARE * last)
        concept = _concept(registry, bundle)
        with _blaming(bundle):
            ledger.join(bundle.site, concept, source=bundle.digest, on_progress=share)
    solving = part_of(tell, _JOINED_SHARE, 1.0)
    return ledger.fuse(compact=True, on_progress=solving)


def _concept(registry: Registry, stored: StoredBundle) -> "Concept":
    from mos_model.concepts.concept import Concept

    try:
        content = registry.bundles.content(stored.digest)
    except StorageError as error:
        if stored.digest in {one.digest for one in registry.bundles.current()}:
            raise
        raise SupersededError(f"{stored.site}/{stored.concept}: replaced") from error
    with _blaming(stored):
        bundle = Bundle.from_bytes(content, max_bytes=stored.size)
        return Concept.from_bytes(bundle.payload)


@contextmanager
def _blaming(bundle: StoredBundle) -> Iterator[None]:
    """Within it, what fails is the fault of one bundle, the ledger and disk aside."""
    from torch.linalg import LinAlgError  # type: ignore[attr-defined]

    try:
        yield
    except (LedgerError, StorageError):
        raise
    except (MosError, LinAlgError) as error:
        raise UnfusableError(bundle.digest, str(error)) from error
