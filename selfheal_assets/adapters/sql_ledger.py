"""Keep the ledger in a SQL database: records in, records out, nothing ever changed or deleted."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.ledger_payload import canonical_payload, utc
from selfheal_assets.core.errors import HomeError
from selfheal_assets.core.record import OPENING, Record, RecordKind

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, Table


def _records_table() -> "Table":
    import sqlalchemy as sa

    return sa.Table(
        "records",
        sa.MetaData(),
        # SQLite numbers rows by itself only for this very type.
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("event_time", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Index("records_by_event_time", "model", "kind", "event_time", "sequence"),
        sa.Index("records_by_kind", "model", "kind", "sequence"),
        sa.Index("records_by_subject", "model", "kind", "subject", "sequence"),
        sqlite_autoincrement=True,
    )


class SqlLedger:
    """The `Ledger` port over SQLAlchemy Core: SQLite in WAL mode by default, any other database by its URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: Engine | None = None
        self._table: Table | None = None

    @property
    def _records(self) -> "Table":
        if self._table is None:
            self._table = _records_table()
        return self._table

    def initialise(self) -> None:
        """Create what is missing. Called once, by `selfheal init`, before anything runs in parallel."""
        self._records.metadata.create_all(self._connected())

    def _connected(self) -> "Engine":
        if self._engine is None:
            import sqlalchemy as sa

            self._engine = sa.create_engine(self._url)
            if self._engine.dialect.name == "sqlite":
                sa.event.listen(self._engine, "connect", _use_wal)
        return self._engine

    @contextmanager
    def _transaction(self) -> "Iterator[Connection]":
        import sqlalchemy as sa

        try:
            with self._connected().begin() as connection:
                yield connection
        except sa.exc.OperationalError as error:
            if any(sign in str(error) for sign in ("no such table", "does not exist", "unable to open")):
                raise HomeError(
                    f"The ledger must exist before it is used; received {self._connected().url.render_as_string()} "
                    "without its table. Run `selfheal init`."
                ) from error
            raise

    def append(self, *records: Record) -> int:
        if not records:
            return 0
        insert = _insert_for(self._connected().dialect.name)
        statement = insert(self._records).on_conflict_do_nothing(index_elements=["key"])
        rows = [_to_row(record) for record in records]
        with self._transaction() as connection:
            return sum(connection.execute(statement, row).rowcount for row in rows)

    def _select(self, model: str, kind: RecordKind) -> "Select[Any]":
        import sqlalchemy as sa

        columns = self._records.c
        return sa.select(self._records).where(columns.model == model, columns.kind == kind)

    def _fetch(self, query: "Select[Any]") -> list[Record]:
        with self._transaction() as connection:
            return [_to_record(row) for row in connection.execute(query)]

    def newest(
        self, model: str, kind: RecordKind, *, subject: str | None = None, status: str | None = None, limit: int = 1
    ) -> list[Record]:
        query = self._select(model, kind)
        if subject is not None:
            query = query.where(self._records.c.subject == subject)
        if status is not None:
            query = query.where(self._records.c.status == status)
        return self._fetch(query.order_by(self._records.c.sequence.desc()).limit(limit))

    def after(self, model: str, kind: RecordKind, sequence: int, limit: int) -> list[Record]:
        columns = self._records.c
        return self._fetch(
            self._select(model, kind).where(columns.sequence > sequence).order_by(columns.sequence).limit(limit)
        )

    def _last_of_each_subject(self, model: str, kind: RecordKind) -> "Select[Any]":
        import sqlalchemy as sa

        columns = self._records.c
        return (
            sa.select(sa.func.max(columns.sequence))
            .where(columns.model == model, columns.kind == kind)
            .group_by(columns.subject)
        )

    def _followed_by(self, columns: Any, kind: RecordKind) -> "ColumnElement[bool]":
        """Whether a later record of the kind is about the same subject."""
        import sqlalchemy as sa

        later = self._records.alias().c
        return sa.exists().where(
            later.model == columns.model,
            later.kind == kind,
            later.subject == columns.subject,
            later.sequence > columns.sequence,
        )

    def current(self, model: str, kind: RecordKind, subjects: Sequence[str]) -> dict[str, Record]:
        if not subjects:
            return {}
        columns = self._records.c
        last = self._last_of_each_subject(model, kind).where(columns.subject.in_(subjects))
        found = self._fetch(self._select(model, kind).where(columns.sequence.in_(last)))
        return {record.subject: record for record in found}

    def recent_subjects(self, model: str, kind: RecordKind, *, statuses: Sequence[str], limit: int) -> list[Record]:
        columns = self._records.c
        # Read backwards in event time until there are enough: the cost does not grow with the history.
        query = (
            self._select(model, kind)
            .where(columns.status.in_(statuses), ~self._followed_by(columns, kind))
            .order_by(columns.event_time.desc(), columns.sequence.desc())
            .limit(limit)
        )
        return self._fetch(query)

    def open_batches(self, model: str, limit: int) -> list[Record]:
        import sqlalchemy as sa

        columns = self._records.c
        opened, kind = self._records.alias("opened").c, RecordKind.BATCH_REGISTERED
        still_open = sa.select(opened.subject).where(
            opened.model == model, opened.kind.in_(OPENING), ~self._followed_by(opened, RecordKind.BATCH_CLOSED)
        )
        query = (
            self._select(model, kind)
            .where(columns.subject.in_(still_open), ~self._followed_by(columns, kind))
            .order_by(columns.event_time, columns.sequence)
            .limit(limit)
        )
        return self._fetch(query)


def _use_wal(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _insert_for(dialect: str) -> Any:
    """The dialect's INSERT that can leave a row out on conflict."""
    from importlib import import_module

    return import_module(f"sqlalchemy.dialects.{dialect}").insert


def _to_row(record: Record) -> dict[str, Any]:
    return {
        "key": record.key,
        "model": record.model,
        "kind": str(record.kind),
        "subject": record.subject,
        "status": str(record.status),
        # One fixed width, so that text order is time order.
        "event_time": utc(record, "event_time").isoformat(timespec="microseconds"),
        "recorded_at": utc(record, "recorded_at").isoformat(timespec="microseconds"),
        "payload": canonical_payload(record),
    }


def _to_record(row: "Row[Any]") -> Record:
    values = dict(row._mapping)
    return Record(
        **{
            **values,
            "kind": RecordKind(values["kind"]),
            "event_time": datetime.fromisoformat(values["event_time"]),
            "recorded_at": datetime.fromisoformat(values["recorded_at"]),
            "payload": json.loads(values["payload"]),
        }
    )
