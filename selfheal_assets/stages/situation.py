"""Gather what a decision depends on from the ledger alone, as of one place in it. Never reads anything else."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from selfheal_assets.core.causes import TOUCHES_PRODUCTION, Action
from selfheal_assets.core.evidence import UNBOUND, Evidence, Signal
from selfheal_assets.core.incident import ENDED, OPEN_STATES, Incident, IncidentState, OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.policy import DecisionStatus
from selfheal_assets.core.record import RecordKind
from selfheal_assets.core.situation import Heal, Situation
from selfheal_assets.ports import Ledger
from selfheal_assets.stages.batch_records import labelled_rows, learnable_batches

EVIDENCE_READ = 500
"""Enough for every signal of the last few dozen batches."""
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
    approvals = past.current(spec.name, RecordKind.APPROVAL, awaiting)
    return Situation(
        now=now,
        seen=place,
        champion_version=version,
        champion_metric=metric,
        evidence=tuple(_evidence(past, spec, version)),
        learnable=tuple(record.subject for record in reversed(learnable)),
        labelled_rows=sum(labelled_rows(past, spec, learnable).values()),
        open=tuple(incidents),
        ended=tuple(_incidents(past, spec, tuple(ENDED))),
        heals=tuple(_heals(past, spec, incidents)),
        approvals={subject: record.status for subject, record in approvals.items()},
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


def _evidence(ledger: Ledger, spec: ModelSpec, version: str | None) -> Iterable[Evidence]:
    """The last statement a signal and batch, about the present champion or about none."""
    found: dict[tuple[Signal, str], Evidence] = {}
    for record in ledger.newest(spec.name, RecordKind.EVIDENCE, limit=EVIDENCE_READ):
        evidence = Evidence.from_record(record)
        if evidence.signal in UNBOUND or evidence.champion_version == version:
            found.setdefault((evidence.signal, evidence.batch_id), evidence)
    return found.values()


def _incidents(ledger: Ledger, spec: ModelSpec, states: Sequence[IncidentState]) -> list[Incident]:
    records = ledger.recent_subjects(spec.name, RecordKind.INCIDENT, statuses=states, limit=INCIDENTS_READ)
    return [Incident.from_record(record) for record in records]


def _heals(ledger: Ledger, spec: ModelSpec, incidents: Sequence[Incident]) -> Iterable[Heal]:
    """Decisions to touch production that were let through, newest first."""
    under_way = {i.tried[-1].decision_id for i in incidents if i.state is IncidentState.HEALING}
    decisions = [
        record
        for record in ledger.newest(spec.name, RecordKind.DECISION, limit=DECISIONS_READ)
        if record.payload["action"] in TOUCHES_PRODUCTION and record.status != DecisionStatus.SUPPRESSED
    ]
    outcomes = ledger.current(spec.name, RecordKind.OUTCOME, [record.subject for record in decisions])
    for record in decisions:
        outcome = outcomes.get(record.subject)
        if record.status == DecisionStatus.DECIDED or outcome is not None or record.subject in under_way:
            yield Heal(decision=record, outcome=outcome)


def _switched_off(ledger: Ledger, spec: ModelSpec) -> frozenset[Action | str]:
    found = [
        record.subject
        for model in (spec.name, EVERY_MODEL)
        for record in ledger.recent_subjects(model, RecordKind.FLAG, statuses=[OFF], limit=INCIDENTS_READ)
    ]
    return frozenset(found)
