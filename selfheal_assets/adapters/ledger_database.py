"""Open the ledger's database when first used, and run transactions, writers one after another. Never writes a row."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.errors import HomeError, LedgerError
from selfheal_assets.secrecy import discreet

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.exc import DBAPIError

WRITING = "selfheal_writing"
LOCK = int.from_bytes(b"selfheal")
"""The number of PostgreSQL's advisory lock."""


class LedgerDatabase:
    """SQLite in WAL mode, PostgreSQL, or another database of SQLAlchemy's that has the same SQL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: Engine | None = None

    @property
    def engine(self) -> "Engine":
        if self._engine is None:
            self._engine = _engine(self._url)
        return self._engine

    @contextmanager
    def reading(self) -> "Iterator[Connection]":
        """A transaction that waits for nobody."""
        import sqlalchemy as sa

        try:
            with self.engine.begin() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            raise self._translated(error) from error

    @contextmanager
    def writing(self) -> "Iterator[Connection]":
        """A transaction that no other writer, of any process, overlaps: what it reads stays so until it ends."""
        import sqlalchemy as sa

        try:
            with self.engine.execution_options(**{WRITING: True}).begin() as connection:
                if self.engine.dialect.name == "postgresql":
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
                yield connection
        except sa.exc.DBAPIError as error:
            raise self._translated(error) from error

    def _translated(self, error: "DBAPIError") -> HomeError | LedgerError:
        where, text = self.engine.url.render_as_string(), " ".join(str(error.orig).split())
        if "no such column" in text or ("column" in text and "does not exist" in text):
            return earlier_layout(where)
        if any(sign in text for sign in ("no such table", "does not exist", "unable to open")):
            return HomeError(
                f"The ledger must exist before it is used; received {where} without its table. Run `selfheal init`."
            )
        return LedgerError(
            f"The ledger must take and give records; received from {where}: {discreet(text):.500}. "
            "See that the database is there, writable and not held by another program, then run "
            "`selfheal ledger verify`."
        )


def earlier_layout(where: str) -> HomeError:
    """What the use of a ledger without a chain ends with."""
    return HomeError(
        f"A ledger must have the column `hash` and the table `head`; received {where}, which an earlier version made. "
        "Start a new home (another SELFHEAL_HOME), and keep this one aside for reading with the version that made it."
    )


def _engine(url: str) -> "Engine":
    import sqlalchemy as sa

    if sa.make_url(url).get_backend_name() != "sqlite":
        # Under a lock that was waited for, the newest committed head is what counts.
        # A server that was restarted has closed the connections of the pool.
        return sa.create_engine(url, isolation_level="READ COMMITTED", pool_pre_ping=True)
    engine = sa.create_engine(url)
    sa.event.listen(engine, "connect", _connected)
    sa.event.listen(engine, "begin", _begun)
    return engine


def _connected(connection: Any, _record: Any) -> None:
    # Python's driver opens a transaction only at the first change; `_begun` opens it at the beginning.
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begun(connection: "Connection") -> None:
    # A transaction that reads first and writes then must hold the lock from the start: SQLite cannot upgrade it.
    writing = connection.get_execution_options().get(WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
