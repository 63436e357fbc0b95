"""Chain the ledger's records: each record and the hash before it in, its own hash out. Never reads a ledger itself.

Every record's hash is taken over the hash of the record before it and over its own canonical form, as in Haber and
Stornetta, "How to time-stamp a digital document" (1991): nothing in the middle can be changed, taken out or moved
without a later hash ceasing to fit (`core/ledger_breaks.py` finds it). The end is held by the head, a row of its own
that names the newest record. Who can write the database can rewrite the whole chain with its head: only a head noted
elsewhere, as `selfheal ledger verify` prints it, shows that.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import NamedTuple

from selfheal_assets.core.record import Record

GENESIS = "0" * 64
"""The hash before the first record."""


class Link(NamedTuple):
    """One row of the ledger, as it is found."""

    sequence: int
    hash: str
    record: Record | None
    """None when the row does not hold a record in the form in which the ledger writes it."""


class Head(NamedTuple):
    """What the ledger says was written last; (0, GENESIS) before anything was."""

    sequence: int
    hash: str
    """Empty when the ledger lost its head."""
    newest: int
    """The largest number that a row bears, read at the same moment; equal to `sequence` in a sound ledger."""


def canonical_bytes(record: Record) -> bytes:
    """All fields but `sequence` and `hash`, as JSON with sorted keys and UTC times of one width.

    The payload must be JSON's own types with text keys, as a ledger gives it back.
    """
    fields = {
        "key": record.key,
        "model": record.model,
        "kind": str(record.kind),
        "subject": record.subject,
        "status": str(record.status),
        "event_time": _instant(record.event_time),
        "recorded_at": _instant(record.recorded_at),
        "payload": dict(record.payload),
    }
    return json.dumps(fields, sort_keys=True, allow_nan=False, separators=(",", ":")).encode()


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def next_hash(previous_hash: str, record: Record) -> str:
    """SHA-256, in hexadecimal, over the hash of the record before and the record's canonical bytes."""
    return digest(previous_hash, canonical_bytes(record))


def digest(previous_hash: str, canonical: bytes) -> str:
    """`next_hash` of a record whose canonical bytes are at hand."""
    return hashlib.sha256(previous_hash.encode() + b"\n" + canonical).hexdigest()
