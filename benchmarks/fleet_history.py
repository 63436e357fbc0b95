"""Give a model a long past: batches ingested, judged and healed, written to its ledger in bulk. Never measures."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import dagster as dg

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.incident import Attempt, Incident, IncidentState, OutcomeStatus
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Ledger

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=1)
VERSION = "1"
INCIDENT_EVERY = 200
"""One incident in so many batches, healed within them."""
RECORDS_AT_ONCE = 10_000
HEALED = (IncidentState.DIAGNOSED, IncidentState.HEALING, IncidentState.VERIFYING, IncidentState.RESOLVED)


def batch_ids(batches: int) -> list[str]:
    """In order; a longer past begins as a shorter one."""
    return [f"batch-{place:06d}" for place in range(batches)]


def write_past(ledger: Ledger, model: str, batches: int) -> int:
    """What the loop writes of so many clean batches under one champion, and of the incidents between; the records."""
    records, written = _past(model, batches), 0
    while page := list(islice(records, RECORDS_AT_ONCE)):
        written += ledger.append(*page)
    return written


def _past(model: str, batches: int) -> Iterator[Record]:
    yield _record(model, RecordKind.OUTCOME, "first", OutcomeStatus.PROMOTED, BEGINNING, version=VERSION, metric=0.9)
    for place, batch_id in enumerate(batch_ids(batches)):
        at = BEGINNING + (place + 1) * STEP
        yield from _batch(model, batch_id, at)
        if place % INCIDENT_EVERY == INCIDENT_EVERY - 1:
            yield from _incident(model, batch_id, at)


def _batch(model: str, batch_id: str, at: datetime) -> Iterator[Record]:
    landed = at.isoformat()
    yield _record(
        model,
        RecordKind.BATCH_REGISTERED,
        batch_id,
        "REGISTERED",
        at,
        file_name=f"{batch_id}.parquet",
        size_bytes=100_000,
        landed_at=landed,
    )
    rows = {"rows_landed": 2_500, "rows_clean": 2_500, "rows_quarantined": 0, "labelled_rows": 2_500}
    yield _evidence(model, batch_id, Signal.QUALITY, None, at)
    yield _record(model, RecordKind.BATCH_SETTLED, batch_id, "CLEAN", at, **rows, reasons=[], landed_at=landed)
    for signal in (Signal.DRIFT, Signal.PERFORMANCE):
        yield _evidence(model, batch_id, signal, VERSION, at)
    yield _record(model, RecordKind.BATCH_CLOSED, batch_id, "CLOSED", at)


def _evidence(model: str, batch_id: str, signal: Signal, version: str | None, at: datetime) -> Record:
    return Evidence(
        model=model,
        signal=signal,
        status=Status.CLEAR,
        batch_id=batch_id,
        champion_version=version,
        event_time=at,
        value=0.01,
        threshold=0.2,
        sample_size=2_500,
        reason="as before",
        strength=0.05,
    ).to_record(at, 0)


def _incident(model: str, batch_id: str, at: datetime) -> Iterator[Record]:
    """A restart that helped: its decision, its outcome and every transition."""
    decision = f"restart-{batch_id}"
    incident = Incident(
        id=f"incident-{model}-{batch_id}",
        model=model,
        cause=Cause.SERVING_FAULT,
        state=IncidentState.OPEN,
        reason="a server failed",
        opened_at=at,
        batch_ids=(batch_id,),
        champion_version=VERSION,
        tried=(Attempt(action=Action.RESTART, decision_id=decision, decided_at=at),),
    )
    yield incident.to_record(at)
    about = {"action": Action.RESTART, "incident": incident.id, "reason": "a server failed"}
    yield _record(model, RecordKind.DECISION, decision, "DECIDED", at, **about)
    yield _record(model, RecordKind.OUTCOME, decision, OutcomeStatus.RESTARTED, at, version=VERSION, metric=None)
    for state in HEALED:
        incident = incident.to(state, "and went on")
        yield incident.to_record(at)


def _record(model: str, kind: RecordKind, subject: str, status: str, at: datetime, **payload: object) -> Record:
    return Record(
        key=f"{kind}:{model}:{subject}",
        model=model,
        kind=kind,
        subject=subject,
        status=status,
        event_time=at,
        recorded_at=at,
        payload=payload,
    )


def set_live(instance: dg.DagsterInstance, partitions: str, live: Iterable[str]) -> None:
    """Make those the partitions of Dagster, in order; those of before are retired."""
    for old in instance.get_dynamic_partitions(partitions):
        instance.delete_dynamic_partition(partitions, old)
    instance.add_dynamic_partitions(partitions, list(live))
