"""What was seen, how strong and when: measured statements about a model. Never decides what to do."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from selfheal_assets.core.record import Record, RecordKind


class Status(StrEnum):
    CLEAR = "CLEAR"
    RAISED = "RAISED"
    UNKNOWN = "UNKNOWN"
    """No data, NaN or an error. Never treated as CLEAR."""


class Signal(StrEnum):
    """What is watched. RAISED always means: something is wrong."""

    QUALITY = "quality"
    DRIFT = "drift"
    """The features' distributions against the champion's reference."""
    SCORE_DRIFT = "score_drift"
    PERFORMANCE = "performance"
    """Realised, on labels."""
    RISK = "risk"
    """The sequential test on the labelled rows since the promotion."""
    ESTIMATED_PERFORMANCE = "estimated_performance"
    """From calibrated scores, where labels have not come. Blind to a change of the concept."""
    PRIOR = "prior"
    """The share of label 1."""
    CONDITIONAL = "conditional"
    """The features' distributions within each label."""
    RELEASE = "release"
    """The previous champion against the present one, on the same rows: RAISED when the previous does better."""
    VOLUME = "volume"
    FRESHNESS = "freshness"
    TRAINING = "training"
    PROMOTION = "promotion"
    LATENCY = "latency"
    ERRORS = "errors"
    TIMEOUTS = "timeouts"
    FEATURE_STORE = "feature_store"


UNBOUND = frozenset(
    {
        Signal.QUALITY,
        Signal.VOLUME,
        Signal.FRESHNESS,
        Signal.TRAINING,
        Signal.LATENCY,
        Signal.ERRORS,
        Signal.TIMEOUTS,
        Signal.FEATURE_STORE,
    }
)
"""Signals that are not about one champion: they stand when another one serves."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One measured statement about a model, most often about one of its batches."""

    model: str
    signal: Signal
    status: Status
    batch_id: str
    """The batch, or the newest of the batches, that it is about."""
    champion_version: str | None
    """The version it was measured against; None where none is concerned."""
    event_time: datetime
    value: float | None
    threshold: float | None
    sample_size: int
    reason: str
    strength: float | None = None
    """Without a unit: 1 is exactly at the threshold, 2 twice as far. None where it is not known."""
    batch_ids: tuple[str, ...] = ()
    """All the batches behind it, oldest first; none: `batch_id` alone."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What a person or the diagnosis may want besides: JSON's own types."""

    def to_record(self, recorded_at: datetime, after: int) -> Record:
        """The ledger's form; `after` is the ledger's place of what gave rise to this measurement."""
        payload = {**asdict(self), "batch_ids": list(self.batch_ids), "details": dict(self.details)}
        for promoted in ("model", "status", "batch_id", "event_time"):
            del payload[promoted]
        return Record(
            key=f"evidence:{self.model}:{self.signal}:{self.batch_id}:{self.champion_version}:{after}",
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
            batch_ids=tuple(payload.pop("batch_ids", ())),
            **payload,
        )
