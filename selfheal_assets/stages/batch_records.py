"""Write down and look up what became of a batch. Never touches its rows."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Services


class BatchStatus(StrEnum):
    CLEAN = "CLEAN"
    PARTIAL = "PARTIAL"
    """Some rows are clean, the rest are in quarantine."""
    QUARANTINED = "QUARANTINED"
    WITHDRAWN = "WITHDRAWN"
    """The sender removed or replaced the file before it was read."""
    DISCARDED = "DISCARDED"
    """A person gave the quarantined batch up."""


USABLE = (BatchStatus.CLEAN, BatchStatus.PARTIAL)


def attempt(services: Services, spec: ModelSpec, batch_id: str) -> int:
    """How often the batch was released for another try."""
    waivers = services.ledger.newest(spec.name, RecordKind.WAIVER, subject=batch_id)
    return int(waivers[0].payload["attempt"]) if waivers else 0


def settle(
    services: Services,
    spec: ModelSpec,
    batch_id: str,
    status: BatchStatus,
    *,
    reasons: Sequence[str],
    event_time: datetime | None = None,
    **counts: Any,
) -> None:
    """Record what became of the batch; the same try recorded twice changes nothing."""
    registered = services.ledger.newest(spec.name, RecordKind.BATCH_REGISTERED, subject=batch_id)[0]
    rows = {"rows_landed": 0, "rows_clean": 0, "rows_quarantined": 0, "labelled_rows": 0, **counts}
    services.ledger.append(
        Record(
            key=f"settled:{spec.name}:{batch_id}:{attempt(services, spec, batch_id)}:{status}",
            model=spec.name,
            kind=RecordKind.BATCH_SETTLED,
            subject=batch_id,
            status=status,
            event_time=event_time or registered.event_time,
            recorded_at=services.clock.now(),
            payload={**rows, "reasons": list(reasons), "landed_at": registered.payload["landed_at"]},
        )
    )


def usable_batches(services: Services, spec: ModelSpec, limit: int) -> list[Record]:
    """The most recent batches with clean rows, newest event time first."""
    return services.ledger.recent_subjects(spec.name, RecordKind.BATCH_SETTLED, statuses=USABLE, limit=limit)
