"""Published releases: their files, and their rows in the registry's database.

The files are written inside the transaction that names them, payload first, envelope
last, and taken away again where it fails. Of an old release only the envelope is kept,
so that the chain from the first release to the newest can always be verified.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select

from mos_protocol.encoding.canonical import sha256
from mos_protocol.signed.blob import signature_path
from mos_protocol.signed.envelope import MAX_ENVELOPE_BYTES
from mos_protocol.signed.release import Release, ReleaseFacts, release_facts
from mos_runtime.files import read_whole, write_atomically
from mos_server.errors import RegistryError
from mos_server.registry.records import ReleaseRecord
from mos_server.registry.storage.database import Database
from mos_server.registry.storage.tables import ReleasedBundleRow, ReleaseRow


class Published:
    """The releases of one centre, part of its registry."""

    def __init__(self, folder: Path, database: Database) -> None:
        """Releases whose files are in `folder`."""
        self._folder, self._database = folder, database

    def add(
        self,
        release: Release,
        facts: ReleaseFacts,
        *,
        report: Mapping[str, Any] | None = None,
    ) -> ReleaseRecord:
        """Store the next release, with its fusion report next to it.

        Raises:
            RegistryError: its version is not the next one, or it does not follow on
                the newest release.
            StorageError: the disk is full, or the like; nothing changed.
        """
        with self._database.writing() as session:
            newest = session.scalars(_newest()).first()
            expected = 1 if newest is None else newest.version + 1
            previous = "" if newest is None else newest.digest
            if (facts.version, facts.previous_sha256) != (expected, previous):
                raise RegistryError(
                    f"release {facts.version} does not follow on release "
                    f"{expected - 1}; another process published meanwhile, publish anew"
                )
            row = _row(release, facts)
            self._write(release, facts.version, report)
            try:
                session.add(row)
                session.flush()
            except BaseException:
                self._remove(facts.version)
                raise
            return self._record(row)

    def newest(self) -> ReleaseRecord | None:
        """The release that sites should hold, if there is one yet."""
        with self._database.reading() as session:
            row = session.scalars(_newest()).first()
            return None if row is None else self._record(row)

    def all(self) -> tuple[ReleaseRecord, ...]:
        """Every release, oldest first."""
        with self._database.reading() as session:
            rows = session.scalars(select(ReleaseRow).order_by(ReleaseRow.version))
            return tuple(self._record(row) for row in rows)

    def read(self, version: int) -> Release:
        """A release as it was published.

        Raises:
            RegistryError: there is no such version.
            MosError: its files are gone or broken.
        """
        with self._database.reading() as session:
            if session.get(ReleaseRow, version) is None:
                raise RegistryError(
                    f"release {version}: there is none; `mos-server releases` lists "
                    "them"
                )
        if not self._path(version).is_file():
            raise RegistryError(
                f"release {version}: only its envelope is kept; `mos-server serve "
                "--keep-releases` decides how many are kept whole"
            )
        return Release.read(self._path(version))

    def report(self, version: int | None = None) -> dict[str, Any]:
        """A release's fusion report; the newest one's for None.

        Raises:
            RegistryError: there is no such release, or it has no report.
            StorageError: the file cannot be read.
        """
        wanted = [one for one in self.all() if version in (None, one.version)]
        if not wanted:
            which = (
                "no release yet" if version is None else f"release {version}: none such"
            )
            raise RegistryError(f"{which}; `mos-server releases` lists what there is")
        found = wanted[-1]
        if not found.report_path.is_file():
            raise RegistryError(
                f"release {found.version} was not fused anew, or is not kept whole any "
                "more, so it has no report of its own; name another one"
            )
        content = read_whole(found.report_path, what="a fusion report")
        try:
            report: dict[str, Any] = json.loads(content)
        except ValueError as error:
            raise RegistryError(
                f"{found.report_path}: not a fusion report; restore it from a copy"
            ) from error
        return {"version": found.version, **report}

    def prune(self, keep: int) -> tuple[int, ...]:
        """Drop the payloads of all but the newest `keep` releases; which went.

        Their envelopes stay, and with them the chain of digests (`check_chain`).
        """
        versions = [release.version for release in self.all() if release.whole]
        gone = versions[: max(0, len(versions) - keep)]
        for version in gone:
            self._path(version).unlink(missing_ok=True)
            self._report_path(version).unlink(missing_ok=True)
        return tuple(gone)

    def check_chain(self) -> int:
        """Verify by the files that every release names the one before it.

        Returns:
            How many there are.

        Raises:
            RegistryError: one does not, or is not the one that was published.
        """
        before, releases = "", self.all()
        for number, record in enumerate(releases, 1):
            signature = signature_path(record.path)
            envelope = read_whole(
                signature, what="a release's envelope", max_bytes=MAX_ENVELOPE_BYTES
            )
            sealed = Release(envelope, b"").sealed()
            facts = release_facts(sealed.payload)
            said = (sha256(sealed.payload), facts.version, facts.previous_sha256)
            if said != (record.digest, number, before):
                raise RegistryError(
                    f"{signature}: not the envelope of release {number} that was "
                    "published here; restore it from a copy"
                )
            before = record.digest
        return len(releases)

    def _write(
        self, release: Release, version: int, report: Mapping[str, Any] | None
    ) -> None:
        try:
            if report is not None:
                text = json.dumps(dict(report), indent=1)
                write_atomically(self._report_path(version), text.encode())
            release.write(self._path(version))
        except BaseException:
            self._remove(version)
            raise

    def _remove(self, version: int) -> None:
        path = self._path(version)
        path.with_name(f"{path.name}.sig").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        self._report_path(version).unlink(missing_ok=True)

    def _path(self, version: int) -> Path:
        return self._folder / f"{version:04d}.safetensors"

    def _report_path(self, version: int) -> Path:
        return self._folder / f"{version:04d}.report.json"

    def _record(self, row: ReleaseRow) -> ReleaseRecord:
        return ReleaseRecord(
            version=row.version,
            digest=row.digest,
            path=self._path(row.version),
            base=row.base,
            created=row.created,
            expires=row.expires,
            size=row.size,
            concepts=tuple(sorted(f"{b.site}/{b.concept}" for b in row.bundles)),
            bundles=frozenset(bundle.digest for bundle in row.bundles),
            signer=row.signer,
            whole=self._path(row.version).is_file(),
        )


def _newest() -> Select[ReleaseRow]:
    return select(ReleaseRow).order_by(ReleaseRow.version.desc()).limit(1)


def _row(release: Release, facts: ReleaseFacts) -> ReleaseRow:
    return ReleaseRow(
        version=facts.version,
        digest=release.digest,
        base=facts.base,
        created=facts.created,
        expires=facts.expires,
        size=len(release.payload),
        signer=release.sealed().key_id,
        bundles=[
            ReleasedBundleRow(
                digest=concept.bundle_sha256,
                site=concept.site,
                concept=concept.concept,
            )
            for concept in facts.concepts
        ],
    )
