"""Bring a record into the form in which every ledger keeps it, JSON and UTC. Never lets in what cannot come back."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from selfheal_assets.core.errors import LedgerError
from selfheal_assets.core.record import Record


def stored_form(record: Record) -> Record:
    """The record as it will be read back, but for its place and hash. Raises LedgerError for what cannot be kept."""
    for text in (record.key, record.model, record.subject, str(record.status)):
        _refuse_what_no_database_keeps(text, record)
    return replace(
        record,
        status=str(record.status),
        event_time=utc(record, "event_time"),
        recorded_at=utc(record, "recorded_at"),
        payload=json.loads(canonical_payload(record)),
        sequence=0,
        hash="",
    )


def _refuse_what_no_database_keeps(text: str, record: Record) -> None:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise LedgerError(
            "A record's key, model, subject and status must be text without NUL and without lone surrogates; "
            f"received {text!r} in {record.key!r}. Escape it, or name the thing otherwise."
        )


def canonical_payload(record: Record) -> str:
    """The payload as JSON with sorted keys. Dates and enums become text; NaN and infinities are refused."""
    try:
        return json.dumps(dict(record.payload), sort_keys=True, default=str, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise LedgerError(
            "A record's payload must be finite numbers, text, lists and mappings with text keys; "
            f"received {dict(record.payload)!r:.500} in {record.key!r} ({error}). Write None where a number is unknown."
        ) from error


def utc(record: Record, field: Literal["event_time", "recorded_at"]) -> datetime:
    """The moment in UTC."""
    moment: datetime = getattr(record, field)
    if moment.tzinfo is None:
        raise LedgerError(
            f"A record's {field} must have a time zone; received {moment.isoformat()} in {record.key!r}. "
            "Pass it in UTC."
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise LedgerError(
            f"A record's {field} must be between the years 1 and 9999 in UTC; received {moment.isoformat()} in "
            f"{record.key!r}. Pass the nearest moment that is."
        ) from error


def past_is_read_only(sequence: int) -> LedgerError:
    """What an append to a view of an earlier moment ends with."""
    return LedgerError(
        f"A record must be appended to the ledger itself; received one for the ledger as of record {sequence}, "
        "which is for reading. Use the ledger from which the view was made."
    )
