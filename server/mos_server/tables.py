"""The registry's tables: typed SQLAlchemy over one SQLite file.

SQLite runs with a write-ahead log and waits for another writer. Every transaction that
changes something begins as a writer (`BEGIN IMMEDIATE`): what it read cannot change
before it commits, so two processes never both accept the same counter.
"""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, ForeignKey, NullPool, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA_VERSION: Final = 1
_BUSY_SECONDS: Final = 60


class Table(DeclarativeBase):
    """What all tables share."""


class SiteRow(Table):
    """A site's key, admitted once; a revoked one is kept for ever."""

    __tablename__ = "sites"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    key: Mapped[bytes]
    node_key: Mapped[bytes]
    revoked: Mapped[bool] = mapped_column(default=False)
    counter: Mapped[int] = mapped_column(default=0)
    admitted: Mapped[int]


class BundleRow(Table):
    """A bundle that was accepted at some time."""

    __tablename__ = "bundles"

    digest: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("sites.key_id"), index=True)
    concept: Mapped[str]
    class_word: Mapped[str]
    base: Mapped[str]
    rank: Mapped[int]
    counter: Mapped[int]
    size: Mapped[int]
    blob: Mapped[str]
    received: Mapped[int]
    state: Mapped[str]
    site: Mapped[SiteRow] = relationship(lazy="joined")


class RefusalRow(Table):
    """A bundle that was refused, and why."""

    __tablename__ = "refusals"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    sender: Mapped[str] = mapped_column(index=True)
    digest: Mapped[str]
    content: Mapped[str]
    size: Mapped[int]
    reason: Mapped[str]
    text: Mapped[str]
    received: Mapped[int]


class ReleaseRow(Table):
    """A release that was published."""

    __tablename__ = "releases"

    version: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str]
    base: Mapped[str]
    created: Mapped[int]
    expires: Mapped[int]
    size: Mapped[int]
    bundles: Mapped[list["ReleasedBundleRow"]] = relationship(lazy="selectin")


class ReleasedBundleRow(Table):
    """A bundle's part in a release."""

    __tablename__ = "released_bundles"

    version: Mapped[int] = mapped_column(
        ForeignKey("releases.version"), primary_key=True
    )
    digest: Mapped[str] = mapped_column(primary_key=True)
    site: Mapped[str]
    concept: Mapped[str]


def open_database(path: Path) -> Engine:
    """An engine whose connections are opened as needed and never kept.

    It may be used by several threads, and the file by several processes. Transactions
    of `engine.execution_options(reading=True)` see one state and hold up nobody.
    """
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=NullPool,
        connect_args={"timeout": _BUSY_SECONDS},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver shall not begin transactions by itself; `begin` below does.
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def create_tables(engine: Engine) -> int:
    """Make the tables where the file is new; the schema's version.

    To be called by one process at a time: SQLite does not wait when two turn on the
    write-ahead log at once.
    """
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA journal_mode=WAL")
        found = connection.cursor().execute("PRAGMA user_version").fetchone()
        version = int(found[0]) if found else 0
        if version == 0:
            Table.metadata.create_all(engine)
            connection.cursor().execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            version = SCHEMA_VERSION
    finally:
        connection.close()
    return version
