"""Write down and look up what became of a batch. Never touches its rows."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import OPENING, Record, RecordKind
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
IN_FLIGHT = 100
"""At least as many batches as one ingest run may have between checking and publishing."""


def opening(services: Services, spec: ModelSpec, batch_id: str) -> int:
    """The place in the ledger of what last gave an ingest something to do with the batch: the identity of this try."""
    found = [services.ledger.newest(spec.name, kind, subject=batch_id) for kind in OPENING]
    return max(record.sequence for records in found for record in records)


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
            key=f"settled:{spec.name}:{batch_id}:{opening(services, spec, batch_id)}:{status}",
            model=spec.name,
            kind=RecordKind.BATCH_SETTLED,
            subject=batch_id,
            status=status,
            event_time=event_time or registered.event_time,
            recorded_at=services.clock.now(),
            payload={**rows, "reasons": list(reasons), "landed_at": registered.payload["landed_at"]},
        )
    )
    if status not in USABLE:
        close_batch(services, spec, batch_id)


def close_batch(services: Services, spec: ModelSpec, batch_id: str) -> None:
    """Record that nothing is left to do for this try of the batch."""
    now = services.clock.now()
    services.ledger.append(
        Record(
            key=f"closed:{spec.name}:{batch_id}:{opening(services, spec, batch_id)}",
            model=spec.name,
            kind=RecordKind.BATCH_CLOSED,
            subject=batch_id,
            status="CLOSED",
            event_time=now,
            recorded_at=now,
        )
    )


def learnable_batches(services: Services, spec: ModelSpec, limit: int) -> list[Record]:
    """The most recent batches whose clean rows have their features published, newest event time first."""
    found: list[Record] = []
    for wanted in (limit, limit + IN_FLIGHT):  # Nearly always the first are: a tick need not read more.
        recent = services.ledger.recent_subjects(spec.name, RecordKind.BATCH_SETTLED, statuses=USABLE, limit=wanted)
        found = [r for r in recent if services.batches.has(spec.name, "features", r.subject)][:limit]
        if len(found) == limit or len(recent) < wanted:
            break
    return found
