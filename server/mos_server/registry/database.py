"""The registry's SQLite file, shared by threads and processes.

SQLite runs with a write-ahead log and waits for another writer. Every transaction that
changes something begins as a writer (`BEGIN IMMEDIATE`): what it read cannot change
before it commits, so two processes never both accept the same counter. A reading
transaction sees one state and holds up nobody.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from mos_runtime.locking import locked
from mos_server.errors import RegistryError
from mos_server.registry.tables import MIGRATIONS, SCHEMA_VERSION, Table

_BUSY_SECONDS: Final = 60


class Database:
    """One SQLite file; connections are opened as needed and never kept."""

    def __init__(self, path: Path, *, lock: Path) -> None:
        """Open the file, or begin it.

        Args:
            path: The file.
            lock: Held while the file is begun: SQLite does not wait when two turn on
                the write-ahead log at once.

        Raises:
            RegistryError: the file is not a registry, or a newer version's. An older
                version's is brought up to date.
            StorageError: the folder cannot be written.
        """
        self._path = path
        self._engine = create_engine(
            f"sqlite:///{path}",
            poolclass=NullPool,
            connect_args={"timeout": _BUSY_SECONDS},
        )
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        self._readers = self._engine.execution_options(reading=True)
        with locked(lock), self._told():
            version = self._create()
        if version != SCHEMA_VERSION:
            raise RegistryError(
                f"{path}: a registry of schema {version}, this version reads "
                f"{SCHEMA_VERSION}; use the mos-server that wrote it"
            )

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state throughout.

        Raises:
            RegistryError: the file cannot be read.
        """
        with self._told(), Session(self._readers) as session, session.begin():
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose changes happen at its end, all or none.

        Raises:
            RegistryError: the file cannot be written.
        """
        with self._told(), Session(self._engine) as session, session.begin():
            yield session

    def _create(self) -> int:
        """Make the tables where the file is new; the schema's version."""
        with closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            found = cursor.execute("PRAGMA user_version").fetchone()
            version = int(found[0])
            cursor.close()
        if version < SCHEMA_VERSION:
            self._bring_up_to_date(version)
            version = SCHEMA_VERSION
        return version

    def _bring_up_to_date(self, version: int) -> None:
        """From an older schema, or none (0), to this version's; whole or not at all."""
        with self._engine.begin() as connection:
            for older in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
                for statement in MIGRATIONS[older]:
                    connection.exec_driver_sql(statement)
            Table.metadata.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            raise RegistryError(
                f"{self._path}: the registry cannot be used: {reason}"
            ) from error


def _prepare(connection: Any, _record: Any) -> None:
    # The driver shall not begin transactions by itself; `_begin` does.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: Any) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
