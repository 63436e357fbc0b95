"""What selfheal writes down and tells: the clock, the ledger and the notifier. Never imports an adapter."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from selfheal_assets.core.ledger_chain import Head, Link
from selfheal_assets.core.notification import Delivered, Severity
from selfheal_assets.core.record import Record, RecordKind


class Clock(Protocol):
    def now(self) -> datetime:
        """The present, UTC-aware."""
        ...


class Ledger(Protocol):
    """The append-only record of what was seen, decided and done."""

    def append(self, *records: Record) -> int:
        """Store those whose key is new, all or none; the number stored.

        Stored records are numbered from 1 without gaps, in the order of writing, and chained by their hashes. Raises
        LedgerError for a record that cannot be kept.
        """
        ...

    def newest(
        self, model: str, kind: RecordKind, *, subject: str | None = None, status: str | None = None, limit: int = 1
    ) -> list[Record]:
        """At most `limit` records, the last written first."""
        ...

    def after(self, model: str, kind: RecordKind, sequence: int, limit: int) -> list[Record]:
        """At most `limit` records written after `sequence`, in the order of writing."""
        ...

    def current(self, model: str, kind: RecordKind, subjects: Sequence[str]) -> dict[str, Record]:
        """The last record of the kind for each of the subjects that has one."""
        ...

    def recent_subjects(self, model: str, kind: RecordKind, *, statuses: Sequence[str], limit: int) -> list[Record]:
        """The last record of each subject whose status is among `statuses`, newest event time first."""
        ...

    def open_batches(self, model: str, limit: int) -> list[Record]:
        """The last registration of each batch that was not closed since it was registered, or released, last.

        Oldest event time first.
        """
        ...

    def all_after(self, sequence: int, limit: int) -> list[Record]:
        """At most `limit` records of every model and kind written after `sequence`, in the order of writing."""
        ...

    def links(self, sequence: int, limit: int) -> list[Link]:
        """As `all_after`, for the audit: also rows that no ledger wrote."""
        ...

    def head(self) -> Head:
        """What the ledger says was written last."""
        ...

    def as_of(self, sequence: int) -> "Ledger":
        """The ledger as it was right after record `sequence` was written: every query answers as it did then.

        For reading: append on it raises LedgerError. Of the records of one append it may have the first ones alone.
        """
        ...


class Notifier(Protocol):
    def notify(
        self,
        model: str,
        title: str,
        body: str,
        *,
        incident: str | None = None,
        severity: Severity = Severity.INFO,
    ) -> None:
        """Tell people: what happened, then what was done and why. Takes milliseconds and never raises.

        The same title of the same incident is sent on once in a while only; a failure asks a person to act.
        """
        ...

    def deliver(self) -> Delivered:
        """Send on what was told, for a few seconds at most. Never raises: a dead receiver does not stop healing."""
        ...
