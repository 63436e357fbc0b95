"""One step of healing: a situation in; the incidents' next transitions and decisions out. Never reads or writes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from selfheal_assets.core.causes import (
    ABOUT_THE_METRIC,
    GRAVITY,
    NOT_AN_INCIDENT,
    ON_SERVERS,
    TOUCHES_PRODUCTION,
    Action,
    Cause,
)
from selfheal_assets.core.diagnosis import Diagnosis, diagnose, look
from selfheal_assets.core.diagnosis_rules import RULES
from selfheal_assets.core.holds import Hold, first_model_failures
from selfheal_assets.core.incident import Attempt, Incident, IncidentState, Result, incident_id
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.policy import Decision, DecisionStatus, decide, first_model, needed_for_first
from selfheal_assets.core.progress import advanced, approved, taken_for
from selfheal_assets.core.record import Record
from selfheal_assets.core.situation import Situation

WAITING = (IncidentState.DIAGNOSED, IncidentState.SUPPRESSED)
AT_WORK = (IncidentState.HEALING, IncidentState.VERIFYING)


@dataclass(kw_only=True)
class Step:
    """What is to be written down, all or nothing, and what was seen."""

    spec: ModelSpec
    situation: Situation
    diagnoses: tuple[Diagnosis, ...]
    incidents: dict[str, Incident]
    """Those that have not ended, and those that end with this step, as of its end."""
    transitions: list[Incident] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def records(self) -> list[Record]:
        """For the ledger, in order: a decision before the transition that it leads to."""
        now = self.situation.now
        made = {decision.incident: decision.to_record(now) for decision in self.decisions if decision.incident}
        found = [decision.to_record(now) for decision in self.decisions if decision.incident is None]
        for incident in self.transitions:
            if incident.state not in (IncidentState.OPEN, IncidentState.DIAGNOSED) and incident.id in made:
                found.append(made.pop(incident.id))
            found.append(incident.to_record(now))
        return [*found, *made.values()]

    def enter(self, incident: Incident) -> None:
        self.incidents[incident.id] = incident
        self.transitions.append(incident)

    def of_cause(self, cause: Cause) -> Incident | None:
        return next((i for i in self.incidents.values() if i.cause is cause and not i.ended), None)


def reconcile(spec: ModelSpec, situation: Situation) -> Step:
    """Diagnose; open and join incidents; follow those under way; decide about the gravest one that is due.

    The same arguments always give the same step. The step after it, when nothing else happened, has nothing that the
    ledger does not have: at most the first model's decision again, word for word, while it is held back.
    """
    broken = (i for i in (*situation.open, *situation.ended) if i.cause is Cause.BAD_DATA)
    seen = look(spec, situation.evidence, {batch for incident in broken for batch in incident.batch_ids})
    step = Step(
        spec=spec,
        situation=situation,
        diagnoses=diagnose(seen),
        incidents={incident.id: incident for incident in situation.open},
    )
    for incident in situation.open:
        following = advanced(spec, incident, situation, seen)
        if following is not None:
            step.enter(following)
    for diagnosis in step.diagnoses:
        if diagnosis.explained_by is None and diagnosis.cause not in NOT_AN_INCIDENT and diagnosis.batch_ids:
            _open_or_join(step, diagnosis)
    _close_explained(step)
    _act(step)
    return step


def _open_or_join(step: Step, diagnosis: Diagnosis) -> None:
    incident = step.of_cause(diagnosis.cause)
    if incident is None:
        _open(step, diagnosis)
        return
    new = [batch for batch in diagnosis.batch_ids if batch not in incident.batch_ids]
    if new:
        joined = replace(
            _described(incident, diagnosis), batch_ids=(*incident.batch_ids, *new), drop=diagnosis.drop or incident.drop
        )
        step.enter(joined.to(incident.state, f"new evidence: {diagnosis.reason}"))


def _open(step: Step, diagnosis: Diagnosis) -> None:
    situation = step.situation
    if diagnosis.cause is not Cause.UNKNOWN and _doubt_has_a_name(step, diagnosis):
        return
    opened = Incident(
        id=incident_id(step.spec.name, diagnosis.cause, situation.seen),
        model=step.spec.name,
        cause=diagnosis.cause,
        state=IncidentState.OPEN,
        reason=diagnosis.reason,
        opened_at=situation.now,
        batch_ids=diagnosis.batch_ids,
        champion_version=situation.champion_version,
        drop=diagnosis.drop,
        before=situation.champion_metric if diagnosis.cause in ABOUT_THE_METRIC else None,
    )
    opened = _described(opened, diagnosis)
    step.enter(opened)
    if diagnosis.cause is not Cause.UNKNOWN:
        step.enter(opened.to(IncidentState.DIAGNOSED, diagnosis.reason))


def _doubt_has_a_name(step: Step, diagnosis: Diagnosis) -> bool:
    """What was open without a cause becomes the incident of the cause, when it is made of the same evidence."""
    doubt = step.of_cause(Cause.UNKNOWN)
    if doubt is None or not set(doubt.batch_ids) & set(diagnosis.batch_ids):
        return False
    batches = tuple(dict.fromkeys((*doubt.batch_ids, *diagnosis.batch_ids)))
    named = replace(
        _described(doubt, diagnosis),
        cause=diagnosis.cause,
        batch_ids=batches,
        drop=diagnosis.drop,
        before=step.situation.champion_metric if diagnosis.cause in ABOUT_THE_METRIC else None,
    )
    step.enter(named.to(IncidentState.DIAGNOSED, diagnosis.reason))
    return True


def _described(incident: Incident, diagnosis: Diagnosis) -> Incident:
    return replace(
        incident,
        diagnosis=diagnosis.reason,
        newest_event=diagnosis.newest_event or incident.newest_event,
        features=diagnosis.features or incident.features,
        slices=diagnosis.slices or incident.slices,
        began_at=diagnosis.began_at or incident.began_at,
    )


def _close_explained(step: Step) -> None:
    """An incident whose evidence another cause accounts for is that other incident's, unless it is being healed."""
    standing = {d.cause: d for d in step.diagnoses}
    for incident in list(step.incidents.values()):
        found = standing.get(incident.cause)
        explained = found.explained_by if found else _now_taken_for(incident, step.diagnoses)
        if explained and not incident.ended and not _under_way(incident):
            step.enter(taken_for(incident, explained))


def _now_taken_for(incident: Incident, diagnoses: Sequence[Diagnosis]) -> Cause | None:
    """The cause that explains what the incident is about, where its own cause is not found any more."""
    for diagnosis in diagnoses:
        if diagnosis.cause in {*NOT_AN_INCIDENT, Cause.UNKNOWN} or diagnosis.explained_by is not None:
            continue
        explains = {column for rule in RULES if rule.cause is diagnosis.cause for column in rule.explains}
        subjects = {rule.subject for rule in RULES if rule.cause is incident.cause}
        if subjects & explains or (not subjects and incident.batch_ids[-1] in diagnosis.batch_ids):
            return diagnosis.cause
    return None


def _act(step: Step) -> None:
    if step.situation.champion_version is None and _ready_for_first(step):
        tried = [h.decision.payload["attempt"] for h in step.situation.heals]
        step.decisions.append(first_model(step.spec, step.situation, 1 + max(tried, default=0)))
    for incident in sorted(step.incidents.values(), key=lambda i: (GRAVITY.index(i.cause), i.opened_at, i.id)):
        if incident.hold == Hold.APPROVAL:
            _begin_approved(step, incident)
        elif incident.state in WAITING:
            _decide(step, incident)


def _begin_approved(step: Step, incident: Incident) -> None:
    following = approved(step.spec, incident, step.situation)
    if following is not None and not _busy(step, incident, incident.tried[-1].action):
        step.enter(following)


def _ready_for_first(step: Step) -> bool:
    """The smallest window is full, it has rows enough, tries are left, and no earlier decision is still under way."""
    spec, situation = step.spec, step.situation
    batches, rows = needed_for_first(spec)
    full = len(situation.learnable) >= batches and situation.labelled_rows >= rows
    left = first_model_failures(situation) < spec.policy.first_model_tries
    return full and left and all(heal.outcome is not None for heal in situation.heals)


def _decide(step: Step, incident: Incident) -> None:
    decision = decide(step.spec, incident, step.situation)
    if decision.action in TOUCHES_PRODUCTION and _busy(step, incident, decision.action):
        return
    if decision.status is DecisionStatus.SUPPRESSED and incident.hold == decision.hold:
        return
    step.decisions.append(decision)
    step.enter(_acted(incident, decision, step.situation))


def _busy(step: Step, incident: Incident, action: Action) -> bool:
    """Of one model's champion, and of its servers, one thing at a time; only a bad release is taken back while its
    healing is being verified."""
    on_servers = action in ON_SERVERS
    others = [i for i in step.incidents.values() if i.id != incident.id and _under_way(i)]
    active = [i for i in others if (i.tried[-1].action in ON_SERVERS) is on_servers]
    if incident.cause is Cause.BAD_RELEASE:
        active = [i for i in active if i.state is IncidentState.HEALING]
    first = any(d.incident is None and d.status is DecisionStatus.DECIDED for d in step.decisions) and not on_servers
    running = [heal for heal in step.situation.heals if heal.outcome is None]
    return bool(active) or first or any((heal.action in ON_SERVERS) is on_servers for heal in running)


def _under_way(incident: Incident) -> bool:
    """Whether production was, or is being, touched for it, and the end is not known yet."""
    return incident.state in AT_WORK and incident.tried[-1].action in TOUCHES_PRODUCTION


def _acted(incident: Incident, decision: Decision, situation: Situation) -> Incident:
    if decision.status is DecisionStatus.SUPPRESSED:
        return incident.to(IncidentState.SUPPRESSED, decision.refused[0], hold=decision.hold)
    attempt = Attempt(action=decision.action, decision_id=decision.id, decided_at=situation.now)
    if decision.status is DecisionStatus.AWAITING:
        tried = (*incident.tried, replace(attempt, result=Result.AWAITING))
        why = f"{decision.action} waits for approval: {decision.details['approval']['why']}"
        return incident.to(IncidentState.SUPPRESSED, why, tried=tried, hold=Hold.APPROVAL)
    reason = f"{decision.action}: {decision.reason}"
    if decision.action in TOUCHES_PRODUCTION:
        return incident.to(IncidentState.HEALING, reason, tried=(*incident.tried, attempt), hold=None)
    tried = (*incident.tried, replace(attempt, result=Result.ACTED))
    if decision.action is Action.ESCALATE:
        return incident.to(IncidentState.ESCALATED, "; ".join(decision.refused) or reason, tried=tried, hold=None)
    return incident.to(IncidentState.VERIFYING, reason, tried=tried, hold=None)
