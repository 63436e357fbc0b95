"""Gather what a decision depends on from the ledger alone, as of one place in it. Never reads anything else."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from selfheal_assets.core.causes import TOUCHES_PRODUCTION, Action
from selfheal_assets.core.evidence import UNBOUND, Evidence, Signal
from selfheal_assets.core.incident import ENDED, OPEN_STATES, Incident, IncidentState, OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.policy import DecisionStatus
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.situation import Heal, Situation
from selfheal_assets.ports import Ledger
from selfheal_assets.stages.batch_records import USABLE, BatchStatus, labelled_rows, learnable_batches
from selfheal_assets.stages.tenure import began, of_term

EVIDENCE_READ = 300
"""Enough for every signal of the last few dozen batches."""
CHECKED = (*USABLE, BatchStatus.QUARANTINED)
DECISIONS_READ = 100
INCIDENTS_READ = 50
EVERY_MODEL = "*"
OFF = "OFF"


def gather(ledger: Ledger, spec: ModelSpec, now: datetime, seen: int | None = None) -> Situation:
    """The situation as of the ledger's place `seen`, by default its end. The same place gives the same situation."""
    place = ledger.head().sequence if seen is None else seen
    past = ledger.as_of(place)
    version, metric = serving(past, spec)
    learnable = learnable_batches(past, spec, limit=max(spec.training.windows))
    incidents = _incidents(past, spec, OPEN_STATES)
    awaiting = [i.tried[-1].decision_id for i in incidents if i.tried]
    ended = _incidents(past, spec, tuple(ENDED))
    approvals = past.current(spec.name, RecordKind.APPROVAL, awaiting)
    return Situation(
        now=now,
        seen=place,
        champion_version=version,
        champion_metric=metric,
        evidence=tuple(_evidence(past, spec, version)),
        learnable=tuple(record.subject for record in reversed(learnable)),
        labelled_rows=sum(labelled_rows(past, spec, learnable).values()),
        archived=_archived(past, spec, version),
        open=tuple(incidents),
        ended=tuple(ended),
        heals=tuple(_heals(past, spec, [*incidents, *ended])),
        approvals={subject: record.status for subject, record in approvals.items()},
        said_at={subject: record.recorded_at for subject, record in approvals.items()},
        switched_off=_switched_off(past, spec),
    )


def serving(ledger: Ledger, spec: ModelSpec) -> tuple[str | None, float | None]:
    """The champion's version and its own metric, as promoted, or put back, last."""
    moved = [
        record
        for status in (OutcomeStatus.PROMOTED, OutcomeStatus.ROLLED_BACK)
        for record in ledger.newest(spec.name, RecordKind.OUTCOME, status=status)
    ]
    last = max(moved, key=lambda record: record.sequence, default=None)
    return (str(last.payload["version"]), last.payload.get("metric")) if last else (None, None)


def _archived(ledger: Ledger, spec: ModelSpec, version: str | None) -> tuple[str, ...]:
    """Newest first."""
    promoted = ledger.newest(
        spec.name, RecordKind.OUTCOME, status=OutcomeStatus.PROMOTED, limit=1 + spec.policy.archived_versions
    )
    return tuple(dict.fromkeys(str(r.payload["version"]) for r in promoted if str(r.payload["version"]) != version))


def _evidence(ledger: Ledger, spec: ModelSpec, version: str | None) -> Iterable[Evidence]:
    """The last statement a signal and batch, about the present champion in its present term or about none."""
    newest = ledger.newest(spec.name, RecordKind.EVIDENCE, limit=EVIDENCE_READ)
    read = [*newest, *_pushed_out(ledger, spec, newest)]
    unbound = [record for record in read if record.payload["signal"] in UNBOUND]
    found: dict[tuple[Signal, str], Evidence] = {}
    for record in (*unbound, *of_term(read, version, began(ledger, spec, version))):
        evidence = Evidence.from_record(record)
        found.setdefault((evidence.signal, evidence.batch_id), evidence)
    return found.values()


def _pushed_out(ledger: Ledger, spec: ModelSpec, read: Sequence[Record]) -> Iterable[Record]:
    """What was said of the newest batches before labels for very many others came at once, newest first.

    The checks' verdict is the first statement about a batch: where it was read, all others were.
    """
    checked = {record.subject for record in read if record.payload["signal"] == Signal.QUALITY}
    newest = max(spec.drift.persistence_n, spec.policy.verify_batches, spec.policy.watch_batches)
    recent = ledger.recent_subjects(spec.name, RecordKind.BATCH_SETTLED, statuses=CHECKED, limit=newest)
    for batch_id in (record.subject for record in recent):
        if len(read) == EVIDENCE_READ and batch_id not in checked:
            yield from ledger.newest(spec.name, RecordKind.EVIDENCE, subject=batch_id, limit=EVIDENCE_READ)


def _incidents(ledger: Ledger, spec: ModelSpec, states: Sequence[IncidentState]) -> list[Incident]:
    records = ledger.recent_subjects(spec.name, RecordKind.INCIDENT, statuses=states, limit=INCIDENTS_READ)
    return [Incident.from_record(record) for record in records]


def _heals(ledger: Ledger, spec: ModelSpec, incidents: Sequence[Incident]) -> Iterable[Heal]:
    """Decisions to touch production that were let through, newest first."""
    under_way = {i.tried[-1].decision_id for i in incidents if i.state is IncidentState.HEALING}
    let_through = {attempt.decision_id: attempt.decided_at for i in incidents for attempt in i.tried}
    decisions = [
        record
        for record in ledger.newest(spec.name, RecordKind.DECISION, limit=DECISIONS_READ)
        if record.payload["action"] in TOUCHES_PRODUCTION and record.status != DecisionStatus.SUPPRESSED
    ]
    outcomes = ledger.current(spec.name, RecordKind.OUTCOME, [record.subject for record in decisions])
    for record in decisions:
        outcome = outcomes.get(record.subject)
        if record.status == DecisionStatus.DECIDED or outcome is not None or record.subject in under_way:
            yield Heal(decision=record, outcome=outcome, let_through=let_through.get(record.subject))


def _switched_off(ledger: Ledger, spec: ModelSpec) -> frozenset[Action | str]:
    found = [
        record.subject
        for model in (spec.name, EVERY_MODEL)
        for record in ledger.recent_subjects(model, RecordKind.FLAG, statuses=[OFF], limit=INCIDENTS_READ)
    ]
    return frozenset(found)
