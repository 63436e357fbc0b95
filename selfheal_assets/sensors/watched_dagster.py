"""Gather what the watchdog looks at in Dagster: ticks and runs in, facts out. Never changes any of them."""

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import dagster as dg
from dagster import DagsterEventType
from dagster._core.definitions.selector import InstigatorSelector
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorTick,
    InstigatorType,
    TickStatus,
)
from dagster._core.storage.dagster_run import RunRecord

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.core.watched import RunFact, SensorFact, UndecidedRunFact, Worker
from selfheal_assets.ports import Services
from selfheal_assets.sensors.runs import ACTIVE
from selfheal_assets.stages.identity import DECISION_TAG, MODEL_TAG

TICKS_READ = 6
RUNS_READ = 50
LONGEST_ERROR = 300
LOCAL_LAUNCHER = "DefaultRunLauncher"
BEGUN = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
_PROCESS = re.compile(r"Started process for run \(pid: (\d+)\)")


def wall_clock() -> datetime:
    """Dagster's clock: its ticks and runs have real times, whatever clock selfheal is given."""
    return datetime.now(UTC)


def sensor_facts(
    context: dg.SensorEvaluationContext, watched: Sequence[dg.SensorDefinition], now: datetime
) -> list[SensorFact]:
    """Of those that the daemon has met; one that was never evaluated has no state to be judged by."""
    intervals = {sensor.name: timedelta(seconds=sensor.minimum_interval_seconds or 30) for sensor in watched}
    states = _states(context, list(intervals))
    ticks = context.instance.get_batch_ticks([state.selector_id for state in states], limit=TICKS_READ)
    return [_sensor(state, ticks.get(state.selector_id, ()), intervals[state.name], now) for state in states]


def _states(context: dg.SensorEvaluationContext, names: Sequence[str]) -> list[InstigatorState]:
    """Asked for one by one where Dagster says which location this is: all of them are those of every model."""
    here, repository = context.code_location_origin, context.repository_name
    if here is None or repository is None:
        every = context.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
        return [state for state in every if state.name in names]
    selectors = [
        InstigatorSelector(location_name=here.location_name, repository_name=repository, name=name) for name in names
    ]
    found = [context.instance.get_instigator_state("", selector.get_id()) for selector in selectors]
    return [state for state in found if state is not None]


def _sensor(state: InstigatorState, ticks: Sequence[InstigatorTick], interval: timedelta, now: datetime) -> SensorFact:
    """`ticks`: the newest first; the newest may be under way."""
    ended = [tick for tick in ticks if tick.status is not TickStatus.STARTED]
    failed = list(takewhile(lambda tick: tick.status is TickStatus.FAILURE, ended))
    error = failed[0].error.message.strip() if failed and failed[0].error else ""
    return SensorFact(
        name=state.name,
        switched_off=state.status is InstigatorStatus.STOPPED,
        interval=interval,
        silent_for=_since(ticks[0].timestamp, now) if ticks else None,
        failed_in_a_row=len(failed),
        error=error.splitlines()[-1][:LONGEST_ERROR] if error else "",
    )


def run_facts(context: dg.SensorEvaluationContext, spec: ModelSpec, now: datetime) -> list[RunFact]:
    """The model's runs that have not ended."""
    wanted = dg.RunsFilter(tags={MODEL_TAG: spec.name}, statuses=ACTIVE)
    return [_run(context, record, now) for record in context.instance.get_run_records(wanted, limit=RUNS_READ)]


def _run(context: dg.SensorEvaluationContext, record: RunRecord, now: datetime) -> RunFact:
    run = record.dagster_run
    events = context.instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    last = events[0].timestamp if events else record.create_timestamp.timestamp()
    return RunFact(
        run_id=run.run_id,
        job=run.job_name,
        begun=run.status in BEGUN,
        silent_for=_since(last, now),
        worker=worker_of(context, run.run_id),
    )


def worker_of(context: dg.SensorEvaluationContext, run_id: str) -> Worker:
    """By the process id that the run wrote down, where runs are processes of this machine."""
    launcher = context.instance_ref.run_launcher_data if context.instance_ref else None
    if launcher is None or launcher.class_name != LOCAL_LAUNCHER:
        return Worker.UNKNOWN  # Kubernetes: Dagster's own run monitoring asks the cluster.
    read = context.instance.get_records_for_run(run_id, of_type=DagsterEventType.ENGINE_EVENT, limit=RUNS_READ)
    events = [record.event_log_entry.dagster_event for record in read.records]
    said = [_PROCESS.search(event.message or "") for event in events if event is not None]
    processes = [int(found[1]) for found in said if found]
    if not processes:
        return Worker.UNKNOWN
    return Worker.ALIVE if _lives(processes[-1]) else Worker.DEAD


def _lives(process: int) -> bool:
    """Another process may have taken over the number: that errs on the side of leaving the run alone."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def undecided_facts(
    instance: dg.DagsterInstance, selfheal: Services, spec: ModelSpec, now: datetime
) -> list[UndecidedRunFact]:
    """Among the model's last runs, those that name a decision which is not in the ledger."""
    records = instance.get_run_records(dg.RunsFilter(tags={MODEL_TAG: spec.name}), limit=RUNS_READ)
    named = {r.dagster_run.run_id: r for r in records if DECISION_TAG in r.dagster_run.tags}
    ids = sorted({record.dagster_run.tags[DECISION_TAG] for record in named.values()})
    known = selfheal.ledger.current(spec.name, RecordKind.DECISION, ids)
    return [
        UndecidedRunFact(
            run_id=run_id,
            decision_id=record.dagster_run.tags[DECISION_TAG],
            for_=_since(record.create_timestamp.timestamp(), now),
        )
        for run_id, record in named.items()
        if record.dagster_run.tags[DECISION_TAG] not in known
    ]


def _since(timestamp: float, now: datetime) -> timedelta:
    return now - datetime.fromtimestamp(timestamp, UTC)
