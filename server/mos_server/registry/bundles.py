"""Accepted bundles: their files, and their rows in the registry's database.

A file is named by the digest of its content, and is written before the transaction
that names it commits.
"""

import hashlib
from collections.abc import Collection
from pathlib import Path

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from mos_protocol.errors import Reason
from mos_protocol.messages import Verdict
from mos_protocol.rules.admission import AdmittedBundle
from mos_runtime.files import read_whole, write_atomically
from mos_server.errors import RegistryError
from mos_server.registry.records import LeftOutRecord, StoredBundle
from mos_server.registry.sites.membership import check_still_welcome, keys_of
from mos_server.registry.sites.quotas import Quota, Usage, check_quota, usage
from mos_server.registry.storage.database import Database
from mos_server.registry.storage.tables import (
    CURRENT,
    LEFT_OUT,
    QUARANTINED,
    RELEASED,
    STANDING,
    SUPERSEDED,
    WITHDRAWN,
    BundleRow,
    LeftOutRow,
    RefusalRow,
    ReleasedBundleRow,
    RotationRow,
    SiteRow,
    WithdrawalRow,
)


class Bundles:
    """The bundles of one centre, part of its registry."""

    def __init__(self, folder: Path, database: Database) -> None:
        """Bundles whose files are in `folder`."""
        self._folder, self._database = folder, database

    def accept(self, admitted: AdmittedBundle, now: int) -> None:
        """Store an admitted bundle, raise its site's counter, retire what it replaces.

        Args:
            admitted: What `Admission.admit` returned.
            now: Unix time, seconds.

        Raises:
            AdmissionError: the site was revoked, or its counter passed, since then; or
                its quota is exhausted.
            StorageError: the disk is full, or the like; nothing changed.
        """
        facts, key_id = admitted.facts, admitted.site.key.key_id
        content = admitted.bundle.to_bytes()
        blob = hashlib.sha256(content).hexdigest()
        with self._database.writing() as session:
            site = check_still_welcome(
                session.get(SiteRow, key_id), facts.counter, key_id
            )
            keys = keys_of(session, key_id)
            row = BundleRow(
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
                state=CURRENT,
            )
            check_quota(session, site, keys, row)
            write_atomically(self._folder / blob, content)
            for older in session.scalars(_standing(keys, facts.concept)):
                older.state = SUPERSEDED
            site.counter = facts.counter
            session.add(row)
        self.prune()

    def usage(self, key_id: str, now: int) -> Usage:
        """What the site of a key uses of its quota."""
        with self._database.reading() as session:
            return usage(session, keys_of(session, key_id), now)

    def room(self, key_id: str, now: int) -> int:
        """How many more bundles the site of a key may send at `now`."""
        with self._database.reading() as session:
            site = session.get(SiteRow, key_id)
            quota = Quota.parse(site.quota if site else "")
            used = usage(session, keys_of(session, key_id), now).last_hour
            return max(0, quota.per_hour - used)

    def leave_out(
        self,
        digest: str,
        text: str,
        now: int,
        *,
        reason: Reason = Reason.UNFUSABLE,
    ) -> None:
        """Fuse a bundle no more, because that fails or the gate holds it.

        Its site learns the reason. Of a quarantined bundle the file is kept.

        Where the newest release holds an older bundle of the same concept, that one
        takes its place again. A bundle that is not current any more stays as it is.

        Args:
            digest: The bundle's.
            text: What is wrong with it, for the site.
            now: Unix time, seconds.
            reason: Unfusable or quarantined.
        """
        with self._database.writing() as session:
            row = session.get(BundleRow, digest)
            if row is None or row.state != CURRENT:
                return
            held = reason == Reason.QUARANTINED
            row.state = QUARANTINED if held else LEFT_OUT
            before = session.scalars(
                select(BundleRow).where(
                    BundleRow.key_id.in_(keys_of(session, row.key_id)),
                    BundleRow.concept == row.concept,
                    BundleRow.state == SUPERSEDED,
                    BundleRow.digest.in_(newest_released(session)),
                )
            ).first()
            if before is not None:
                before.state = CURRENT
            known = session.scalars(
                select(LeftOutRow).where(LeftOutRow.digest == digest)
            ).first()
            left = known or LeftOutRow(digest=digest, key_id=row.key_id)
            left.reason, left.text, left.decided = reason, text, now
            left.told = False
            session.add(left)

    def hold(self, site: str, concept: str, now: int) -> None:
        """Quarantine a concept's current bundle, as the gate does; its site learns it.

        Raises:
            RegistryError: that site has no such concept now.
        """
        for bundle in self.current():
            if (bundle.site, bundle.concept) == (site, concept):
                words = "held by the operator"
                reason = Reason.QUARANTINED
                return self.leave_out(bundle.digest, words, now, reason=reason)
        raise RegistryError(f"{site}/{concept}: no such concept is current")

    def left_out(self) -> tuple[LeftOutRecord, ...]:
        """Every bundle that no release holds for its own fault, oldest first."""
        with self._database.reading() as session:
            rows = session.scalars(
                select(LeftOutRow)
                .where(LeftOutRow.reason != RELEASED)
                .order_by(LeftOutRow.number)
            )
            return tuple(LeftOutRecord.of(row) for row in rows)

    def news_for(self, key_id: str) -> tuple[Verdict, ...]:
        """On bundles left out, or released from quarantine, until `note_told`."""
        with self._database.reading() as session:
            rows = select(LeftOutRow).where(
                LeftOutRow.key_id.in_(keys_of(session, key_id)), ~LeftOutRow.told
            )
            return tuple(_verdict(row) for row in session.scalars(rows))

    def note_told(self, digests: Collection[str]) -> None:
        """Note that a site has taken the verdicts on some bundles."""
        untold = select(LeftOutRow).where(
            LeftOutRow.digest.in_(digests), ~LeftOutRow.told
        )
        with self._database.reading() as session:
            if session.scalars(untold).first() is None:
                return
        with self._database.writing() as session:
            for row in session.scalars(untold):
                row.told = True

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
                row.state = WITHDRAWN

    def current(self) -> tuple[StoredBundle, ...]:
        """The newest accepted bundle of each concept that is to be fused.

        Of sites in good standing, and of revoked ones whose concepts are kept.
        Ordered by site and concept, as a release is.
        """
        with self._database.reading() as session:
            found = [_stored(row) for row in session.scalars(_current())]
        return tuple(sorted(found, key=lambda bundle: (bundle.site, bundle.concept)))

    def newest(self, most: int) -> tuple[StoredBundle, ...]:
        """The bundles accepted last, in whatever state, the newest first."""
        query = (
            select(BundleRow)
            .order_by(BundleRow.received.desc(), BundleRow.digest)
            .limit(most)
        )
        with self._database.reading() as session:
            return tuple(_stored(row) for row in session.scalars(query))

    def has(self, digest: str) -> bool:
        """Whether the bundle of this digest was accepted at any time."""
        with self._database.reading() as session:
            return session.get(BundleRow, digest) is not None

    def content(self, digest: str) -> bytes:
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
        content = read_whole(self._folder / blob, what="an accepted bundle")
        if hashlib.sha256(content).hexdigest() != blob:
            raise RegistryError(
                f"{self._folder / blob}: the file is not what was accepted; restore "
                "it from a copy, or have the site send its concept again"
            )
        return content

    def prune(self) -> int:
        """Delete the files of bundles that are fused no more; how many went.

        Those of the newest release and the quarantined ones stay, and every digest
        stays known, so that none of them can be sent again. What a crash left behind
        goes too.
        """
        gone = 0
        # As a writer: no file is there whose transaction is still to commit.
        with self._database.writing() as session:
            kept = BundleRow.digest.in_(newest_released(session))
            held = BundleRow.state == QUARANTINED
            wanted = {row.blob for row in session.scalars(_current())}
            wanted |= set(session.scalars(select(BundleRow.blob).where(held)))
            wanted |= set(session.scalars(select(BundleRow.blob).where(kept)))
            for path in self._folder.glob("*"):
                if path.name not in wanted:
                    path.unlink(missing_ok=True)
                    gone += 1
        return gone

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
            for left in session.scalars(
                select(LeftOutRow).where(LeftOutRow.key_id == key_id)
            ):
                found[left.digest] = _verdict(left)
            for table in (WithdrawalRow, RotationRow):
                taken = session.scalars(
                    select(table.digest).where(table.key_id == key_id)
                )
                found |= {digest: Verdict(digest, True, "") for digest in taken}
        wanted = found if digests is None else digests
        return tuple(v for digest, v in found.items() if digest in wanted)


def newest_released(session: Session) -> set[str]:
    """Digests of the bundles that the newest release holds."""
    newest = select(func.max(ReleasedBundleRow.version)).scalar_subquery()
    rows = select(ReleasedBundleRow.digest).where(ReleasedBundleRow.version == newest)
    return set(session.scalars(rows))


def _standing(keys: Collection[str], concept: str) -> Select[BundleRow]:
    return select(BundleRow).where(
        BundleRow.key_id.in_(keys),
        BundleRow.concept == concept,
        BundleRow.state.in_(STANDING),
    )


def _verdict(row: LeftOutRow) -> Verdict:
    if row.reason == RELEASED:
        return Verdict(row.digest, True, "")
    return Verdict(row.digest, False, f"{row.reason}: {row.text}")


def _current() -> Select[BundleRow]:
    return (
        select(BundleRow)
        .join(SiteRow)
        .where(BundleRow.state == CURRENT, ~SiteRow.revoked | SiteRow.kept)
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
        exempt=row.exempt,
        state=row.state,
    )
