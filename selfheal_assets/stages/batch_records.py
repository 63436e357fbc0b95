"""Write down and look up what became of a batch. Never touches its rows."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import OPENING, Record, RecordKind
from selfheal_assets.ports import Ledger, Services

MATURED, IMMATURE = "MATURED", "IMMATURE"
"""Status of a LABELS record: whether the batch has labels enough to be judged by, and learned from."""
REFUSED = "REFUSED"
"""Status of a LABELS record: they break a declared check, and do not count until others come in their place."""


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
BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)
"""The place in time of a batch that came before any usable one, and says nothing of its own time."""
IN_FLIGHT = 100
"""At least as many batches as one ingest run may have between checking and publishing."""


def opening(services: Services, spec: ModelSpec, batch_id: str) -> int:
    """The place in the ledger of what last gave an ingest something to do with the batch: the identity of this try."""
    found = [services.ledger.newest(spec.name, kind, subject=batch_id) for kind in OPENING]
    return max(record.sequence for records in found for record in records)


def measured_after(services: Services, spec: ModelSpec, batch_id: str) -> int:
    """The place in the ledger of what gives rise to a measurement of the batch: this try of it, or its last labels.

    To be asked before the labels are read: labels that come in between then give rise to a measurement of their own.
    """
    labels = services.ledger.newest(spec.name, RecordKind.LABELS, subject=batch_id)
    return max([opening(services, spec, batch_id), *(record.sequence for record in labels)])


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
    """Record what became of the batch; the same try recorded twice changes nothing.

    `event_time`: its first clean event; without it a batch in quarantine is placed by the order of the record.
    """
    registered = services.ledger.newest(spec.name, RecordKind.BATCH_REGISTERED, subject=batch_id)[0]
    rows = {"rows_landed": 0, "rows_clean": 0, "rows_quarantined": 0, "labelled_rows": 0, **counts}
    this_try = opening(services, spec, batch_id)
    settled = Record(
        key=f"settled:{spec.name}:{batch_id}:{this_try}:{status}",
        model=spec.name,
        kind=RecordKind.BATCH_SETTLED,
        subject=batch_id,
        status=status,
        event_time=event_time or _placed(services, spec, status, registered),
        recorded_at=services.clock.now(),
        payload={**rows, "reasons": list(reasons), "landed_at": registered.payload["landed_at"]},
    )
    labels = services.ledger.newest(spec.name, RecordKind.LABELS, subject=batch_id)
    quality = quality_of(spec, settled, labels[0] if labels else None)
    services.ledger.append(*([quality.to_record(settled.recorded_at, this_try)] if quality else []), settled)
    if status not in USABLE:
        close_batch(services, spec, batch_id)


def _placed(services: Services, spec: ModelSpec, status: BatchStatus, registered: Record) -> datetime:
    """Of a batch in quarantine as a whole: right after the newest usable data known, or earlier by its own word.

    The time of landing is no event: beside the events of data that are replayed, or sent in later, it would be the
    newest for ever. Neither may broken rows put the batch behind all that follow.
    """
    if status is not BatchStatus.QUARANTINED:
        return registered.event_time
    newest = services.ledger.recent_subjects(spec.name, RecordKind.BATCH_SETTLED, statuses=USABLE, limit=1)
    after = newest[0].event_time + timedelta(microseconds=1) if newest else None
    if registered.event_time != datetime.fromisoformat(registered.payload["landed_at"]):
        return min(registered.event_time, after or registered.event_time)
    return after or BEFORE_ALL


def quality_of(spec: ModelSpec, settled: Record, labels: Record | None) -> Evidence | None:
    """The checks' verdict on the rows, and on the labels that came for them; None about a batch that nobody checked."""
    if settled.status not in (*USABLE, BatchStatus.QUARANTINED):
        return None
    landed, bad = settled.payload["rows_landed"], settled.payload["rows_quarantined"]
    refused = labels.payload["refused"] if labels and labels.status == REFUSED else []
    # Rows whose labels are refused are as little learned from as rows in quarantine.
    share = bad / landed if landed and not refused else 1.0
    sound = settled.status == BatchStatus.CLEAN and not refused
    return Evidence(
        model=spec.name,
        signal=Signal.QUALITY,
        status=Status.CLEAR if sound else Status.RAISED,
        batch_id=settled.subject,
        champion_version=None,
        event_time=settled.event_time,
        value=share,
        threshold=spec.quality.max_bad_row_share,
        sample_size=landed,
        reason="; ".join([*settled.payload["reasons"], *refused]) or "every check of severity error passed",
        strength=share / spec.quality.max_bad_row_share,
    )


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


def labelled_rows(ledger: Ledger, spec: ModelSpec, records: Sequence[Record]) -> dict[str, int]:
    """How many clean rows of each batch have a label by now; `records` are the last BATCH_SETTLED of the batches."""
    late = ledger.current(spec.name, RecordKind.LABELS, [record.subject for record in records])
    counts = {}
    for record in records:
        labels = late.get(record.subject, record)
        # Whichever of the two was written last may have counted before the other did.
        known = [0] if labels.status == REFUSED else [r.payload["labelled_rows"] for r in (record, labels)]
        counts[record.subject] = min(max(known), record.payload["rows_clean"])
    return counts


def learnable_batches(ledger: Ledger, spec: ModelSpec, limit: int) -> list[Record]:
    """The most recent batches to learn from, newest event time first: features published and labels matured.

    Labels that come early are seldom a fair sample: a batch with fewer than `performance.min_matured` of them is not
    learned from yet.
    """
    found: list[Record] = []
    for wanted in (limit, limit + IN_FLIGHT):  # Nearly always the first are: a tick need not read more.
        recent = ledger.recent_subjects(spec.name, RecordKind.BATCH_SETTLED, statuses=USABLE, limit=wanted)
        candidates = _newest_first([*recent, *_labelled_later(ledger, spec, wanted)])
        found = _learnable(ledger, spec, candidates)[:limit]
        if len(found) == limit or len(recent) < wanted:
            break
    return found


def _labelled_later(ledger: Ledger, spec: ModelSpec, limit: int) -> list[Record]:
    """The newest batches whose labels matured by files of their own: they may lie far behind the newest of all."""
    matured = ledger.recent_subjects(spec.name, RecordKind.LABELS, statuses=[MATURED], limit=limit)
    settled = ledger.current(spec.name, RecordKind.BATCH_SETTLED, [record.subject for record in matured])
    return [record for record in settled.values() if record.status in USABLE]


def _newest_first(records: Sequence[Record]) -> list[Record]:
    distinct = {record.subject: record for record in records}
    return sorted(distinct.values(), key=lambda record: (record.event_time, record.sequence), reverse=True)


def _learnable(ledger: Ledger, spec: ModelSpec, settled: Sequence[Record]) -> list[Record]:
    """Those whose ingest has ended, so that their features are published, and which have labels enough."""
    labelled = labelled_rows(ledger, spec, settled)
    closed = ledger.current(spec.name, RecordKind.BATCH_CLOSED, [record.subject for record in settled])
    return [
        record
        for record in settled
        if labelled[record.subject] >= spec.performance.min_matured * record.payload["rows_clean"]
        and record.subject in closed
        and closed[record.subject].sequence > record.sequence
    ]
