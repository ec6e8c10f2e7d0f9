"""Refused bundles kept aside, within limits: a flood of them must not fill the disk."""

import hashlib
from pathlib import Path
from typing import Final

from sqlalchemy import Delete, delete, select

from mos_protocol.errors import Reason
from mos_runtime.files import write_atomically
from mos_server.registry.records import RefusalRecord
from mos_server.registry.storage.database import Database
from mos_server.registry.storage.tables import RefusalRow

MAX_KEPT: Final = 100
"""Refused bundles kept at most; the oldest make way."""

MAX_KEPT_BYTES: Final = 512 * 2**20
"""Bytes of all of them together; a larger one is recorded without its content."""

MAX_RECORDS: Final = 1000
"""Refusals of one sender that stay on record; the oldest are forgotten."""

_SUFFIX: Final = ".bundle"


class Refusals:
    """What one centre refused, part of its registry."""

    def __init__(self, folder: Path, database: Database) -> None:
        """Refusals whose contents are in `folder`."""
        self._folder, self._database = folder, database

    def add(
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

        Of one that came over its site's quota only the record is kept.

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
        name = ""
        if reason != Reason.OVER_QUOTA:
            name = keep_aside(self._folder, content, reason, text)
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
            session.execute(_beyond_the_newest(sender))

    def all(self) -> tuple[RefusalRecord, ...]:
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

    def _kept(self, name: str) -> Path | None:
        path = self._folder / name
        return path if name and path.is_file() else None


def _beyond_the_newest(sender: str) -> Delete:
    """Forget the oldest refusals of one sender."""
    newest = (
        select(RefusalRow.number)
        .where(RefusalRow.sender == sender)
        .order_by(RefusalRow.number.desc())
        .limit(MAX_RECORDS)
    )
    return delete(RefusalRow).where(
        RefusalRow.sender == sender, RefusalRow.number.not_in(newest)
    )


def keep_aside(folder: Path, content: bytes, reason: str, text: str) -> str:
    """Write a refused bundle and its reason into `folder`.

    Returns:
        The file's name; "" where the content is too large to be kept.

    Raises:
        StorageError: the disk is full, or the like.
    """
    if len(content) > MAX_KEPT_BYTES:
        return ""
    path = folder / f"{hashlib.sha256(content).hexdigest()}{_SUFFIX}"
    # The reason first, so that no bundle ever lies there without one.
    write_atomically(_reason_path(path), f"{reason}: {text}\n".encode(errors="replace"))
    try:
        write_atomically(path, content)
    except BaseException:
        if not path.exists():
            _reason_path(path).unlink(missing_ok=True)
        raise
    _make_room(folder)
    return path.name


def _make_room(folder: Path) -> None:
    kept = sorted(
        ((path.stat().st_mtime_ns, path) for path in folder.glob(f"*{_SUFFIX}")),
        reverse=True,
    )
    total = 0
    for place, (_, path) in enumerate(kept):
        total += path.stat().st_size
        if place >= MAX_KEPT or total > MAX_KEPT_BYTES:
            path.unlink(missing_ok=True)
            _reason_path(path).unlink(missing_ok=True)


def _reason_path(path: Path) -> Path:
    return path.with_suffix(".reason.txt")
