"""Follow an incident under way: outcomes and new evidence in, its next transition out. Never decides an action."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from selfheal_assets.core.causes import ABOUT_THE_METRIC, TOUCHES_PRODUCTION, Action, Cause
from selfheal_assets.core.diagnosis import Seen
from selfheal_assets.core.diagnosis_rules import RULES, Column, Derived
from selfheal_assets.core.evidence import OF_SERVERS, UNBOUND, Evidence, Signal, Status, is_look
from selfheal_assets.core.holds import Hold, approved_held
from selfheal_assets.core.incident import Attempt, Incident, IncidentState, OutcomeStatus, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.situation import Heal, Situation
from selfheal_assets.core.windows import State

APPROVED = "APPROVED"
LIVE_RELEASE = frozenset({Signal.RELEASE_FAULT, Signal.BUSINESS})
"""What speaks against a release before any label has come."""
FALLBACK_AT_LEAST = timedelta(minutes=5)
"""People are not called for a shorter outage, though nothing stands in for the store."""


def advanced(spec: ModelSpec, incident: Incident, situation: Situation, seen: Seen) -> Incident | None:
    """The incident after its next transition, or None while there is none."""
    if incident.state is IncidentState.HEALING:
        return _after_run(incident, situation)
    if incident.state is IncidentState.VERIFYING and incident.tried[-1].action in TOUCHES_PRODUCTION:
        return _after_heal(spec, incident, situation, seen)
    if incident.state is IncidentState.VERIFYING and incident.tried[-1].action is Action.FALLBACK:
        return _after_fallback(spec, incident, situation, seen)
    if cleared(incident.cause, seen):
        tried = incident.with_result(Result.VERIFIED) if _last(incident) is Result.ACTED else _void(incident)
        return incident.to(IncidentState.RESOLVED, "its signals are clear again", tried=tried, hold=None)
    if incident.hold == Hold.APPROVAL:
        return _without_approval(spec, incident, situation)
    return None


def taken_for(incident: Incident, cause: Cause) -> Incident:
    """Resolved, because its evidence is another incident's. Nothing that was tried helped by that."""
    reason = f"its evidence is taken for {cause}"
    return incident.to(IncidentState.RESOLVED, reason, tried=_void(incident), hold=None)


def _void(incident: Incident) -> tuple[Attempt, ...]:
    """What failed stays failed; what waits for approval is not to be approved any more."""
    return incident.with_result(Result.DECLINED) if _last(incident) is Result.AWAITING else incident.tried


def _last(incident: Incident) -> Result | None:
    return incident.tried[-1].result if incident.tried else None


def cleared(cause: Cause, seen: Seen) -> bool:
    """Whether everything that the cause is about is CLEAR. Doubt does not clear."""
    if cause is Cause.UNKNOWN:
        return seen.state(Derived.HARM) is not State.UNKNOWN and not seen.raised()
    if cause is Cause.CONCEPT_DRIFT and not any(_realised(e) for e in seen.evidence):
        return False  # An estimate is blind to what the inputs mean.
    measured = {column for column in _own(cause) if seen.windows[column].evidence}
    # What servers alone showed needs no labels to be over.
    columns = measured if measured & LIVE_RELEASE else measured | (_own(cause) & {Derived.HARM})
    return {seen.state(column) for column in columns} == {State.CLEAR}


def _own(cause: Cause) -> frozenset[Column]:
    """The columns that the cause is about: where inputs moved and did harm, the harm; and what requests met."""
    subjects = frozenset(rule.subject for rule in RULES if rule.cause is cause)
    return frozenset({Derived.HARM, *(subjects & LIVE_RELEASE)}) if Derived.HARM in subjects else subjects


def _after_fallback(spec: ModelSpec, incident: Incident, situation: Situation, seen: Seen) -> Incident | None:
    """It lasts as long as the last answers of the store do; after that the declared defaults alone answer."""
    if cleared(incident.cause, seen):
        tried = incident.with_result(Result.VERIFIED)
        return incident.to(IncidentState.RESOLVED, "its signals are clear again", tried=tried, hold=None)
    minutes = spec.serving.cached_max_age_minutes
    if situation.now - incident.tried[-1].decided_at <= max(timedelta(minutes=minutes), FALLBACK_AT_LEAST):
        return None
    why = f"features are away for {minutes:g} minutes: too long for the last ones to stand in for them"
    return incident.to(IncidentState.DIAGNOSED, why, tried=incident.with_result(Result.NOT_VERIFIED))


def _realised(evidence: Evidence) -> bool:
    return evidence.signal is Signal.PERFORMANCE and evidence.status is not Status.UNKNOWN


def _after_run(incident: Incident, situation: Situation) -> Incident | None:
    heal = _heal(incident, situation)
    if heal is None or heal.outcome is None:
        return None
    reason, version = heal.outcome.payload["reason"], heal.outcome.payload.get("version")
    if heal.outcome.status in (OutcomeStatus.PROMOTED, OutcomeStatus.ROLLED_BACK):
        tried = incident.with_result(Result.ACTED, version)
        return incident.to(IncidentState.VERIFYING, f"version {version} serves: {reason}", tried=tried)
    if heal.outcome.status == OutcomeStatus.RESTARTED:
        return incident.to(IncidentState.VERIFYING, reason, tried=incident.with_result(Result.ACTED))
    by_status = Result.REFUSED if heal.outcome.status == OutcomeStatus.REFUSED else Result.FAILED
    result = Result(heal.outcome.payload.get("result") or by_status)
    return incident.to(IncidentState.DIAGNOSED, f"{result}: {reason}", tried=incident.with_result(result))


def approved(spec: ModelSpec, incident: Incident, situation: Situation) -> Incident | None:
    """The incident at work, when a person approved what it waits with; None without that, or while it is held back."""
    attempt = incident.tried[-1]
    before = replace(incident, tried=incident.tried[:-1])
    if _word(spec, attempt, situation) != APPROVED:
        return None
    if approved_held(spec, before, attempt.action, situation):
        return None
    tried = (*before.tried, replace(attempt, result=Result.UNDER_WAY, decided_at=situation.now))
    return incident.to(IncidentState.HEALING, f"{attempt.action}: approved", tried=tried, hold=None)


def _without_approval(spec: ModelSpec, incident: Incident, situation: Situation) -> Incident | None:
    attempt = incident.tried[-1]
    word = _word(spec, attempt, situation)
    expired = situation.now >= approval_ends(spec, attempt)
    if word == APPROVED or (word is None and not expired):
        return None
    why = "a person rejected it" if word else f"nobody approved within {spec.policy.approval_hours:g} hours"
    tried = incident.with_result(Result.DECLINED)
    return incident.to(IncidentState.ESCALATED, f"{attempt.action}: {why}", tried=tried, hold=None)


def _word(spec: ModelSpec, attempt: Attempt, situation: Situation) -> str | None:
    """What a person said of it in time; a word that was written down later is none, whenever it is read."""
    said_at = situation.said_at.get(attempt.decision_id, situation.now)
    return situation.approvals.get(attempt.decision_id) if said_at < approval_ends(spec, attempt) else None


def approval_ends(spec: ModelSpec, attempt: Attempt) -> datetime:
    """From when on nobody can approve it any more."""
    return attempt.decided_at + timedelta(hours=spec.policy.approval_hours)


def _after_heal(spec: ModelSpec, incident: Incident, situation: Situation, seen: Seen) -> Incident | None:
    version, serving = incident.tried[-1].version, situation.champion_version
    other = version is not None and version != serving
    if other and _taken_back(version, situation):
        tried = incident.with_result(Result.ROLLED_BACK)
        return incident.to(IncidentState.ROLLED_BACK, f"version {version} was taken back", tried=tried)
    if incident.tried[-1].action is Action.ROLLBACK:
        return _after_rollback(incident, situation, seen) or _unverifiable(spec, incident, situation, seen)
    # Where a person promoted another version meanwhile, what was tried neither helped nor failed.
    beside = f" under version {serving}, which a person promoted in the place of {version}" if other else ""
    if cleared(incident.cause, seen):
        values = [e.value for e in seen.windows[Derived.HARM].evidence if e.value is not None]
        after = sum(values) / len(values) if values and incident.cause in ABOUT_THE_METRIC else None
        tried = incident.tried if other else incident.with_result(Result.VERIFIED)
        return incident.to(IncidentState.RESOLVED, f"verified: its signals are clear{beside}", tried=tried, after=after)
    measured = {e.batch_id for e in _measured_since(incident, situation, seen)}
    if len(measured) < spec.policy.verify_batches or _recovering(incident.cause, seen):
        return _unverifiable(spec, incident, situation, seen)
    tried = incident.tried if other else incident.with_result(Result.NOT_VERIFIED)
    counted = "looks at the servers" if incident.tried[-1].action is Action.RESTART else "batches"
    why = f"{len(measured)} {counted} under version {serving}, and its signals are not clear{beside}"
    return incident.to(IncidentState.DIAGNOSED, f"not verified: {why}", tried=tried)


def _unverifiable(spec: ModelSpec, incident: Incident, situation: Situation, seen: Seen) -> Incident | None:
    """Escalated, where what is needed to verify it does not come. Each measured batch gives it as much time again."""
    measured = {e.batch_id for e in _measured_since(incident, situation, seen)}
    hours = spec.policy.verify_hours * (1 + len(measured))
    if situation.now < _acted_at(incident, situation) + timedelta(hours=hours):
        return None
    found = f"only {len(measured)} batches were measured" if measured else "nothing was measured"
    reason = f"nothing could be verified: {found} in {hours:g} hours after {incident.tried[-1].action}"
    return incident.to(IncidentState.ESCALATED, reason, tried=incident.with_result(Result.UNVERIFIABLE))


def _acted_at(incident: Incident, situation: Situation) -> datetime:
    heal = _heal(incident, situation)
    return heal.outcome.event_time if heal and heal.outcome else incident.tried[-1].decided_at


def _measured_since(incident: Incident, situation: Situation, seen: Seen) -> Iterator[Evidence]:
    """What is known of the incident's own signals since it was acted on.

    Evidence that is bound to a champion is about the one that serves because of it; the rest is told by its time.
    """
    acted = _acted_at(incident, situation)
    dated = UNBOUND if incident.tried[-1].version else UNBOUND | OF_SERVERS
    own: set[Column] = set(_own(incident.cause))
    if Derived.HARM in own:
        own |= {Signal.PERFORMANCE, *(() if incident.cause is Cause.CONCEPT_DRIFT else (Signal.ESTIMATED_PERFORMANCE,))}
    for evidence in seen.evidence:
        alarm = Derived.HARM in own and evidence.signal is Signal.RISK and evidence.status is Status.RAISED
        known = evidence.signal in own and evidence.status is not Status.UNKNOWN
        if alarm or (known and (evidence.signal not in dated or evidence.event_time > acted)):
            yield evidence


def _recovering(cause: Cause, seen: Seen) -> bool:
    """Whether the last that is known of each of its signals is clear: one bad batch before is no proof of failure."""
    known = [[e for e in seen.windows[column].evidence if e.status is not Status.UNKNOWN] for column in _own(cause)]
    return all(evidence[-1].status is Status.CLEAR for evidence in known if evidence) and any(known)


def _after_rollback(incident: Incident, situation: Situation, seen: Seen) -> Incident | None:
    """Whatever harm the version that serves again has of its own is another incident's; but it must be known."""
    since = incident.newest_event
    # What only servers showed, servers show to be over: labels may take days.
    live = all(is_look(batch_id) for batch_id in incident.batch_ids)
    later = [
        e
        for column in (Signal.ERRORS if live else Derived.HARM,)
        for e in seen.windows[column].evidence
        if e.status is not Status.UNKNOWN and (not since or e.event_time > since)
    ]
    if not later:
        return None
    reason = f"version {situation.champion_version} serves, measured on {later[-1].batch_id}"
    after = None if live else later[-1].value
    return incident.to(IncidentState.RESOLVED, reason, tried=incident.with_result(Result.VERIFIED), after=after)


def _taken_back(version: str | None, situation: Situation) -> bool:
    done = [h.decision for h in situation.heals if h.outcome and h.outcome.status == OutcomeStatus.ROLLED_BACK]
    return any(decision.payload["champion_version"] == version for decision in done)


def _heal(incident: Incident, situation: Situation) -> Heal | None:
    wanted = incident.tried[-1].decision_id
    return next((heal for heal in situation.heals if heal.decision.subject == wanted), None)
