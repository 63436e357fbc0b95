"""Put together what the ledger knows of one incident: seen, decided, done and verified. Never writes anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from selfheal_assets.core.causes import ABOUT_THE_METRIC, Action, Cause
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.incident import Incident, IncidentState, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.statistics.metrics import higher_is_better
from selfheal_assets.ports import Ledger

EVIDENCE_READ = 2_000
AFTERWARDS_READ = 400
"""Evidence that came after an incident's end."""
TRANSITIONS_READ = 500
NOT_TRIED = frozenset({Result.NONE_FITS, Result.DECLINED, Result.AWAITING})


@dataclass(frozen=True, kw_only=True)
class CaseFile:
    """One incident, with everything that belongs to it."""

    incident: Incident
    metric: str
    transitions: Sequence[Incident]
    """Oldest first."""
    at: Sequence[datetime]
    """When each transition was recorded."""
    evidence: Sequence[Evidence]
    """About its batches under the champion of the time, oldest first."""
    after: Sequence[Evidence]
    """The performance under the version that healed it."""
    history: Sequence[Evidence]
    """The metric, realised or else estimated, of each batch before, during and after it, oldest first."""
    decisions: Sequence[Record]
    outcomes: dict[str, Record]
    approvals: dict[str, Record]
    """What people said, by decision id."""
    landed_at: datetime | None
    """When the first of its batches landed."""

    @property
    def action(self) -> Action:
        """What was done in the end; NOTHING where nothing was."""
        done = [attempt.action for attempt in self.incident.tried if attempt.result not in NOT_TRIED]
        return done[-1] if done else Action.NOTHING

    @property
    def detected_s(self) -> float | None:
        """Seconds from the first batch's landing to the diagnosis."""
        return self._since_landing(self._first(IncidentState.DIAGNOSED))

    @property
    def repaired_s(self) -> float | None:
        """Seconds from the first batch's landing to the end of the last action; None while it is not repaired."""
        acted = [at for i, at in zip(self.transitions, self.at, strict=True) if i.state is IncidentState.VERIFYING]
        repaired = self.incident.state in (IncidentState.VERIFYING, IncidentState.RESOLVED) and acted
        return self._since_landing(acted[-1]) if repaired else None

    @property
    def worst(self) -> float | None:
        """The realised metric at its worst on the incident's batches; None where it is not about the metric."""
        if self.incident.cause not in ABOUT_THE_METRIC:
            return None
        values = [e.value for e in self.evidence if e.signal is Signal.PERFORMANCE and e.value is not None]
        pick = min if higher_is_better(self.metric) else max  # type: ignore[arg-type]
        return pick(values, default=None)

    @property
    def metric_after(self) -> float | None:
        """The mean of the batches that the healed version was measured on."""
        values = [e.value for e in self.after if e.value is not None]
        return sum(values) / len(values) if values else None

    def _first(self, state: IncidentState) -> datetime | None:
        return next((at for i, at in zip(self.transitions, self.at, strict=True) if i.state is state), None)

    def _since_landing(self, moment: datetime | None) -> float | None:
        if moment is None or self.landed_at is None:
            return None
        return (moment - self.landed_at).total_seconds()


def case_file(ledger: Ledger, spec: ModelSpec, incident_id: str) -> CaseFile | None:
    """The incident of that id, or None when there is none."""
    records = ledger.newest(spec.name, RecordKind.INCIDENT, subject=incident_id, limit=TRANSITIONS_READ)
    if not records:
        return None
    records.reverse()
    transitions = [Incident.from_record(record) for record in records]
    incident = transitions[-1]
    # Of one that ended long ago, what was written by its end is not among the newest any more.
    past = ledger.as_of(records[-1].sequence) if incident.ended else ledger
    decisions = [d for d in _decisions(past, spec, incident) if d.payload.get("incident") == incident_id]
    decided = [d.subject for d in decisions]
    registered = ledger.current(spec.name, RecordKind.BATCH_REGISTERED, incident.batch_ids)
    landed = [datetime.fromisoformat(record.payload["landed_at"]) for record in registered.values()]
    evidence = past.newest(spec.name, RecordKind.EVIDENCE, limit=EVIDENCE_READ)[::-1]
    if incident.ended:
        evidence += ledger.after(spec.name, RecordKind.EVIDENCE, records[-1].sequence, AFTERWARDS_READ)
    seen = [Evidence.from_record(record) for record in evidence]
    version = next((a.version for a in reversed(incident.tried) if a.version), None)
    return CaseFile(
        incident=incident,
        metric=spec.performance.metric,
        transitions=transitions,
        at=[record.recorded_at for record in records],
        evidence=[
            e
            for e in seen
            if e.batch_id in incident.batch_ids and e.champion_version in (None, incident.champion_version)
        ],
        after=[e for e in _later(seen, transitions) if version is not None and e.champion_version == version],
        history=_history(seen, incident),
        decisions=decisions,
        outcomes=ledger.current(spec.name, RecordKind.OUTCOME, decided),
        approvals=ledger.current(spec.name, RecordKind.APPROVAL, decided),
        landed_at=min(landed, default=None),
    )


def _later(seen: Sequence[Evidence], transitions: Sequence[Incident]) -> list[Evidence]:
    """The performance on batches that are newer than what the last action was decided on."""
    healing = [i.newest_event for i in transitions if i.state is IncidentState.HEALING]
    since = healing[-1] if healing else None
    return [e for e in seen if e.signal is Signal.PERFORMANCE and (since is None or e.event_time > since)]


def _history(seen: Sequence[Evidence], incident: Incident) -> list[Evidence]:
    """One statement a batch, the surest and then the last; of its own batches that about the champion of the time."""
    found: dict[str, Evidence] = {}
    for e in seen:
        another = e.batch_id in incident.batch_ids and e.champion_version != incident.champion_version
        measured = e.value is not None and e.signal in (Signal.PERFORMANCE, Signal.ESTIMATED_PERFORMANCE)
        if measured and not another and _sureness(e) >= _sureness(found.get(e.batch_id)):
            found[e.batch_id] = e
    return sorted(found.values(), key=lambda e: (e.event_time, e.batch_id))


def _sureness(e: Evidence | None) -> int:
    """Realised on labels enough, before estimated, before realised on too few."""
    if e is None:
        return 0
    if e.signal is Signal.ESTIMATED_PERFORMANCE:
        return 2
    return 1 if e.status is Status.UNKNOWN else 3


def _decisions(ledger: Ledger, spec: ModelSpec, incident: Incident) -> list[Record]:
    """Those that it led to, oldest first."""
    found = ledger.newest(spec.name, RecordKind.DECISION, limit=TRANSITIONS_READ)
    return [record for record in reversed(found) if record.recorded_at >= incident.opened_at]


def incident_ids(ledger: Ledger, spec: ModelSpec, limit: int) -> list[str]:
    """The incidents that changed last, in the order of opening."""
    found: dict[str, datetime] = {}
    for record in ledger.newest(spec.name, RecordKind.INCIDENT, limit=limit):
        found.setdefault(record.subject, datetime.fromisoformat(record.payload["opened_at"]))
    return sorted(found, key=lambda incident: (found[incident], incident))


def raised(case: CaseFile) -> list[Evidence]:
    """What speaks for it: the raised evidence of its batches, the last measurement of each signal."""
    last = {(e.signal, e.batch_id): e for e in case.evidence}
    return [e for e in last.values() if e.status is Status.RAISED]


def quiet(case: CaseFile) -> bool:
    """An incident that never got a cause and ended by itself."""
    return case.incident.cause is Cause.UNKNOWN and case.incident.ended
