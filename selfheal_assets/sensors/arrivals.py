"""Arrivals: landed files in; registered batches and one ingest run over the backlog out. Never reads a file's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import LandedFile, Services
from selfheal_assets.sensors.backlog import Plan, plan_ingest
from selfheal_assets.sensors.memory import more_memory
from selfheal_assets.sensors.runs import active_run
from selfheal_assets.stages import jobs
from selfheal_assets.stages.batch_records import BatchStatus
from selfheal_assets.stages.identity import BACKLOG_TAG, MODEL_TAG, SIZE_TAG, partitions
from selfheal_assets.stages.jobs import AssetJob

BATCHES_PER_RUN = 24
FILES_PER_TICK = 100
BYTES_PER_TICK = 200_000_000
"""Files are hashed up to this many bytes a tick, so that a tick ends within a second; at least one file is."""
OPEN_BATCHES = 10_000
LIVE_PARTITIONS = 2_000
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dataclass(frozen=True, kw_only=True)
class _Arrivals:
    """What the landing folder held."""

    registered: Sequence[str]
    duplicates: Sequence[str]
    waiting: int
    """Files left for the next tick."""
    unread: Sequence[str]
    """Files that could not be opened, with the reason; each tick tries them again."""


def arrivals_sensor(spec: ModelSpec, ingest: AssetJob) -> dg.SensorDefinition:
    """The sensor `m_arrivals`."""

    @dg.sensor(
        name=f"{spec.name}_arrivals",
        job=ingest,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Registers files that land for {spec.name} and requests their ingest, many batches a run.",
    )
    def arrivals(context: dg.SensorEvaluationContext, selfheal: dg.ResourceParam[Services]) -> dg.SensorResult:
        # Before the open batches are listed: a run that ends in between has closed its batches.
        running = active_run(context.instance, [ingest.name, jobs.release_name(spec)])
        opened = selfheal.ledger.open_batches(spec.name, limit=OPEN_BATCHES)
        found = _register(selfheal, spec, opened)
        if found.registered:
            opened = selfheal.ledger.open_batches(spec.name, limit=BATCHES_PER_RUN)
        plan = _plan(context, selfheal, spec, running, [r.subject for r in opened[:BATCHES_PER_RUN]])
        seen = _told(found)
        context.log.info(f"{seen}; {plan.why}")
        if not plan.batch_ids:
            return dg.SensorResult(skip_reason=f"{seen}; {plan.why}")
        return dg.SensorResult(
            run_requests=[_request(context, spec, ingest.name, plan)],
            dynamic_partitions_requests=_partition_changes(context.instance, spec, plan.batch_ids),
        )

    return arrivals


def _told(found: _Arrivals) -> str:
    unread = f", {len(found.unread)} that cannot be opened: {'; '.join(found.unread[:3])}" if found.unread else ""
    counts = f"{len(found.registered)} new files, {len(found.duplicates)} already known, {found.waiting} left for later"
    return counts + unread


def _register(selfheal: Services, spec: ModelSpec, opened: Sequence[Record]) -> _Arrivals:
    """Give every new file its batch id in the ledger; its partition follows with the request of its ingest."""
    known = {_stamp(r.payload) for r in opened}
    fresh = [file for file in selfheal.batches.landed(spec.name) if _stamp(_seen(file)) not in known]
    chosen = within_budget(fresh)
    records, duplicates, unread = list[Record](), list[str](), list[str]()
    for file in chosen:
        try:
            batch_id = selfheal.batches.batch_id(file.path)
        except OSError as error:  # Taken back by its sender just now, or not for us to read: the others go on.
            unread.append(f"{file.path.name!r}: {error.strerror}")
            continue
        settled = selfheal.ledger.newest(spec.name, RecordKind.BATCH_SETTLED, subject=batch_id)
        closed = selfheal.ledger.newest(spec.name, RecordKind.BATCH_CLOSED, subject=batch_id)
        if closed and settled and settled[0].status != BatchStatus.WITHDRAWN:
            selfheal.batches.drop_duplicate(spec.name, file.path.name, batch_id)
            duplicates.append(batch_id)
        else:
            withdrawn = settled[0].sequence if closed and settled else 0
            records.append(_registration(selfheal, spec, file, batch_id, withdrawn=withdrawn))
    records.sort(key=lambda r: (r.event_time, r.subject))
    selfheal.ledger.append(*records)
    waiting = len(fresh) - len(chosen)
    return _Arrivals(registered=[r.subject for r in records], duplicates=duplicates, waiting=waiting, unread=unread)


def within_budget(landed: Sequence[LandedFile]) -> list[LandedFile]:
    """The first files, as many as a tick has the time to hash."""
    chosen, total = list[LandedFile](), 0
    for file in landed[:FILES_PER_TICK]:
        if chosen and total + file.size_bytes > BYTES_PER_TICK:
            break
        chosen.append(file)
        total += file.size_bytes
    return chosen


def _registration(selfheal: Services, spec: ModelSpec, file: LandedFile, batch_id: str, *, withdrawn: int) -> Record:
    """`withdrawn` is the place of the record by which the same file was withdrawn before, or 0."""
    begins = selfheal.batches.first_event_time(file.path, spec.data.event_timestamp)
    return Record(
        key=f"registered:{spec.name}:{batch_id}:{withdrawn}",
        model=spec.name,
        kind=RecordKind.BATCH_REGISTERED,
        subject=batch_id,
        status="REGISTERED",
        event_time=begins or file.landed_at,
        recorded_at=selfheal.clock.now(),
        payload=_seen(file),
    )


def _seen(file: LandedFile) -> dict[str, Any]:
    return {"file_name": file.path.name, "size_bytes": file.size_bytes, "landed_at": file.landed_at.isoformat()}


def _stamp(payload: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells without reading it that a file is one that was seen before."""
    return payload["file_name"], payload["size_bytes"], payload["landed_at"]


def _plan(
    context: dg.SensorEvaluationContext, selfheal: Services, spec: ModelSpec, running: str | None, opened: list[str]
) -> Plan:
    if running:
        return Plan(why=f"run {running[:8]} is at work on batches")
    return plan_ingest(context.instance, selfheal, spec, opened)


def _request(context: dg.SensorEvaluationContext, spec: ModelSpec, job_name: str, plan: Plan) -> dg.RunRequest:
    assert plan.tries is not None
    memory = more_memory(context, job_name, plan.tries.out_of_memory)
    tags = {MODEL_TAG: spec.name, BACKLOG_TAG: plan.name, SIZE_TAG: str(len(plan.batch_ids)), **memory.tags}
    run_key = f"{spec.name}-{plan.name}-{plan.tries.launched + 1}"
    first, last = plan.batch_ids[0], plan.batch_ids[-1]
    if first == last:
        return dg.RunRequest(run_key=run_key, partition_key=first, tags=tags, run_config=memory.run_config)
    tags |= {RANGE_START: first, RANGE_END: last}
    return dg.RunRequest(run_key=run_key, tags=tags, run_config=memory.run_config)


def _partition_changes(
    instance: dg.DagsterInstance, spec: ModelSpec, batch_ids: Sequence[str]
) -> list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest]:
    """Add the batches in order, as the last partitions; retire the oldest beyond the limit."""
    defined = partitions(spec)
    present = instance.get_dynamic_partitions(str(defined.name))
    new = [batch_id for batch_id in batch_ids if batch_id not in set(present)]
    retired = present[: max(0, len(present) + len(new) - LIVE_PARTITIONS)]
    changes: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    if retired:
        changes.append(defined.build_delete_request(retired))
    if new:
        changes.append(defined.build_add_request(new))
    return changes
