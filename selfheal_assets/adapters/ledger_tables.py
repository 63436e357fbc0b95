"""Lay the ledger out in SQL: the tables, and a record to a row and back. Never opens a database."""

import json
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from selfheal_assets.adapters.ledger_payload import canonical_payload, utc
from selfheal_assets.core.errors import LedgerError
from selfheal_assets.core.ledger_chain import Link
from selfheal_assets.core.record import Record, RecordKind

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Row, Table


class Tables(NamedTuple):
    metadata: "MetaData"
    records: "Table"
    head: "Table"
    """One row: the number and the hash of the record written last."""


@cache
def tables() -> Tables:
    import sqlalchemy as sa

    metadata = sa.MetaData()
    # SQLite keeps a table in the order of its primary key for this very type alone.
    whole_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    records = sa.Table(
        "records",
        metadata,
        sa.Column("sequence", whole_number, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("event_time", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Index("records_by_event_time", "model", "kind", "event_time", "sequence"),
        sa.Index("records_by_kind", "model", "kind", "sequence"),
        sa.Index("records_by_subject", "model", "kind", "subject", "sequence"),
    )
    head = sa.Table(
        "head",
        metadata,
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
        sa.Column("sequence", whole_number, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
    return Tables(metadata, records, head)


def to_row(record: Record) -> dict[str, Any]:
    """The columns of a record. Raises LedgerError for what cannot be kept."""
    return {
        "sequence": record.sequence,
        "key": record.key,
        "model": record.model,
        "kind": str(record.kind),
        "subject": record.subject,
        "status": str(record.status),
        # One fixed width, so that text order is time order.
        "event_time": utc(record, "event_time").isoformat(timespec="microseconds"),
        "recorded_at": utc(record, "recorded_at").isoformat(timespec="microseconds"),
        "payload": canonical_payload(record),
        "hash": record.hash,
    }


def to_record(row: "Row[Any]") -> Record:
    """The record of a row. Raises LedgerError for one that no ledger wrote."""
    values = dict(row._mapping)
    try:
        if not all(isinstance(value, str) for name, value in values.items() if name != "sequence"):
            raise TypeError("not text")
        return Record(
            **{
                **values,
                "kind": RecordKind(values["kind"]),
                "event_time": datetime.fromisoformat(values["event_time"]),
                "recorded_at": datetime.fromisoformat(values["recorded_at"]),
                "payload": dict(json.loads(values["payload"])),
            }
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise LedgerError(
            "A row of the ledger must be as a ledger writes it; "
            f"received {values!r:.500} ({error}). Find every such row with `selfheal ledger verify`."
        ) from error


def to_link(row: "Row[Any]") -> Link:
    """The row for the audit: its record only when writing that again gives the same row, to the letter."""
    try:
        record = to_record(row)
        faithful = to_row(record) == dict(row._mapping)
    except (LedgerError, RecursionError):
        faithful = False
    return Link(row.sequence, str(row.hash), record if faithful else None)
