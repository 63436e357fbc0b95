"""Follow an incident under way: outcomes and new evidence in, its next transition out. Never decides an action."""

from datetime import timedelta

from selfheal_assets.core.causes import TOUCHES_PRODUCTION, Action, Cause
from selfheal_assets.core.diagnosis import Seen
from selfheal_assets.core.diagnosis_rules import RULES, Derived
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.holds import Hold, switched_off
from selfheal_assets.core.incident import Incident, IncidentState, OutcomeStatus, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.situation import Heal, Situation
from selfheal_assets.core.windows import State


def advanced(spec: ModelSpec, incident: Incident, situation: Situation, seen: Seen) -> Incident | None:
    """The incident after its next transition, or None while there is none."""
    if incident.state is IncidentState.HEALING:
        return _after_run(incident, situation)
    if incident.state is IncidentState.SUPPRESSED and incident.hold == Hold.APPROVAL:
        return _after_approval(spec, incident, situation)
    if incident.state is IncidentState.VERIFYING and incident.tried[-1].action in TOUCHES_PRODUCTION:
        return _after_heal(spec, incident, situation, seen)
    if cleared(incident.cause, seen):
        tried = incident.with_result(Result.VERIFIED) if incident.tried else ()
        return incident.to(IncidentState.RESOLVED, "its signals are clear again", tried=tried, hold=None)
    return None


def cleared(cause: Cause, seen: Seen) -> bool:
    """Whether everything that the cause is about is CLEAR. Doubt does not clear."""
    if cause is Cause.UNKNOWN:
        return seen.state(Derived.HARM) is not State.UNKNOWN and not seen.raised()
    subjects = {rule.subject for rule in RULES if rule.cause is cause}
    states = {seen.state(column) for column in subjects if seen.windows[column].evidence or column is Derived.HARM}
    if Derived.STRONG_DRIFT in subjects:
        states = {seen.state(Derived.HARM)}
    return states == {State.CLEAR}


def _after_run(incident: Incident, situation: Situation) -> Incident | None:
    heal = _heal(incident, situation)
    if heal is None or heal.outcome is None:
        return None
    reason, version = heal.outcome.payload["reason"], heal.outcome.payload.get("version")
    if heal.outcome.status in (OutcomeStatus.PROMOTED, OutcomeStatus.ROLLED_BACK):
        tried = incident.with_result(Result.ACTED, version)
        return incident.to(IncidentState.VERIFYING, f"version {version} serves: {reason}", tried=tried)
    result = Result(heal.outcome.payload.get("result") or Result.FAILED)
    return incident.to(IncidentState.DIAGNOSED, f"{result}: {reason}", tried=incident.with_result(result))


def _after_approval(spec: ModelSpec, incident: Incident, situation: Situation) -> Incident | None:
    attempt = incident.tried[-1]
    word = situation.approvals.get(attempt.decision_id)
    if word == "APPROVED":
        if switched_off(situation, attempt.action):
            return None
        tried = incident.with_result(Result.UNDER_WAY)
        return incident.to(IncidentState.HEALING, f"{attempt.action}: approved", tried=tried, hold=None)
    expired = situation.now >= attempt.decided_at + timedelta(hours=spec.policy.approval_hours)
    if word is None and not expired:
        return None
    why = "a person rejected it" if word else f"nobody approved within {spec.policy.approval_hours:g} hours"
    tried = incident.with_result(Result.DECLINED)
    return incident.to(IncidentState.ESCALATED, f"{attempt.action}: {why}", tried=tried, hold=None)


def _after_heal(spec: ModelSpec, incident: Incident, situation: Situation, seen: Seen) -> Incident | None:
    version = incident.tried[-1].version
    if version != situation.champion_version and _taken_back(version, situation):
        tried = incident.with_result(Result.ROLLED_BACK)
        return incident.to(IncidentState.ROLLED_BACK, f"version {version} was taken back", tried=tried)
    if incident.tried[-1].action is Action.ROLLBACK:
        return _after_rollback(incident, seen)
    if cleared(incident.cause, seen):
        values = [e.value for e in seen.windows[Derived.HARM].evidence if e.value is not None]
        after = sum(values) / len(values) if values else None
        tried = incident.with_result(Result.VERIFIED)
        return incident.to(IncidentState.RESOLVED, "verified: its signals are clear", tried=tried, after=after)
    measured = {e.batch_id for e in seen.windows[Derived.HARM].evidence if e.status is not Status.UNKNOWN}
    if len(measured) < spec.policy.verify_batches:
        return None
    why = f"{len(measured)} batches under version {situation.champion_version}, and its signals are not clear"
    return incident.to(IncidentState.DIAGNOSED, f"not verified: {why}", tried=incident.with_result(Result.NOT_VERIFIED))


def _after_rollback(incident: Incident, seen: Seen) -> Incident | None:
    """Whatever harm the version that serves again has of its own is another incident's."""
    later = [
        e
        for e in seen.windows[Derived.HARM].evidence
        if not incident.newest_event or e.event_time > incident.newest_event
    ]
    if not later:
        return None
    reason = f"version {incident.tried[-1].version} serves again, measured on {later[-1].batch_id}"
    return incident.to(
        IncidentState.RESOLVED, reason, tried=incident.with_result(Result.VERIFIED), after=later[-1].value
    )


def _taken_back(version: str | None, situation: Situation) -> bool:
    rollbacks = [heal.decision for heal in situation.heals if heal.action is Action.ROLLBACK]
    return any(decision.payload["champion_version"] == version for decision in rollbacks)


def _heal(incident: Incident, situation: Situation) -> Heal | None:
    wanted = incident.tried[-1].decision_id
    return next((heal for heal in situation.heals if heal.decision.subject == wanted), None)
