"""Gather what the watchdog looks at in the ledger: incidents, decisions and open batches in, facts out."""

from datetime import datetime

from selfheal_assets.core.incident import OPEN_STATES, Incident
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.watched import BacklogFact, IncidentFact
from selfheal_assets.ports import Ledger
from selfheal_assets.stages.rollout_records import newest_rollout

INCIDENTS_READ = 50
TRANSITIONS_READ = 200
BATCHES_READ = 100


def incident_facts(ledger: Ledger, spec: ModelSpec, now: datetime) -> list[IncidentFact]:
    """The incidents that have not ended, and for how long each is in its state."""
    found = ledger.recent_subjects(spec.name, RecordKind.INCIDENT, statuses=OPEN_STATES, limit=INCIDENTS_READ)
    rollout = newest_rollout(ledger, spec)
    rolled_out = rollout.id if rollout is not None and not rollout.ended else None
    return [
        IncidentFact(
            incident=Incident.from_record(record),
            for_=now - _entered(ledger, spec, record.subject),
            rolling_out=_is_healed_by(record, rolled_out),
        )
        for record in found
    ]


def _is_healed_by(incident: Record, decision_id: str | None) -> bool:
    tried = incident.payload["tried"]
    return decision_id is not None and bool(tried) and tried[-1]["decision_id"] == decision_id


def _entered(ledger: Ledger, spec: ModelSpec, incident: str) -> datetime:
    """When it came into its state; new evidence that joins it there does not count."""
    newest = ledger.newest(spec.name, RecordKind.INCIDENT, subject=incident, limit=TRANSITIONS_READ)
    entered = newest[0]
    for record in newest:
        if record.status != entered.status:
            break
        entered = record
    return entered.recorded_at


def backlog_fact(ledger: Ledger, spec: ModelSpec, now: datetime) -> BacklogFact | None:
    """The open batches, while no ingest is at work; a failed one is asked for again after a while."""
    opened = ledger.open_batches(spec.name, limit=BATCHES_READ)
    if not opened:
        return None
    failed = ledger.newest(spec.name, RecordKind.RUN_FAILURE)
    since = max([min(record.recorded_at for record in opened), *(record.recorded_at for record in failed)])
    return BacklogFact(batch_ids=[record.subject for record in opened], for_=now - since)
