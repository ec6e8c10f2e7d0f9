"""Quarantined bundles: accepted, held back by the gate, the operator's to decide.

A quarantined bundle stays as it is, its file too, until the operator releases or
refuses it, or its site sends a newer one of the same concept or withdraws it. A
released bundle is fused again and never held again.
"""

import time

from sqlalchemy import select
from sqlalchemy.orm import Session

from mos_protocol.errors import Reason
from mos_server.errors import RegistryError
from mos_server.registry.records import LeftOutRecord
from mos_server.registry.sites.membership import keys_of
from mos_server.registry.storage.database import Database
from mos_server.registry.storage.tables import (
    CURRENT,
    LEFT_OUT,
    QUARANTINED,
    RELEASED,
    SUPERSEDED,
    BundleRow,
    LeftOutRow,
)


class Quarantine:
    """The quarantined bundles of one centre, part of its registry."""

    def __init__(self, database: Database) -> None:
        """Those of this database."""
        self._database = database

    def held(self) -> tuple[LeftOutRecord, ...]:
        """Every bundle in quarantine, oldest first."""
        with self._database.reading() as session:
            return tuple(LeftOutRecord.of(row) for row in _held(session))

    def named(self, name: str) -> LeftOutRecord:
        """The one of a name: `SITE/CONCEPT`, or the beginning of its digest.

        Raises:
            RegistryError: none, or several, are in quarantine under that name.
        """
        with self._database.reading() as session:
            return LeftOutRecord.of(_named(session, name))

    def release(self, name: str, *, now: int | None = None) -> LeftOutRecord:
        """Fuse it again, and never hold it again.

        Raises:
            RegistryError: none, or several, are in quarantine under that name.
        """
        with self._database.writing() as session:
            row = _named(session, name)
            standing = select(BundleRow).where(
                BundleRow.key_id.in_(keys_of(session, row.key_id)),
                BundleRow.concept == row.bundle.concept,
                BundleRow.state == CURRENT,
            )
            for older in session.scalars(standing):
                older.state = SUPERSEDED
            row.bundle.state, row.bundle.exempt = CURRENT, True
            return _decided(row, RELEASED, "released by the operator", now)

    def refuse(
        self, name: str, *, text: str = "", now: int | None = None
    ) -> LeftOutRecord:
        """Leave it out for good; its site learns that it was refused.

        Raises:
            RegistryError: none, or several, are in quarantine under that name.
        """
        with self._database.writing() as session:
            row = _named(session, name)
            row.bundle.state = LEFT_OUT
            words = text or f"refused by the operator; {row.text}"
            return _decided(row, Reason.REJECTED, words, now)


def _held(session: Session) -> list[LeftOutRow]:
    rows = session.scalars(
        select(LeftOutRow)
        .join(BundleRow)
        .where(BundleRow.state == QUARANTINED)
        .order_by(LeftOutRow.number)
    )
    return list(rows)


def _named(session: Session, name: str) -> LeftOutRow:
    held = _held(session)
    found = [
        row
        for row in held
        if name == f"{row.bundle.site.name}/{row.bundle.concept}"
        or (len(name) >= 8 and row.digest.startswith(name))
    ]
    if len(found) != 1:
        raise RegistryError(
            f"{name}: {len(found)} such bundles in quarantine; "
            "`mos-server quarantine list` lists them by SITE/CONCEPT"
        )
    return found[0]


def _decided(row: LeftOutRow, reason: str, text: str, now: int | None) -> LeftOutRecord:
    row.reason, row.text, row.told = reason, text, False
    row.decided = int(time.time()) if now is None else now
    return LeftOutRecord.of(row)
