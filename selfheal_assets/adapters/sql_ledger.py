"""Keep the ledger in a SQL database: records in, records out, nothing ever changed or deleted."""

from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.ledger_database import LedgerDatabase, earlier_layout
from selfheal_assets.adapters.ledger_payload import stored_form
from selfheal_assets.adapters.ledger_schema import VERSION_TABLE, migrate
from selfheal_assets.adapters.ledger_tables import tables, to_row
from selfheal_assets.adapters.sql_ledger_view import SqlLedgerView
from selfheal_assets.core.errors import LedgerError
from selfheal_assets.core.ledger_chain import GENESIS, next_hash
from selfheal_assets.core.record import Record

if TYPE_CHECKING:
    from sqlalchemy import Connection

KEYS = 500
"""Looked up in one query; databases limit the parameters of a statement."""


class SqlLedger(SqlLedgerView):
    """The `Ledger` port over SQLAlchemy Core: SQLite in WAL mode by default, PostgreSQL by its URL.

    Records are numbered from 1 without gaps and chained by their hashes (`core/ledger_chain.py`). The head, a row
    that names the newest record, is written in the same transaction, so that deleting the newest records is found
    too; unless the head is changed with them, or the whole ledger is put back to an earlier copy.
    """

    def __init__(self, url: str) -> None:
        super().__init__(LedgerDatabase(url))

    def initialise(self) -> None:
        """Create or migrate its tables. Called once, by `selfheal init`, before anything runs in parallel.

        Raises HomeError for a ledger from before the first release, or from a later version.
        """
        import sqlalchemy as sa

        records, head = tables().records, tables().head
        with self._database.writing() as connection:
            inspector = sa.inspect(connection)
            present = inspector.has_table(records.name)
            if present and "hash" not in {column["name"] for column in inspector.get_columns(records.name)}:
                raise earlier_layout(connection.engine.url.render_as_string())
            migrate(connection, adopted=present and not inspector.has_table(VERSION_TABLE))
            # A head that was lost from a ledger with records is not made up: the audit shall tell it.
            if not present:
                connection.execute(head.insert().values(id=1, sequence=0, hash=GENESIS))

    def append(self, *records: Record) -> int:
        if not records:
            return 0
        by_key: dict[str, Record] = {}
        for record in records:
            by_key.setdefault(record.key, stored_form(record))
        with self._database.writing() as connection:
            return self._append(connection, by_key)

    def _append(self, connection: "Connection", by_key: dict[str, Record]) -> int:
        head = tables().head
        for known in _known(connection, list(by_key)):
            del by_key[known]
        if not by_key:
            return 0
        sequence, last_hash = _head(connection)
        rows = list[dict[str, Any]]()
        for record in by_key.values():
            sequence, last_hash = sequence + 1, next_hash(last_hash, record)
            rows.append({**to_row(record), "sequence": sequence, "hash": last_hash})
        connection.execute(tables().records.insert(), rows)
        connection.execute(head.update().values(sequence=sequence, hash=last_hash))
        return len(rows)


def _known(connection: "Connection", keys: list[str]) -> list[str]:
    """Those of the keys that are stored."""
    import sqlalchemy as sa

    key = tables().records.c.key
    pages = (keys[first : first + KEYS] for first in range(0, len(keys), KEYS))
    return [found for page in pages for found in connection.scalars(sa.select(key).where(key.in_(page)))]


def _head(connection: "Connection") -> tuple[int, str]:
    import sqlalchemy as sa

    head = tables().head.c
    found = connection.execute(sa.select(head.sequence, head.hash)).one_or_none()
    if found is None:
        where = connection.engine.url.render_as_string()
        raise LedgerError(
            f"The ledger's head must name its newest record; received {where} without a head. "
            "Nothing is appended to a ledger that was tampered with: run `selfheal ledger verify`."
        )
    return found.sequence, found.hash
