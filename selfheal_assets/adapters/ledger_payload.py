"""Bring a record into the form in which every ledger keeps it, JSON and UTC. Never lets in what cannot come back."""

import json
from datetime import UTC, datetime
from typing import Literal

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.record import Record


def canonical_payload(record: Record) -> str:
    """The payload as JSON with sorted keys. Dates and enums become text; NaN and infinities are refused."""
    try:
        return json.dumps(dict(record.payload), sort_keys=True, default=str, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise SelfhealError(
            "A record's payload must be finite numbers, text, lists and mappings with text keys; "
            f"received {dict(record.payload)!r:.500} in {record.key!r} ({error}). Write None where a number is unknown."
        ) from error


def utc(record: Record, field: Literal["event_time", "recorded_at"]) -> datetime:
    """The moment in UTC."""
    moment: datetime = getattr(record, field)
    if moment.tzinfo is None:
        raise SelfhealError(
            f"A record's {field} must have a time zone; received {moment.isoformat()} in {record.key!r}. "
            "Pass it in UTC."
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise SelfhealError(
            f"A record's {field} must be between the years 1 and 9999 in UTC; received {moment.isoformat()} in "
            f"{record.key!r}. Pass the nearest moment that is."
        ) from error
