"""A person's dealings with incidents: list, look, answer, close. Never acts on a model itself."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from selfheal_assets.core.errors import IncidentError
from selfheal_assets.core.incident import ENDED, OPEN_STATES, Incident, IncidentState
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.ports import Ledger
from selfheal_assets.stages.answer import Waiting, answer, incident_of
from selfheal_assets.stages.case_file import CaseFile, case_file, quiet

LISTED = 200
"""Of the open ones of a model, and of the ended ones."""


def cases(ledger: Ledger, models: Sequence[ModelSpec], *, ended: bool) -> list[CaseFile]:
    """The open incidents of the models, and with `ended` the last that have: in the order of opening.

    Those that ended without ever getting a cause are left out.
    """
    found = [case for spec in models for case in _cases(ledger, spec, ended)]
    return sorted(found, key=lambda case: (case.incident.opened_at, case.incident.id))


def _cases(ledger: Ledger, spec: ModelSpec, ended: bool) -> Iterator[CaseFile]:
    for states in (OPEN_STATES, tuple(ENDED))[: 2 if ended else 1]:
        for record in ledger.recent_subjects(spec.name, RecordKind.INCIDENT, statuses=states, limit=LISTED):
            case = case_file(ledger, spec, record.subject)
            if case is not None and not quiet(case):
                yield case


def found(ledger: Ledger, models: Sequence[ModelSpec], subject: str) -> tuple[ModelSpec, Incident]:
    """The incident of that id, or of the decision of that id. Raises IncidentError when no model has it."""
    for spec in models:
        incident = incident_of(ledger, spec, subject)
        if incident is not None:
            return spec, incident
    searched = ", ".join(spec.name for spec in models) or "none"
    raise IncidentError(
        f"An incident is named by its id, or by that of one of its decisions; received {subject!r}, which none of the "
        f"models has ({searched}). See `selfheal incidents --all`."
    )


def case_of(ledger: Ledger, models: Sequence[ModelSpec], subject: str) -> CaseFile:
    """The case file of the incident of that id, or of the decision of that id."""
    spec, incident = found(ledger, models, subject)
    case = case_file(ledger, spec, incident.id)
    assert case is not None, "its newest transition was just read"
    return case


def answered(
    ledger: Ledger,
    models: Sequence[ModelSpec],
    subject: str,
    *,
    approve: bool,
    who: str,
    reason: str,
    now: datetime,
) -> Waiting:
    """Record a person's word on what waits. Raises IncidentError when nothing of that id waits any more."""
    spec, _ = found(ledger, models, subject)
    return answer(ledger, spec, subject, approve=approve, who=who, reason=reason, now=now)


def close(
    ledger: Ledger, models: Sequence[ModelSpec], subject: str, *, who: str, reason: str, now: datetime
) -> Incident:
    """End an escalated incident in the person's name; the incident as it ended.

    What is still raised then opens a new incident, and the policy begins with its first alternative again.
    """
    _, incident = found(ledger, models, subject)
    if incident.state is not IncidentState.ESCALATED:
        raise IncidentError(
            f"A person closes an incident that is ESCALATED; received {incident.id}, which is {incident.state}. "
            "Every other one is selfheal's to end; to stop its action, see `selfheal flags`."
        )
    if not reason.strip():
        raise IncidentError(f"A closed incident must say why; received no reason for {incident.id}. Give one.")
    closed = incident.to(IncidentState.RESOLVED, f"closed by {who}: {reason.strip()}", hold=None)
    if not ledger.append(closed.to_record(now)):
        raise IncidentError(
            f"An incident is closed as it stands; received {incident.id}, which went on in this moment. "
            f"See `selfheal incidents {incident.id}`, and close it again if it is still escalated."
        )
    return closed
