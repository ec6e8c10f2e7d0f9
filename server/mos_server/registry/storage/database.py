"""The registry's database, shared by threads and processes: SQLite or PostgreSQL.

SQLite runs with a write-ahead log and waits for another writer. Every transaction that
changes something begins as a writer (`BEGIN IMMEDIATE`): what it read cannot change
before it commits, so two processes never both accept the same counter. A reading
transaction sees one state and holds up nobody.

On PostgreSQL a writer first takes one advisory lock and then reads what is committed,
statement by statement: the same rule, one writer at a time. A reading transaction is
REPEATABLE READ.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import NullPool, create_engine, event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session

from mos_runtime.locking import locked
from mos_server.errors import RegistryError
from mos_server.registry.storage.tables import MIGRATIONS, SCHEMA_VERSION, Table

_BUSY_SECONDS: Final = 60
_WRITER_LOCK: Final = 0x6D6F73
"""Key of PostgreSQL's advisory lock that a writer holds."""

_DRIVERS: Final = ("sqlite", "postgresql+psycopg")


class Database:
    """One database; connections are opened as needed and never kept."""

    def __init__(self, url: str, *, lock: Path) -> None:
        """Open the database, or create its tables.

        Args:
            url: `sqlite:///PATH` or `postgresql+psycopg://USER@HOST/DATABASE`.
            lock: Held while the file is begun: SQLite does not wait when two turn on
                the write-ahead log at once.

        Raises:
            RegistryError: it is not a registry, or a newer version's, or cannot be
                reached. An older version's is brought up to date.
            StorageError: the folder cannot be written.
        """
        checked_url(url)
        parsed = make_url(url)
        self._name = parsed.database if _is_sqlite(url) else _without_password(url)
        timeout = "timeout" if _is_sqlite(url) else "connect_timeout"
        try:
            self._engine = create_engine(
                parsed, poolclass=NullPool, connect_args={timeout: _BUSY_SECONDS}
            )
        except ModuleNotFoundError as error:
            raise RegistryError(
                f"{self._name}: PostgreSQL needs a driver; "
                "pip install 'mix-of-show-centre[postgresql]'"
            ) from error
        if _is_sqlite(url):
            event.listen(self._engine, "connect", _prepare)
            event.listen(self._engine, "begin", _begin)
        else:
            event.listen(self._engine, "begin", _begin_postgresql)
        self._readers = self._engine.execution_options(reading=True)
        with locked(lock), self._told():
            version = self._create()
        if version != SCHEMA_VERSION:
            raise RegistryError(
                f"{self._name}: a registry of schema {version}, this version reads "
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
        if self._engine.dialect.name == "postgresql":
            return self._create_postgresql()
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

    def _create_postgresql(self) -> int:
        """The same in a PostgreSQL database, which began with schema 4."""
        with self._engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"
            )
            found = connection.exec_driver_sql("SELECT version FROM schema_version")
            version = found.scalar()
            if version is None:
                Table.metadata.create_all(connection)
                connection.exec_driver_sql(
                    f"INSERT INTO schema_version VALUES ({SCHEMA_VERSION})"
                )
            return SCHEMA_VERSION if version is None else int(version)

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
                f"{self._name}: the registry cannot be used: {reason}"
            ) from error


def _prepare(connection: Any, _record: Any) -> None:
    # The driver shall not begin transactions by itself; `_begin` does.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: Any) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get("reading", False):
        connection.exec_driver_sql(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
        )
        return
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_BUSY_SECONDS}s'")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")


def checked_url(url: str) -> str:
    """A database's URL, as it is.

    Raises:
        RegistryError: it is not a URL, or of another kind of database.
    """
    try:
        driver = make_url(url).drivername
    except ArgumentError:
        driver = ""
    if driver not in _DRIVERS:
        raise RegistryError(
            "the database's URL is not of a kind that a registry can be in; write "
            "postgresql+psycopg://USER@HOST/DATABASE"
        )
    return url


def _is_sqlite(url: str) -> bool:
    return make_url(url).drivername == "sqlite"


def _without_password(url: str) -> str:
    # Nor what a query may hold: libpq takes a password there too.
    return make_url(url).set(query={}).render_as_string(hide_password=True)
