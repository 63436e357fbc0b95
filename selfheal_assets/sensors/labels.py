"""Labels: label files, and batches that labels wait for, in; at most one run that joins them out. Never joins one."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import dagster as dg

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.notification import Severity
from selfheal_assets.core.record import RecordKind
from selfheal_assets.ports import LandedFile, Services
from selfheal_assets.sensors.arrivals import within_budget
from selfheal_assets.sensors.runs import active_run, runs_with_tag
from selfheal_assets.sensors.tries import Tries, tries
from selfheal_assets.stages.batch_records import USABLE
from selfheal_assets.stages.identity import LABELS_TAG, MODEL_TAG
from selfheal_assets.stages.jobs import AssetJob
from selfheal_assets.stages.labels import ALONE_TAG, give_up

BATCHES_PER_TICK = 50
"""Batches in which waiting labels are looked for, a tick."""


@dataclass(frozen=True, kw_only=True)
class _Cursor:
    """Up to where this sensor looked for waiting labels since the last join. Without it, it looks again."""

    joins: int = 0
    sequence: int = 0


@dataclass(frozen=True, kw_only=True)
class _Files:
    """The label files that wait, by their ids, the first that came first."""

    places: dict[str, LandedFile | None]
    """None for one that was taken, and whose join did not end."""
    duplicates: int
    unread: Sequence[str]

    def told(self) -> str:
        unread = f", {len(self.unread)} that cannot be opened: {'; '.join(self.unread[:3])}" if self.unread else ""
        return f"{len(self.places)} label files, {self.duplicates} already known{unread}"


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """The run to ask for, by its name; none, with the reason."""

    why: str
    name: str = ""
    alone: str = ""


def labels_sensor(spec: ModelSpec, job: AssetJob) -> dg.SensorDefinition:
    """The sensor `m_labels`."""

    @dg.sensor(
        name=f"{spec.name}_labels",
        job=job,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Requests the join of label files that land for {spec.name}, and of labels whose batch has come.",
    )
    def labels(context: dg.SensorEvaluationContext, selfheal: dg.ResourceParam[Services]) -> dg.SensorResult:
        cursor = _Cursor(**json.loads(context.cursor or "{}"))
        running = active_run(context.instance, [job.name])
        if running:
            plan, seen = _Plan(why=f"run {running[:8]} is at work on labels"), "not looked"
        else:
            files = _look(selfheal, spec)
            plan, cursor = _plan(context.instance, selfheal, spec, files, cursor)
            seen = files.told()
        context.log.info(f"{seen}; {plan.why}")
        if not plan.name:
            return dg.SensorResult(skip_reason=f"{seen}; {plan.why}", cursor=json.dumps(asdict(cursor)))
        request = _request(context.instance, spec, plan)
        return dg.SensorResult(run_requests=[request], cursor=json.dumps(asdict(cursor)))

    return labels


def _look(selfheal: Services, spec: ModelSpec) -> _Files:
    """The waiting files; a landed copy of one that was taken before is removed."""
    store, duplicates, unread = selfheal.labels, 0, list[str]()
    pending = store.pending(spec.name)
    places: dict[str, LandedFile | None] = dict.fromkeys(pending)
    for file in within_budget(store.landed(spec.name)):
        try:
            file_id = store.file_id(file.path)
            if store.known(spec.name, file_id) and store.drop_duplicate(spec.name, file.path):
                duplicates += 1
            else:
                places[file_id] = file
        except OSError as error:  # Taken back by its sender just now, or not for us to read: the others go on.
            unread.append(f"{file.path.name!r}: {error.strerror}")
    return _Files(places=places, duplicates=duplicates, unread=unread)


def _plan(
    instance: dg.DagsterInstance, selfheal: Services, spec: ModelSpec, files: _Files, cursor: _Cursor
) -> tuple[_Plan, _Cursor]:
    if files.places:
        return _plan_files(instance, selfheal, spec, files), cursor
    arrived, looked, why = _arrived(selfheal, spec, cursor)
    if not arrived:
        return _Plan(why=why), looked
    name = f"waiting-{_digest([str(selfheal.labels.looked_at(spec.name).joins), *arrived])}"
    what = f"the join of waiting labels for {', '.join(arrived[:5])}"
    found = tries(instance, selfheal, spec, LABELS_TAG, name)
    if not found.given_up:
        return _asked(selfheal, found, what, name=name), cursor
    why = f"{what} {found.words}"
    body = f"{why}; {LABELS_TAG}={name}"
    selfheal.notifier.notify(spec.name, "waiting labels cannot be joined", body, severity=Severity.FAILURE)
    # Past these batches: people are told once. The join of the next label file looks at all of them again.
    return _Plan(why=f"{why}; they wait for another label file"), looked


def _asked(selfheal: Services, found: Tries, what: str, *, name: str, alone: str = "") -> _Plan:
    """The run, or the wait for the time of its next try."""
    until = found.waits_until(selfheal.clock.now())
    if until is not None:
        return _Plan(why=f"{what} {found.words}; the next try is not before {until:%Y-%m-%d %H:%M:%S} UTC")
    return _Plan(why=f"requested {what}, try {found.launched + 1}", name=name, alone=alone)


def _plan_files(instance: dg.DagsterInstance, selfheal: Services, spec: ModelSpec, files: _Files) -> _Plan:
    """One run over all; when that is given up the first file alone, then to quarantine with it, and on."""
    for file_id, landed in files.places.items():
        name = f"from-{file_id}"
        found = tries(instance, selfheal, spec, LABELS_TAG, name)
        if not found.given_up:
            return _asked(selfheal, found, "the join of all", name=name)
        found = tries(instance, selfheal, spec, LABELS_TAG, file_id)
        if not found.given_up:
            return _asked(selfheal, found, f"the join of {file_id} alone", name=file_id, alone=file_id)
        if landed is not None:
            selfheal.labels.claim(spec.name, landed.path)
        reason = f"its join {found.words}; see the runs tagged {LABELS_TAG}={file_id}."
        give_up(selfheal, spec, file_id, landed.path.name if landed else file_id, reason)
    return _Plan(why="every file failed its join alone too; all are in quarantine")


def _arrived(selfheal: Services, spec: ModelSpec, cursor: _Cursor) -> tuple[list[str], _Cursor, str]:
    """The batches that settled since labels were looked for last and hold some that wait; where this look ended."""
    waiting = selfheal.labels.waiting_rows(spec.name)
    if not waiting:
        return [], cursor, "no labels wait"
    done = selfheal.labels.looked_at(spec.name)
    since = max(cursor.sequence, done.sequence) if cursor.joins == done.joins else done.sequence
    settled = selfheal.ledger.after(spec.name, RecordKind.BATCH_SETTLED, since, BATCHES_PER_TICK)
    looked = _Cursor(joins=done.joins, sequence=settled[-1].sequence if settled else since)
    paths = {r.subject: selfheal.batches.path(spec.name, "clean", r.subject) for r in settled if r.status in USABLE}
    files = {batch_id: path for batch_id, path in paths.items() if path.exists()}
    if files:
        ids = selfheal.labels.waiting(spec.name, ())["event_id"]
        holders = selfheal.labels.holders(files, spec.data.event_id, ids)["batch_id"]
        if len(holders):
            return sorted(set(holders)), looked, ""
    return [], looked, f"{waiting} labels wait for their batch, which is none of {len(settled)} that settled since"


def _request(instance: dg.DagsterInstance, spec: ModelSpec, plan: _Plan) -> dg.RunRequest:
    tags = {MODEL_TAG: spec.name, LABELS_TAG: plan.name, **({ALONE_TAG: plan.alone} if plan.alone else {})}
    number = runs_with_tag(instance, LABELS_TAG, plan.name) + 1
    return dg.RunRequest(run_key=f"{spec.name}-labels-{plan.name}-{number}", tags=tags)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
