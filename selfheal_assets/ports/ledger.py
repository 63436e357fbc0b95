"""What selfheal writes down and tells: the clock, the ledger and the notifier. Never imports an adapter."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from selfheal_assets.core.record import Record, RecordKind


class Clock(Protocol):
    def now(self) -> datetime:
        """The present, UTC-aware."""
        ...


class Ledger(Protocol):
    """The append-only record of what was seen, decided and done."""

    def append(self, *records: Record) -> int:
        """Store those whose key is new, all or none; the number stored."""
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


class Notifier(Protocol):
    def notify(self, model: str, title: str, body: str) -> None:
        """Tell people. Never raises: a dead receiver does not stop healing."""
        ...
