"""What was seen, how strong and when: measured statements about a model. Never decides what to do."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from selfheal_assets.core.record import Record, RecordKind


class Status(StrEnum):
    CLEAR = "CLEAR"
    RAISED = "RAISED"
    UNKNOWN = "UNKNOWN"
    """No data, NaN or an error. Never treated as CLEAR."""


class Signal(StrEnum):
    DRIFT = "drift"
    PERFORMANCE = "performance"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One measured statement about one batch of one model."""

    model: str
    signal: Signal
    status: Status
    batch_id: str
    champion_version: str | None
    """The version it was measured against; None for data quality."""
    event_time: datetime
    value: float | None
    threshold: float | None
    sample_size: int
    reason: str

    def to_record(self, recorded_at: datetime, opening: int) -> Record:
        """The ledger's form; `opening` is the ledger's place of what gave rise to this try of the batch."""
        payload = asdict(self)
        for promoted in ("model", "status", "batch_id", "event_time"):
            del payload[promoted]
        return Record(
            key=f"evidence:{self.model}:{self.signal}:{self.batch_id}:{self.champion_version}:{opening}",
            model=self.model,
            kind=RecordKind.EVIDENCE,
            subject=self.batch_id,
            status=self.status,
            event_time=self.event_time,
            recorded_at=recorded_at,
            payload=payload,
        )

    @classmethod
    def from_record(cls, record: Record) -> "Evidence":
        """Read back what `to_record` wrote."""
        payload = dict(record.payload)
        return cls(
            model=record.model,
            signal=Signal(payload.pop("signal")),
            status=Status(record.status),
            batch_id=record.subject,
            event_time=record.event_time,
            **payload,
        )
