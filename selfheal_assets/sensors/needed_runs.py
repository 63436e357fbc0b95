"""Gather what still needs the old runs of a model: ledger, label files and Dagster in, facts out. Changes nothing."""

from collections.abc import Sequence

import dagster as dg

from selfheal_assets.core.incident import OPEN_STATES, Incident
from selfheal_assets.core.record import RecordKind
from selfheal_assets.core.retention import EndedRun, StillNeeded
from selfheal_assets.ports import Ledger, Services
from selfheal_assets.sensors.arrivals import OPEN_BATCHES, RANGE_END
from selfheal_assets.stages.identity import DECISION_TAG, LABELS_TAG, MODEL_TAG
from selfheal_assets.stages.situation import EVERY_MODEL

PARTITION_TAG = "dagster/partition"
FROM = "from-"
"""Begins the name of a join of all label files, by the first of them (`sensors/labels.py`)."""
INCIDENTS_READ = 1_000


def ended_run(run: dg.DagsterRun) -> EndedRun:
    """What its tags tell of it."""
    tags = run.tags
    return EndedRun(
        run_id=run.run_id,
        model=tags[MODEL_TAG],
        batch_id=tags.get(PARTITION_TAG) or tags.get(RANGE_END),
        decision_id=tags.get(DECISION_TAG),
        label_file=tags[LABELS_TAG].removeprefix(FROM) if LABELS_TAG in tags else None,
    )


def still_needed(instance: dg.DagsterInstance, services: Services, model: str) -> StillNeeded:
    """Of the model, but for its decisions. A run for all models is needed for nothing."""
    if model == EVERY_MODEL:
        return StillNeeded()
    opened = services.ledger.open_batches(model, limit=OPEN_BATCHES)
    return StillNeeded(
        newest_runs=_newest_runs(instance, model),
        live=frozenset(instance.get_dynamic_partitions(f"{model}_batches")),
        open_batches=frozenset(record.subject for record in opened),
        label_files=frozenset(services.labels.pending(model)),
    )


def _newest_runs(instance: dg.DagsterInstance, model: str) -> frozenset[str]:
    keys = [key for key in instance.get_asset_keys(prefix=[model]) if key.path[0] == model]
    entries = [record.asset_entry for record in instance.get_asset_records(keys)] if keys else []
    materialized = [entry.last_materialization_record for entry in entries]
    named = [entry.last_run_id for entry in entries if entry.last_run_id]
    return frozenset([*named, *(record.run_id for record in materialized if record is not None)])


def undone(ledger: Ledger, model: str, runs: Sequence[EndedRun]) -> frozenset[str]:
    """The decisions that the runs name and that have no outcome, and all that an open incident tried."""
    decisions = {run.decision_id for run in runs if run.decision_id}
    known = ledger.current(model, RecordKind.DECISION, sorted(decisions))
    ended = ledger.current(model, RecordKind.OUTCOME, sorted(known))
    incidents = ledger.recent_subjects(model, RecordKind.INCIDENT, statuses=OPEN_STATES, limit=INCIDENTS_READ)
    tried = [each.decision_id for record in incidents for each in Incident.from_record(record).tried]
    return frozenset([*(decision for decision in known if decision not in ended), *tried])
