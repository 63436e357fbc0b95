"""Answer questions from a ledger in a SQL database, as of the present or of an earlier record. Never writes."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.ledger_database import LedgerDatabase
from selfheal_assets.adapters.ledger_payload import past_is_read_only
from selfheal_assets.adapters.ledger_tables import tables, to_link, to_record
from selfheal_assets.adapters.open_batches import OpenBatches
from selfheal_assets.core.ledger_chain import GENESIS, Head, Link
from selfheal_assets.core.record import Record, RecordKind

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select

SUBJECTS = 500
"""Looked up in one query; databases limit the parameters of a statement."""


class SqlLedgerView:
    """The reading half of the `Ledger` port; with `until`, only what was written up to that number exists."""

    def __init__(self, database: LedgerDatabase, until: int | None = None) -> None:
        self._database = database
        self._until = until
        self._open = OpenBatches()

    @cached_property
    def _records(self) -> "FromClause":
        """What every query and subquery selects from; both databases fold it into the query and use the indexes."""
        import sqlalchemy as sa

        records = tables().records
        if self._until is None:
            return records
        return sa.select(records).where(records.c.sequence <= self._until).subquery("records_until")

    def append(self, *records: Record) -> int:  # noqa: ARG002 - the port's signature
        raise past_is_read_only(self._until or 0)

    def as_of(self, sequence: int) -> "SqlLedgerView":
        return SqlLedgerView(self._database, sequence if self._until is None else min(sequence, self._until))

    def _select(self, model: str, kind: RecordKind) -> "Select[Any]":
        import sqlalchemy as sa

        columns = self._records.c
        return sa.select(self._records).where(columns.model == model, columns.kind == kind)

    def _rows(self, query: "Select[Any]") -> "Sequence[Row[Any]]":
        with self._database.reading() as connection:
            return connection.execute(query).all()

    def _fetch(self, query: "Select[Any]") -> list[Record]:
        return [to_record(row) for row in self._rows(query)]

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
        import sqlalchemy as sa

        records = tables().records
        columns = records.c
        # Read backwards in event time until there are enough: the cost does not grow with the history. The bound as an
        # expression, or SQLite takes the index by number for it and sorts all that there ever was.
        query = (
            sa.select(records)
            .where(columns.model == model, columns.kind == kind, columns.status.in_(statuses))
            .where(~self._followed_by(columns, kind))
            .order_by(columns.event_time.desc(), columns.sequence.desc())
            .limit(limit)
        )
        return self._fetch(query if self._until is None else query.where(columns.sequence + 0 <= self._until))

    def open_batches(self, model: str, limit: int) -> list[Record]:
        with self._database.reading() as connection:
            # In one transaction: the place in the ledger, and what is open there.
            until = self._until if self._until is not None else _newest(connection)
            found = self._open.of(connection, model, until)
        pages = (found[first : first + SUBJECTS] for first in range(0, len(found), SUBJECTS))
        kind = RecordKind.BATCH_REGISTERED
        opened = [record for page in pages for record in self.current(model, kind, page).values()]
        return sorted(opened, key=lambda record: (record.event_time, record.sequence))[:limit]

    def _all_after(self, sequence: int, limit: int) -> "Select[Any]":
        import sqlalchemy as sa

        place = self._records.c.sequence
        return sa.select(self._records).where(place > sequence).order_by(place).limit(limit)

    def all_after(self, sequence: int, limit: int) -> list[Record]:
        return self._fetch(self._all_after(sequence, limit))

    def links(self, sequence: int, limit: int) -> list[Link]:
        return [to_link(row) for row in self._rows(self._all_after(sequence, limit))]

    def head(self) -> Head:
        import sqlalchemy as sa

        head, place = tables().head.c, self._records.c.sequence
        newest = sa.select(sa.func.max(place)).scalar_subquery()
        # In one statement, so that no record comes between what is read.
        query = sa.select(
            sa.select(head.sequence).scalar_subquery().label("sequence"),
            sa.select(head.hash).scalar_subquery().label("hash"),
            newest.label("newest"),
            sa.select(self._records.c.hash).where(place == newest).scalar_subquery().label("newest_hash"),
        )
        (found,) = self._rows(query)
        last = found.newest or 0
        if self._until is not None and (found.sequence is None or found.sequence > self._until):
            return Head(last, found.newest_hash or GENESIS, last)
        return Head(found.sequence or 0, found.hash or "", last)


def _newest(connection: "Connection") -> int:
    """The number of the newest record; 0 in an empty ledger."""
    import sqlalchemy as sa

    return connection.scalar(sa.select(sa.func.max(tables().records.c.sequence))) or 0
