"""The centre's memory: sites, bundles, refusals, releases, orders to tune.

Every change is one transaction: it happens whole or not at all, whoever else writes at
the same time (`mos-server admit` runs while `mos-server serve` does). What a change
depends on is read again inside its transaction. Files are written before the
transaction that names them commits, and content files are named by their digest: a
crash can leave a file that nothing names, never a name without its file.
"""

import hashlib
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Select, select

from mos_model.names import checked_name
from mos_protocol.messages import Verdict
from mos_protocol.rules.admission import AdmittedBundle, KnownSite
from mos_protocol.rules.statement_admission import AdmittedStatement
from mos_protocol.signed.keys import VerifyKey
from mos_protocol.signed.release import Release, ReleaseFacts
from mos_runtime.files import read_whole, write_atomically
from mos_server.errors import RegistryError
from mos_server.registry.database import Database
from mos_server.registry.home import CentreHome
from mos_server.registry.membership import (
    check_admission,
    check_still_welcome,
    keys_of,
    site_record,
)
from mos_server.registry.orders import TuneOrders
from mos_server.registry.published import Published
from mos_server.registry.records import (
    RefusalRecord,
    ReleaseRecord,
    SiteRecord,
    StoredBundle,
    TuneOrder,
)
from mos_server.registry.refusals import keep_aside
from mos_server.registry.statements import record_statement
from mos_server.registry.tables import (
    BundleRow,
    RefusalRow,
    RotationRow,
    SiteRow,
    WithdrawalRow,
)

_CURRENT: Final = "current"
_SUPERSEDED: Final = "superseded"
_WITHDRAWN: Final = "withdrawn"


class Registry:
    """The durable state of one centre; several processes may each have one open."""

    def __init__(self, home: CentreHome) -> None:
        """Open the registry of `home`, or begin it.

        Raises:
            RegistryError: the file is not a registry, or a newer version's.
            StorageError: the home cannot be written.
        """
        self.home = home
        self._database = Database(home.database_path, lock=home.folder / ".lock")
        self._published = Published(home.releases, self._database)
        self._orders = TuneOrders(self._database)

    # Sites

    def admit_site(
        self, name: str, key: VerifyKey, node_key: bytes, *, now: int | None = None
    ) -> None:
        """Let a site's bundles in; admitting the same site again changes nothing.

        Args:
            name: The site's name, part of its concepts' full names.
            key: Verifies its bundles.
            node_key: Its SuperNode's public key, as enrolled.
            now: Unix time, seconds; the clock's where None.

        Raises:
            RegistryError: the key was revoked, is another site's, or the name or node
                key is.
            ConceptError: `name` is not a name.
        """
        checked_name(name, "site")
        with self._database.writing() as session:
            for row in session.scalars(select(SiteRow)):
                check_admission(row, name, key, node_key)
            known = session.get(SiteRow, key.key_id)
            if known is not None:
                known.node_key = node_key
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
                )
            )

    def revoke_site(self, name: str, *, keep_concepts: bool = False) -> None:
        """Refuse whatever comes from a site from now on.

        Args:
            name: The site's. One revoked before may be named again, to withdraw
                concepts that were kept.
            keep_concepts: Go on fusing what it brought; else it leaves the release.

        Raises:
            RegistryError: no site of that name stands admitted, or has kept concepts.
        """
        with self._database.writing() as session:
            rows = session.scalars(
                select(SiteRow).where(
                    SiteRow.name == name, ~SiteRow.revoked | SiteRow.kept
                )
            ).all()
            if not rows:
                raise RegistryError(
                    f"site {name!r}: none of that name stands admitted; "
                    "`mos-server sites` lists them"
                )
            for row in rows:
                row.revoked, row.kept = True, keep_concepts

    def sites(self) -> tuple[SiteRecord, ...]:
        """Every key of every site ever admitted, by name and then by time."""
        order = (SiteRow.name, SiteRow.admitted, SiteRow.key_id)
        with self._database.reading() as session:
            rows = session.scalars(select(SiteRow).order_by(*order))
            return tuple(map(site_record, rows))

    def known_sites(self) -> dict[str, KnownSite]:
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

    # Bundles

    def accept(self, admitted: AdmittedBundle, now: int) -> None:
        """Store an admitted bundle, raise its site's counter, retire what it replaces.

        Args:
            admitted: What `Admission.admit` returned.
            now: Unix time, seconds.

        Raises:
            AdmissionError: the site was revoked, or its counter passed, since then.
            StorageError: the disk is full, or the like; nothing changed.
        """
        facts, key_id = admitted.facts, admitted.site.key.key_id
        content = admitted.bundle.to_bytes()
        blob = hashlib.sha256(content).hexdigest()
        with self._database.writing() as session:
            site = check_still_welcome(
                session.get(SiteRow, key_id), facts.counter, key_id
            )
            write_atomically(self.home.blobs / blob, content)
            for older in session.scalars(
                select(BundleRow).where(
                    BundleRow.key_id.in_(keys_of(session, key_id)),
                    BundleRow.concept == facts.concept,
                    BundleRow.state == _CURRENT,
                )
            ):
                older.state = _SUPERSEDED
            site.counter = facts.counter
            session.add(
                BundleRow(
                    digest=admitted.bundle.digest,
                    key_id=key_id,
                    concept=facts.concept,
                    class_word=facts.class_word,
                    base=facts.base,
                    rank=facts.rank,
                    counter=facts.counter,
                    size=len(content),
                    blob=blob,
                    received=now,
                    state=_CURRENT,
                )
            )

    def take_statement(self, admitted: AdmittedStatement, now: int) -> None:
        """Do what a site has stated: withdraw a concept, or change its key.

        Args:
            admitted: What `admit_statement` returned.
            now: Unix time, seconds.

        Raises:
            AdmissionError: the site was revoked, or its counter passed, since then; or
                the new key is known already. Nothing changed.
        """
        with self._database.writing() as session:
            record_statement(session, admitted, now, withdrawn=_WITHDRAWN)

    def refuse(
        self,
        content: bytes,
        reason: str,
        text: str,
        now: int,
        *,
        sender: str = "",
        digest: str = "",
    ) -> None:
        """Keep a refused bundle aside with its reason; nothing else changes.

        Args:
            content: What came.
            reason: A `Reason`, for programs.
            text: The same in words, for the sender.
            now: Unix time, seconds.
            sender: Key id of whoever brought it, where that is known.
            digest: What it was offered as.

        Raises:
            StorageError: the disk is full, or the like.
        """
        name = keep_aside(self.home.refused, content, reason, text)
        with self._database.writing() as session:
            session.add(
                RefusalRow(
                    sender=sender,
                    digest=digest,
                    content=name,
                    size=len(content),
                    reason=reason,
                    text=text,
                    received=now,
                )
            )

    def withdraw(self, site: str, concept: str) -> None:
        """Fuse a concept no more; its bundle cannot be sent again.

        Raises:
            RegistryError: that site has no such concept now.
        """
        with self._database.writing() as session:
            found = [
                row
                for row in session.scalars(_current())
                if (row.site.name, row.concept) == (site, concept)
            ]
            if not found:
                raise RegistryError(f"{site}/{concept}: no such concept is current")
            for row in found:
                row.state = _WITHDRAWN

    def current_bundles(self) -> tuple[StoredBundle, ...]:
        """The newest accepted bundle of each concept that is to be fused.

        Of sites in good standing, and of revoked ones whose concepts are kept.
        Ordered by site and concept, as a release is.
        """
        with self._database.reading() as session:
            found = [_stored(row) for row in session.scalars(_current())]
        return tuple(sorted(found, key=lambda bundle: (bundle.site, bundle.concept)))

    def has_bundle(self, digest: str) -> bool:
        """Whether the bundle of this digest was accepted at any time."""
        with self._database.reading() as session:
            return session.get(BundleRow, digest) is not None

    def bundle_bytes(self, digest: str) -> bytes:
        """An accepted bundle as it came (`Bundle.to_bytes()`).

        Raises:
            RegistryError: none of that digest, or its file was changed since.
            StorageError: its file is gone.
        """
        with self._database.reading() as session:
            row = session.get(BundleRow, digest)
            if row is None:
                raise RegistryError(f"bundle {digest[:12]}: never accepted here")
            blob = row.blob
        content = read_whole(self.home.blobs / blob, what="an accepted bundle")
        if hashlib.sha256(content).hexdigest() != blob:
            raise RegistryError(
                f"{self.home.blobs / blob}: the file is not what was accepted; restore "
                "it from a copy, or have the site send its concept again"
            )
        return content

    def prune_bundles(self) -> int:
        """Delete the files of bundles that are fused no more; how many went.

        Those of the newest release stay, and every digest stays known, so that none of
        them can be sent again.
        """
        newest = self._published.newest()
        with self._database.reading() as session:
            wanted = {row.digest for row in session.scalars(_current())}
            wanted |= newest.bundles if newest else frozenset()
            rows = session.scalars(select(BundleRow))
            gone = [row.blob for row in rows if row.digest not in wanted]
        paths = [self.home.blobs / blob for blob in gone]
        there = [path for path in paths if path.is_file()]
        for path in there:
            path.unlink(missing_ok=True)
        return len(there)

    def verdicts_for(
        self, key_id: str, digests: Collection[str] | None = None
    ) -> tuple[Verdict, ...]:
        """What became of a site's bundles and statements, accepted ones last.

        Args:
            key_id: The site's key id.
            digests: Only these, where given.
        """
        with self._database.reading() as session:
            refusals = session.scalars(
                select(RefusalRow)
                .where(RefusalRow.sender == key_id, RefusalRow.digest != "")
                .order_by(RefusalRow.number)
            )
            found = {
                row.digest: Verdict(row.digest, False, f"{row.reason}: {row.text}")
                for row in refusals
            }
            for row in session.scalars(
                select(BundleRow)
                .where(BundleRow.key_id == key_id)
                .order_by(BundleRow.counter)
            ):
                found.pop(row.digest, None)
                found[row.digest] = Verdict(row.digest, True, "")
            for table in (WithdrawalRow, RotationRow):
                taken = session.scalars(
                    select(table.digest).where(table.key_id == key_id)
                )
                found |= {digest: Verdict(digest, True, "") for digest in taken}
        wanted = found if digests is None else digests
        return tuple(v for digest, v in found.items() if digest in wanted)

    def refusals(self) -> tuple[RefusalRecord, ...]:
        """Every refusal, oldest first."""
        with self._database.reading() as session:
            rows = session.scalars(select(RefusalRow).order_by(RefusalRow.number))
            return tuple(
                RefusalRecord(
                    sender=row.sender,
                    digest=row.digest,
                    reason=row.reason,
                    text=row.text,
                    path=self._kept(row.content),
                    received=row.received,
                )
                for row in rows
            )

    # Releases

    def add_release(
        self,
        release: Release,
        facts: ReleaseFacts,
        *,
        report: Mapping[str, Any] | None = None,
    ) -> ReleaseRecord:
        """Store the next release, with its fusion report beside it.

        Raises:
            RegistryError: its version is not the next one, or it does not follow on
                the newest release.
            StorageError: the disk is full, or the like; nothing changed.
        """
        return self._published.add(release, facts, report=report)

    def newest_release(self) -> ReleaseRecord | None:
        """The release that sites should hold, if there is one yet."""
        return self._published.newest()

    def releases(self) -> tuple[ReleaseRecord, ...]:
        """Every release, oldest first."""
        return self._published.all()

    def release(self, version: int) -> Release:
        """A release as it was published.

        Raises:
            RegistryError: there is no such version.
            MosError: its files are gone or broken.
        """
        return self._published.read(version)

    def prune_releases(self, keep: int) -> tuple[int, ...]:
        """Drop the payloads of all but the newest `keep` releases; which went.

        Their envelopes stay, and with them the chain of digests (`check_chain`).
        """
        return self._published.prune(keep)

    def check_chain(self) -> int:
        """Verify by the files that every release names the one before it.

        Returns:
            How many there are.

        Raises:
            RegistryError: one does not, or is not the one that was published.
        """
        return self._published.check_chain()

    # Orders to tune

    def order_tuning(
        self,
        site: str,
        concept: str,
        *,
        steps: int = 0,
        rank: int = 0,
        seed: int = 0,
        now: int,
    ) -> TuneOrder:
        """Note that a site is to be asked to tune; `Conversation` asks it.

        Raises:
            RegistryError: no such site stands admitted, or it has that order already.
        """
        return self._orders.add(site, concept, steps, rank, seed, now)

    def tune_orders(self, *, waiting: bool = False) -> tuple[TuneOrder, ...]:
        """Every order there ever was, or that is not answered yet; oldest first."""
        return self._orders.all(waiting=waiting)

    def answer_order(self, number: int, error: str, *, now: int) -> None:
        """Note what came of an order; `error` is "" where something was tuned."""
        self._orders.answer(number, error, now)

    def postpone_order(self, number: int, reason: str) -> bool:
        """Note why a site will not tune now; the order stands. Whether that is news."""
        return self._orders.postpone(number, reason)

    def _kept(self, name: str) -> Path | None:
        path = self.home.refused / name
        return path if name and path.is_file() else None


def _current() -> Select[BundleRow]:
    return (
        select(BundleRow)
        .join(SiteRow)
        .where(BundleRow.state == _CURRENT, ~SiteRow.revoked | SiteRow.kept)
    )


def _stored(row: BundleRow) -> StoredBundle:
    return StoredBundle(
        site=row.site.name,
        concept=row.concept,
        digest=row.digest,
        signer=row.key_id,
        class_word=row.class_word,
        base=row.base,
        rank=row.rank,
        counter=row.counter,
        size=row.size,
        received=row.received,
    )
