"""Who is a site, and under which key.

A site is a row of keys: each names the next as its successor, and only the newest can
sign. Concepts belong to the site, so a newer key replaces and withdraws what an older
one of the same site brought; a site of the same name that is no successor does not.
"""

import time

from sqlalchemy import select
from sqlalchemy.orm import Session

from mos_model.concepts.names import checked_name
from mos_protocol.errors import AdmissionError, Reason
from mos_protocol.rules.admission import KnownSite
from mos_protocol.signed.keys import VerifyKey
from mos_server.errors import RegistryError
from mos_server.registry.records import SiteRecord
from mos_server.registry.sites.node_keys import is_same_key, openssh_form
from mos_server.registry.sites.quotas import Quota
from mos_server.registry.storage.database import Database
from mos_server.registry.storage.tables import SiteRow


class Membership:
    """The sites of one centre, part of its registry."""

    def __init__(self, database: Database) -> None:
        """Sites in `database`."""
        self._database = database

    def admit(
        self,
        name: str,
        key: VerifyKey,
        node_key: bytes,
        *,
        quota: Quota | None = None,
        now: int | None = None,
    ) -> None:
        """Let a site's bundles in; admitting it again changes its quota, if given.

        Args:
            name: The site's name, part of its concepts' full names.
            key: Verifies its bundles.
            node_key: Its SuperNode's public key, as enrolled; kept in OpenSSH form.
            quota: What it may send and keep; the default, or its present one, for None.
            now: Unix time, seconds; the clock's where None.

        Raises:
            RegistryError: the key was revoked, is another site's, or the name or node
                key is; or the node key is not readable.
            ConceptError: `name` is not a name.
        """
        checked_name(name, "site")
        node_key = openssh_form(node_key)
        with self._database.writing() as session:
            for row in session.scalars(select(SiteRow)):
                check_admission(row, name, key, node_key)
            known = session.get(SiteRow, key.key_id)
            if known is not None:
                known.node_key = node_key
                known.quota = known.quota if quota is None else str(quota)
                return
            session.add(
                SiteRow(
                    key_id=key.key_id,
                    name=name,
                    key=key.raw,
                    node_key=node_key,
                    revoked=False,
                    counter=0,
                    admitted=int(time.time()) if now is None else now,
                    quota="" if quota is None else str(quota),
                )
            )

    def revoke(self, name: str, *, keep_concepts: bool = False) -> None:
        """Refuse whatever comes from a site from now on.

        Args:
            name: The site's. One revoked before may be named again, to withdraw
                concepts that were kept.
            keep_concepts: Go on fusing what it brought; else it leaves the release.

        Raises:
            RegistryError: no active site of that name, and none with kept concepts.
        """
        with self._database.writing() as session:
            rows = session.scalars(
                select(SiteRow).where(
                    SiteRow.name == name, ~SiteRow.revoked | SiteRow.kept
                )
            ).all()
            if not rows:
                raise RegistryError(
                    f"site {name!r}: no active site of that name; `mos-server sites` "
                    "lists them"
                )
            for row in rows:
                row.revoked, row.kept = True, keep_concepts

    def sites(self) -> tuple[SiteRecord, ...]:
        """Every key of every site ever admitted, by name and then by time."""
        order = (SiteRow.name, SiteRow.admitted, SiteRow.key_id)
        with self._database.reading() as session:
            rows = session.scalars(select(SiteRow).order_by(*order))
            return tuple(map(site_record, rows))

    def known(self) -> dict[str, KnownSite]:
        """What admission has to know of every site, by key id."""
        return {
            site.key.key_id: KnownSite(
                name=site.name,
                key=site.key,
                revoked=site.revoked,
                counter=site.counter,
            )
            for site in self.sites()
        }


def keys_of(session: Session, key_id: str) -> frozenset[str]:
    """A key's id and those of all keys that the same site had before it."""
    before = {
        row.successor: row.key_id
        for row in session.scalars(select(SiteRow).where(SiteRow.successor != ""))
    }
    found = [key_id]
    while found[-1] in before:
        found.append(before[found[-1]])
    return frozenset(found)


def site_record(row: SiteRow) -> SiteRecord:
    """A row as plain values."""
    return SiteRecord(
        name=row.name,
        key=VerifyKey.from_raw(row.key),
        node_key=row.node_key,
        revoked=row.revoked,
        kept=row.kept,
        successor=row.successor,
        counter=row.counter,
        admitted=row.admitted,
        quota=Quota.parse(row.quota),
    )


def check_admission(row: SiteRow, name: str, key: VerifyKey, node_key: bytes) -> None:
    """Refuse a newcomer that a site already admitted stands in the way of.

    Args:
        row: The site already admitted.
        name: The newcomer's.
        key: The newcomer's.
        node_key: The newcomer's, in OpenSSH form.

    Raises:
        RegistryError: it does.
    """
    if row.key_id == key.key_id:
        if row.revoked:
            raise RegistryError(
                f"site {name!r}: key {key.short} was revoked and stays so; the site "
                "enrols with a new home and so with a new key"
            )
        if row.name != name:
            raise RegistryError(
                f"site {name!r}: key {key.short} is already admitted as {row.name!r}"
            )
        return
    if row.successor:
        return
    if row.name == name and not row.revoked:
        raise RegistryError(
            f"site {name!r}: the name is taken by key {row.key_id[:12]}; revoke that "
            "site first, or let the new one enrol under another name"
        )
    if row.name == name and row.kept:
        raise RegistryError(
            f"site {name!r}: concepts of a revoked site of that name are still fused; "
            f"`mos-server revoke {name} --withdraw-concepts` first, or let the new "
            "one enrol under another name"
        )
    if is_same_key(row.node_key, node_key):
        raise RegistryError(
            f"site {name!r}: its node key is already site {row.name!r}'s; the site "
            "enrols with a home of its own"
        )


def check_still_welcome(site: SiteRow | None, counter: int, key_id: str) -> SiteRow:
    """The site, unless it was revoked or its counter passed since it was looked at.

    Raises:
        AdmissionError: one or the other.
    """
    if site is None:
        raise AdmissionError(
            Reason.UNKNOWN_SIGNER, f"key {key_id[:12]} was never admitted"
        )
    if site.revoked:
        raise AdmissionError(
            Reason.REVOKED_SIGNER, f"site {site.name!r} was revoked meanwhile"
        )
    if counter <= site.counter:
        reason = Reason.REPLAYED if counter == site.counter else Reason.ROLLED_BACK
        raise AdmissionError(
            reason, f"counter {counter}: {site.counter} was accepted meanwhile"
        )
    return site
