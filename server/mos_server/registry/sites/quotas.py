"""How much one site may send and keep at the centre.

A quota is text in the registry and on the command line, `concepts=32,megabytes=2048,
per-hour=60`; what it leaves out is the default. It is checked within the transaction
that accepts a bundle or a statement, over all keys that the site has had.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from mos_protocol.errors import AdmissionError, Reason
from mos_server.errors import RegistryError
from mos_server.registry.storage.tables import (
    STANDING,
    BundleRow,
    ReleasedBundleRow,
    RotationRow,
    SiteRow,
    WithdrawalRow,
)

HOUR: Final = 3600
_MEGABYTE: Final = 10**6
_LARGEST: Final = 10**9


@dataclass(frozen=True)
class Quota:
    """What a site may send and keep."""

    concepts: int = 32
    """Concepts that are fused at a time."""

    megabytes: int = 2048
    """Its bundles on the centre's disk, 10^6 bytes."""

    per_hour: int = 60
    """Bundles accepted within an hour; and as many statements."""

    @staticmethod
    def parse(text: str) -> "Quota":
        """The quota of `name=number,...`; `parse(str(q)) == q`, "" is the default.

        Raises:
            RegistryError: an unknown name, or not a number from 1 to 10^9.
        """
        known = {name.replace("_", "-"): name for name in asdict(Quota())}
        given: dict[str, Any] = {}
        for part in filter(None, text.split(",")):
            name, _, number = part.strip().partition("=")
            digits = number.isascii() and number.isdigit() and len(number) < 11
            if name not in known or not digits or not 0 < int(number) <= _LARGEST:
                raise RegistryError(
                    f"quota {part[:40]!r}: write it as {Quota()}; numbers from 1"
                )
            given[known[name]] = int(number)
        return Quota(**given)

    def __str__(self) -> str:
        """As `parse` reads it."""
        return ",".join(f"{k.replace('_', '-')}={v}" for k, v in asdict(self).items())


@dataclass(frozen=True)
class Usage:
    """What a site uses of its quota."""

    concepts: int
    bytes: int
    """Of its bundles on the disk."""

    last_hour: int
    """Bundles accepted within the last hour."""


def usage(session: Session, keys: Collection[str], now: int) -> Usage:
    """What the site of these keys uses now (Unix time, seconds)."""
    own = BundleRow.key_id.in_(keys)
    concepts, recent = (
        select(func.count()).where(own, condition)
        for condition in (
            BundleRow.state.in_(STANDING),
            BundleRow.received > now - HOUR,
        )
    )
    return Usage(
        concepts=session.scalar(concepts) or 0,
        bytes=_kept_bytes(session, keys),
        last_hour=session.scalar(recent) or 0,
    )


def check_quota(
    session: Session, site: SiteRow, keys: Collection[str], coming: BundleRow
) -> None:
    """Refuse a bundle that its site has no room for.

    Args:
        session: A writing one; `coming` is not in it yet.
        site: Whose bundle it is.
        keys: Of all keys of that site.
        coming: The bundle.

    Raises:
        AdmissionError: it would exceed the quota; nothing changed.
    """
    quota = Quota.parse(site.quota)
    _check_rate(session, BundleRow, keys, quota, coming.received)
    others = session.scalar(
        select(func.count()).where(
            BundleRow.key_id.in_(keys),
            BundleRow.state.in_(STANDING),
            BundleRow.concept != coming.concept,
        )
    )
    if (others or 0) + 1 > quota.concepts:
        raise AdmissionError(
            Reason.OVER_QUOTA,
            f"this site has {others} concepts at the centre, which are all it may "
            "have; withdraw one, or ask the centre for a larger quota",
        )
    kept = _kept_bytes(session, keys, without=coming.concept)
    if kept + coming.size > quota.megabytes * _MEGABYTE:
        raise AdmissionError(
            Reason.OVER_QUOTA,
            f"{coming.size} bytes more than the {kept} bytes that this site has at the "
            f"centre; at most {quota.megabytes} MB are kept. Withdraw a concept, or "
            "ask the centre for a larger quota",
        )


def check_statement_rate(
    session: Session, site: SiteRow, keys: Collection[str], now: int
) -> None:
    """Refuse a statement of a site that has made too many within an hour.

    Raises:
        AdmissionError: it has; nothing changed.
    """
    quota = Quota.parse(site.quota)
    for table in (WithdrawalRow, RotationRow):
        _check_rate(session, table, keys, quota, now)


def _check_rate(
    session: Session,
    table: type[BundleRow] | type[WithdrawalRow] | type[RotationRow],
    keys: Collection[str],
    quota: Quota,
    now: int,
) -> None:
    recent = select(func.count()).where(
        table.key_id.in_(keys), table.received > now - HOUR
    )
    if (session.scalar(recent) or 0) >= quota.per_hour:
        raise AdmissionError(
            Reason.OVER_QUOTA,
            f"the centre takes {quota.per_hour} an hour from this site; send it again "
            "later",
        )


def _kept_bytes(session: Session, keys: Collection[str], *, without: str = "") -> int:
    """Bytes of a site's bundles whose files are kept, those of one concept aside.

    Of that concept only what the newest release holds stays, once a newer bundle is
    accepted.
    """
    newest = select(func.max(ReleasedBundleRow.version)).scalar_subquery()
    released = select(ReleasedBundleRow.digest).where(
        ReleasedBundleRow.version == newest
    )
    total = select(func.sum(BundleRow.size)).where(
        BundleRow.key_id.in_(keys),
        or_(
            BundleRow.digest.in_(released),
            BundleRow.state.in_(STANDING) & (BundleRow.concept != without),
        ),
    )
    return int(session.scalar(total) or 0)  # a Decimal in PostgreSQL
