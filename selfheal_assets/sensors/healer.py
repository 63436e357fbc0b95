"""Take one step of healing: the situation in; recorded incidents and decisions, notices and run requests out."""

from collections.abc import Sequence

import dagster as dg

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.incident import Incident, IncidentState, OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.notification import Severity
from selfheal_assets.core.policy import Decision
from selfheal_assets.core.reconcile import Step, reconcile
from selfheal_assets.core.record import Record
from selfheal_assets.core.situation import Situation
from selfheal_assets.ports import Services
from selfheal_assets.sensors.runs import MAX_ATTEMPTS, active_with_tag, runs_with_tag
from selfheal_assets.stages.heal_decision import close
from selfheal_assets.stages.identity import ATTEMPT_TAG, DECISION_TAG, MODEL_TAG
from selfheal_assets.stages.jobs import retrain_name, rollback_name
from selfheal_assets.stages.situation import gather

SEVERITY = {
    IncidentState.ESCALATED: Severity.FAILURE,
    IncidentState.SUPPRESSED: Severity.WARNING,
    IncidentState.DIAGNOSED: Severity.WARNING,
    IncidentState.HEALING: Severity.WARNING,
    IncidentState.ROLLED_BACK: Severity.FAILURE,
    IncidentState.RESOLVED: Severity.SUCCESS,
}
"""Of the states that people are told of."""


def heal(
    context: dg.SensorEvaluationContext, selfheal: Services, spec: ModelSpec
) -> tuple[list[dg.RunRequest], list[str]]:
    """Record what the core makes of the situation; then ask for the runs of what was decided and has not ended."""
    step = reconcile(spec, gather(selfheal.ledger, spec, selfheal.clock.now()))
    if selfheal.ledger.append(*step.records()):
        for incident in step.transitions:
            _tell(selfheal, incident)
    words = [_explain(decision) for decision in step.decisions] or [_standing(step)]
    requests, waits = _runs(context, selfheal, spec, gather(selfheal.ledger, spec, selfheal.clock.now()))
    return requests, [*words, *waits]


def _runs(
    context: dg.SensorEvaluationContext, selfheal: Services, spec: ModelSpec, situation: Situation
) -> tuple[list[dg.RunRequest], list[str]]:
    """Of the decisions that were let through and have no end: wait, ask, ask again after a crash, or give up."""
    requests, words = list[dg.RunRequest](), list[str]()
    for decision in (heal.decision for heal in reversed(situation.heals) if heal.outcome is None):
        running = active_with_tag(context.instance, DECISION_TAG, decision.subject)
        tries = runs_with_tag(context.instance, DECISION_TAG, decision.subject)
        if running:
            words.append(f"decision {decision.subject}: run {running[:8]} is at work")
        elif tries < MAX_ATTEMPTS:
            words.append(f"decision {decision.subject}: requested try {tries + 1}")
            requests.append(_request(spec, decision, tries + 1))
        else:
            words.append(_give_up(selfheal, spec, decision, tries))
    return requests, words


def _request(spec: ModelSpec, decision: Record, attempt: int) -> dg.RunRequest:
    tags = {MODEL_TAG: spec.name, DECISION_TAG: decision.subject, ATTEMPT_TAG: str(attempt)}
    run_key = decision.subject if attempt == 1 else f"{decision.subject}-{attempt}"
    if decision.payload["action"] == Action.ROLLBACK:
        config = {"ops": {f"{spec.name}__rollback": {"config": {"reason": decision.payload["reason"]}}}}
        return dg.RunRequest(run_key=run_key, job_name=rollback_name(spec), tags=tags, run_config=config)
    return dg.RunRequest(run_key=run_key, job_name=retrain_name(spec), tags=tags)


def _give_up(selfheal: Services, spec: ModelSpec, decision: Record, tries: int) -> str:
    reason = f"its run crashed {tries} times; see the runs tagged {DECISION_TAG}={decision.subject}"
    close(selfheal, spec, decision.subject, OutcomeStatus.FAILED, version=None, reason=reason)
    incident = decision.payload.get("incident")
    title = f"{decision.payload['action']} failed"
    selfheal.notifier.notify(spec.name, title, reason, incident=incident, severity=Severity.FAILURE)
    return f"decision {decision.subject} is given up: {reason}"


def _tell(selfheal: Services, incident: Incident) -> None:
    quiet = incident.cause is Cause.UNKNOWN or incident.state not in SEVERITY
    if not quiet:
        title = f"{incident.cause.replace('_', ' ')}: {incident.state.lower()}"
        severity = SEVERITY[incident.state]
        selfheal.notifier.notify(incident.model, title, incident.reason, incident=incident.id, severity=severity)


def _explain(decision: Decision) -> str:
    refused = f"; not done: {'; '.join(decision.refused)}" if decision.refused else ""
    return f"{decision.cause} -> {decision.action} ({decision.status.lower()}): {decision.reason}{refused}"


def _standing(step: Step) -> str:
    """What the tick saw, where it decided nothing."""
    seen = "; ".join(f"{d.cause}: {d.reason}" for d in step.diagnoses)
    opened: Sequence[Incident] = [incident for incident in step.incidents.values() if not incident.ended]
    held = [f"incident {i.id} ({i.cause}) {i.state.lower()}{f' by {i.hold}' if i.hold else ''}" for i in opened]
    return "; ".join([seen, *held])
