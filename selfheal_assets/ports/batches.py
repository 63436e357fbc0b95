"""Where batches are kept and how they are checked, and the values that cross. Never imports an adapter."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from selfheal_assets.core.quality import Check, CheckOutcome
from selfheal_assets.ports.batch_rows import BatchRows

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class LandedFile:
    """A file that has been put in place in the landing folder."""

    path: Path
    size_bytes: int
    landed_at: datetime


class BatchStore(Protocol):
    """Batches, quarantine and documents as durable files; every write puts a file in place whole."""

    def landing(self, model: str) -> Path: ...

    def landed(self, model: str) -> "list[LandedFile]":
        """Files in place in the landing folder, by name."""
        ...

    def batch_id(self, file: Path) -> str:
        """Unique by name and content; safe as a file name, a partition key and a tag."""
        ...

    def first_event_time(self, file: Path, column: str) -> datetime | None:
        """The earliest event time that can be had without reading the rows."""
        ...

    def take(self, model: str, batch_id: str, name: str, types: Mapping[str, str]) -> BatchRows:
        """Turn the landed file into the raw batch, and only then remove it."""
        ...

    def read_file(self, file: Path, types: Mapping[str, str]) -> "pd.DataFrame":
        """Any CSV or Parquet file as a typed table; UnreadableFileError when it is none."""
        ...

    def drop_duplicate(self, model: str, name: str, batch_id: str) -> bool: ...

    def path(self, model: str, stage: str, batch_id: str) -> Path: ...

    def has(self, model: str, stage: str, batch_id: str) -> bool: ...

    def read(self, model: str, stage: str, batch_id: str) -> "pd.DataFrame": ...

    def rows(self, model: str, stage: str, batch_id: str) -> BatchRows:
        """The rows of `read`, had as they are needed."""
        ...

    def write(self, model: str, stage: str, batch_id: str, frame: "pd.DataFrame") -> Path: ...

    def writing(
        self, model: str, stage: str, batch_id: str
    ) -> "AbstractContextManager[Callable[[pd.DataFrame], None]]":
        """Gives what takes the rows by parts, in order; the file is in place, as by `write`, when all are in."""
        ...

    def remove(self, model: str, stage: str, batch_id: str) -> None: ...

    def earlier(self, model: str, batch_id: str) -> "Callable[[str, pd.Series], pd.Series]":
        """A look-up over all other clean batches: which of the values stand in that column."""
        ...

    def quarantine(self, model: str, batch_id: str) -> Path: ...

    def write_quarantine(
        self, model: str, batch_id: str, rows: "pd.DataFrame | None", reason: Mapping[str, Any]
    ) -> Path: ...

    def quarantining(self, model: str, batch_id: str) -> "AbstractContextManager[Callable[[pd.DataFrame], None]]":
        """Gives what takes the rows by parts; they are in quarantine once `write_quarantine` has said why."""
        ...

    def in_quarantine(self, model: str, batch_id: str) -> bool: ...

    def read_quarantine(self, model: str, batch_id: str) -> "tuple[pd.DataFrame | None, dict[str, Any]]": ...

    def quarantine_whole(self, model: str, batch_id: str, name: str, reason: str) -> int:
        """Keep a batch that could not be ingested, as landed or as raw; the rows, 0 when they cannot be counted."""
        ...

    def retire_quarantine(self, model: str, batch_id: str) -> None: ...

    def write_document(self, model: str, name: str, content: Mapping[str, Any]) -> Path: ...

    def read_document(self, model: str, name: str) -> dict[str, Any] | None: ...


@dataclass(frozen=True, kw_only=True)
class CheckContext:
    """What a check may need beside the batch's rows."""

    model: str
    batch_id: str
    now: datetime
    event_timestamp: str
    reference: "pd.DataFrame | None"
    """The champion's reference rows, or None before the first champion."""
    earlier: "Callable[[str, pd.Series], pd.Series]"
    """(column, values) -> boolean Series: which values stand in that column of an earlier clean batch."""


class QualityChecks(Protocol):
    """Evaluates declared checks over a batch."""

    def evaluate(
        self, rows: "pd.DataFrame | BatchRows", checks: Sequence[Check], context: CheckContext
    ) -> list[CheckOutcome]:
        """One outcome a check, in the order of `checks`; an error is an ERRORED outcome, not an exception."""
        ...

    def report_uri(self, model: str) -> str | None:
        """Where a person reads the last report of the model, or None when there is none yet."""
        ...
