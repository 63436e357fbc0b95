"""Take down a person's word on an action that waits for it: yes or no in, an APPROVAL record out. Never acts on it."""

from dataclasses import dataclass
from datetime import datetime

from selfheal_assets.core.errors import IncidentError
from selfheal_assets.core.holds import Hold
from selfheal_assets.core.incident import Attempt, Incident, IncidentState
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.progress import approval_ends
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Ledger

APPROVED, REJECTED = "APPROVED", "REJECTED"


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An incident with the action that waits for a person's word."""

    incident: Incident
    attempt: Attempt


def answer(
    ledger: Ledger, spec: ModelSpec, subject: str, *, approve: bool, who: str, reason: str, now: datetime
) -> Waiting:
    """Record the word on the incident, or decision, `subject`; the first word stands.

    Raises IncidentError when nothing of that id waits, or has waited too long.
    """
    waiting = _waiting(ledger, spec, subject)
    decision, ends = waiting.attempt.decision_id, approval_ends(spec, waiting.attempt)
    if now >= ends:
        raise IncidentError(
            f"An approval must come within {spec.policy.approval_hours:g} hours of the decision; received one for "
            f"{decision} of incident {waiting.incident.id}, which expired at {ends:%Y-%m-%d %H:%M:%S} UTC. "
            "The incident is escalated: look at it yourself, and close it with `selfheal incidents ID --close REASON`."
        )
    word = Record(
        key=f"approval:{decision}",
        model=spec.name,
        kind=RecordKind.APPROVAL,
        subject=decision,
        status=APPROVED if approve else REJECTED,
        event_time=now,
        recorded_at=now,
        payload={"incident": waiting.incident.id, "who": who, "when": now.isoformat(), "reason": reason},
    )
    if not ledger.append(word):
        said = ledger.newest(spec.name, RecordKind.APPROVAL, subject=decision)[0]
        raise IncidentError(
            f"A decision is approved or rejected once; received another word on {decision}, which "
            f"{said.payload.get('who', 'somebody')} has {said.status.lower()} already. Nothing was changed: "
            f"to stop what was approved, switch the action off: `selfheal flags set {spec.name} ACTION off`."
        )
    return waiting


def _waiting(ledger: Ledger, spec: ModelSpec, subject: str) -> Waiting:
    incident = incident_of(ledger, spec, subject)
    if incident is None:
        raise IncidentError(
            f"An approval must name an incident of {spec.name}, or the decision that waits; received {subject!r}. "
            "See `selfheal incidents`."
        )
    attempt = incident.tried[-1] if incident.tried else None
    waits = incident.state is IncidentState.SUPPRESSED and incident.hold == Hold.APPROVAL
    if attempt is None or not waits or subject not in (incident.id, attempt.decision_id):
        state = f"{incident.state}{f' (held by {incident.hold})' if incident.hold else ''}"
        raise IncidentError(
            f"Only a decision that waits for approval can be approved or rejected; received {subject}, and incident "
            f"{incident.id} ({incident.cause}) is {state}. See `selfheal incidents {incident.id}`."
        )
    return Waiting(incident=incident, attempt=attempt)


def incident_of(ledger: Ledger, spec: ModelSpec, subject: str) -> Incident | None:
    """The incident of that id, or of the decision of that id, as of its last transition."""
    found = ledger.newest(spec.name, RecordKind.INCIDENT, subject=subject)
    if not found:
        decided = ledger.newest(spec.name, RecordKind.DECISION, subject=subject)
        incident = decided[0].payload.get("incident") if decided else None
        found = ledger.newest(spec.name, RecordKind.INCIDENT, subject=incident) if incident else []
    return Incident.from_record(found[0]) if found else None
