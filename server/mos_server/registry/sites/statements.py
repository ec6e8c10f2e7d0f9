"""What sites state besides bundles: withdrawals, and changes of key."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from mos_protocol.errors import AdmissionError, Reason
from mos_protocol.rules.statement_admission import AdmittedStatement
from mos_protocol.signed.statement import Rotation, Withdrawal
from mos_server.registry.sites.membership import check_still_welcome, keys_of
from mos_server.registry.sites.quotas import check_statement_rate
from mos_server.registry.storage.database import Database
from mos_server.registry.storage.tables import (
    WITHDRAWN,
    BundleRow,
    RotationRow,
    SiteRow,
    WithdrawalRow,
)


class Statements:
    """The statements of one centre's sites, part of its registry."""

    def __init__(self, database: Database) -> None:
        """Statements in `database`."""
        self._database = database

    def take(self, admitted: AdmittedStatement, now: int) -> None:
        """Do what a site has stated: withdraw a concept, or change its key.

        Args:
            admitted: What `admit_statement` returned.
            now: Unix time, seconds.

        Raises:
            AdmissionError: the site was revoked, or its counter passed, since then; it
                has made too many statements; or the new key is known already. Nothing
                changed.
        """
        with self._database.writing() as session:
            _record(session, admitted, now)


def _record(session: Session, admitted: AdmittedStatement, now: int) -> None:
    statement, key_id = admitted.statement, admitted.site.key.key_id
    site = check_still_welcome(session.get(SiteRow, key_id), statement.counter, key_id)
    check_statement_rate(session, site, keys_of(session, key_id), now)
    site.counter = statement.counter
    digest = admitted.signed.digest
    if isinstance(statement, Withdrawal):
        keys = keys_of(session, key_id)
        for row in session.scalars(
            select(BundleRow).where(
                BundleRow.key_id.in_(keys), BundleRow.concept == statement.concept
            )
        ):
            row.state = WITHDRAWN
        session.add(
            WithdrawalRow(
                digest=digest,
                key_id=key_id,
                concept=statement.concept,
                counter=statement.counter,
                received=now,
            )
        )
        return
    _change_key(session, site, statement, digest, now)


def _change_key(
    session: Session, site: SiteRow, rotation: Rotation, digest: str, now: int
) -> None:
    new = rotation.new_key
    if session.get(SiteRow, new.key_id) is not None:
        raise AdmissionError(
            Reason.OUT_OF_BOUNDS, f"the new key {new.short} is known here already"
        )
    session.add(
        SiteRow(
            key_id=new.key_id,
            name=site.name,
            key=new.raw,
            node_key=site.node_key,
            revoked=False,
            counter=rotation.counter,
            admitted=now,
            quota=site.quota,
        )
    )
    # What the old key brought stays, and nothing more comes by it.
    site.revoked, site.kept, site.successor = True, True, new.key_id
    session.add(
        RotationRow(
            digest=digest,
            key_id=site.key_id,
            successor=new.key_id,
            counter=rotation.counter,
            received=now,
        )
    )
