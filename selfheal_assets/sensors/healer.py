"""Take one step of healing: the situation in; recorded incidents and decisions, notices and run requests out."""

from collections.abc import Sequence

import dagster as dg

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.incident import Incident, IncidentState, OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.notification import Severity
from selfheal_assets.core.policy import Decision, learnable_in_words, needed_for_first
from selfheal_assets.core.reconcile import Step, reconcile
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.situation import Situation
from selfheal_assets.ports import Services
from selfheal_assets.sensors.memory import more_memory, training_memory
from selfheal_assets.sensors.runs import active_with_tag
from selfheal_assets.sensors.tries import Tries, tries
from selfheal_assets.stages.heal_decision import close
from selfheal_assets.stages.identity import ATTEMPT_TAG, DECISION_TAG, MODEL_TAG, ROW_CAP_TAG
from selfheal_assets.stages.jobs import retrain_name, rollback_name
from selfheal_assets.stages.restart import restart
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
    situation = gather(selfheal.ledger, spec, selfheal.clock.now())
    step = reconcile(spec, situation)
    if selfheal.ledger.append(*step.records()):
        for incident in step.transitions:
            _tell(selfheal, incident)
        situation = gather(selfheal.ledger, spec, selfheal.clock.now())
    words = [_explain(decision) for decision in step.decisions] or [_standing(step)]
    requests, waits = _runs(context, selfheal, spec, situation)
    return requests, [*words, *waits]


def _runs(
    context: dg.SensorEvaluationContext, selfheal: Services, spec: ModelSpec, situation: Situation
) -> tuple[list[dg.RunRequest], list[str]]:
    """Of the decisions that were let through and have no end: wait, ask, ask again after a crash, or give up."""
    requests, words = list[dg.RunRequest](), list[str]()
    unfinished = [heal.decision for heal in reversed(situation.heals) if heal.outcome is None]
    rollouts = selfheal.ledger.current(spec.name, RecordKind.ROLLOUT, [decision.subject for decision in unfinished])
    for decision in unfinished:
        if decision.payload["action"] == Action.RESTART:
            words.append(restart(selfheal, spec, decision))
            continue
        if decision.subject in rollouts:
            # Its run did what it was asked for; the rollout sensor brings it to its end.
            words.append(f"decision {decision.subject}: its rollout is {rollouts[decision.subject].status}")
            continue
        running = active_with_tag(context.instance, DECISION_TAG, decision.subject)
        if running:
            words.append(f"decision {decision.subject}: run {running[:8]} is at work")
            continue
        if selfheal.ledger.newest(spec.name, RecordKind.OUTCOME, subject=decision.subject):
            words.append(f"decision {decision.subject} has just ended")
            continue
        found = tries(context.instance, selfheal, spec, DECISION_TAG, decision.subject)
        waits_until = found.waits_until(selfheal.clock.now())
        if found.given_up:
            words.append(_give_up(selfheal, spec, decision, found))
        elif waits_until is not None:
            until = f"try {found.launched + 1} not before {waits_until:%Y-%m-%d %H:%M:%S} UTC"
            words.append(f"decision {decision.subject}: {found.words}; {until}")
        else:
            words.append(f"decision {decision.subject}: requested try {found.launched + 1}")
            requests.append(_request(context, spec, decision, found))
    return requests, words


def _request(context: dg.SensorEvaluationContext, spec: ModelSpec, decision: Record, found: Tries) -> dg.RunRequest:
    attempt, rolls_back = found.launched + 1, decision.payload["action"] == Action.ROLLBACK
    job_name = rollback_name(spec) if rolls_back else retrain_name(spec)
    if rolls_back:
        memory = more_memory(context, job_name, found.out_of_memory)
    else:
        memory = training_memory(context, spec, job_name, found.out_of_memory)
    tags = {MODEL_TAG: spec.name, DECISION_TAG: decision.subject, ATTEMPT_TAG: str(attempt), **memory.tags}
    run_key = decision.subject if attempt == 1 else f"{decision.subject}-{attempt}"
    config = dict(memory.run_config)
    if rolls_back:
        config["ops"] = {f"{spec.name}__rollback": {"config": {"reason": decision.payload["reason"]}}}
    elif found.sample is not None:
        tags[ROW_CAP_TAG] = str(found.sample)
    return dg.RunRequest(run_key=run_key, job_name=job_name, tags=tags, run_config=config)


def _give_up(selfheal: Services, spec: ModelSpec, decision: Record, found: Tries) -> str:
    reason = f"its run {found.words}; see the runs tagged {DECISION_TAG}={decision.subject}"
    last = found.failures[-1].payload
    close(
        selfheal,
        spec,
        decision.subject,
        OutcomeStatus.FAILED,
        version=None,
        reason=reason,
        run_id=last["run_id"],
        error=last["error_class"] or last["message"],
    )
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
    if step.situation.champion_version is None:
        batches, rows = needed_for_first(step.spec)
        seen = f"{learnable_in_words(step.situation)}, of {batches} batches and {rows} rows; {seen}"
    opened: Sequence[Incident] = [incident for incident in step.incidents.values() if not incident.ended]
    held = [f"incident {i.id} ({i.cause}) {i.state.lower()}{f' by {i.hold}' if i.hold else ''}" for i in opened]
    return "; ".join([seen, *held])
