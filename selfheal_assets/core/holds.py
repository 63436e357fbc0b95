"""What holds a due action back: flags, autonomy, evidence, cooldown, budget, cost; with the reason. Never acts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import chain

from selfheal_assets.core.causes import ON_SERVERS, PRODUCES_CANDIDATE, TOUCHES_PRODUCTION, Action, Cause
from selfheal_assets.core.cost import sums
from selfheal_assets.core.diagnosis import look
from selfheal_assets.core.diagnosis_rules import Derived
from selfheal_assets.core.evidence import OF_SERVERS
from selfheal_assets.core.incident import FAILURES, Attempt, Incident, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.situation import Heal, Situation

EVERY_ACTION = "*"
LONGEST_WAIT = timedelta(days=1)
FEWEST_TO_DISTRUST = 3
"""So many heals must be remembered before their share of failures takes the autonomy away."""


class Hold(StrEnum):
    """What may hold an action back, in the order in which it is asked."""

    FLAG = "flag"
    """The action, or every one, is switched off for the model, or for all models."""
    AUTONOMY = "autonomy"
    """The model's autonomy is `observe`."""
    NO_NEW_DATA = "no_new_data"
    """A retraining would learn from the same batches as the last one."""
    NO_SERVER = "no_server"
    """The action is the model server's, and no server of the model was ever seen here; or nothing can carry it out."""
    NO_HARM = "no_harm"
    """The share of label 1 moved, and neither performance, realised or estimated, nor risk is raised."""
    NO_LABELS = "no_labels"
    """No batch of the incident has labels enough: a candidate could neither learn from it nor be judged by it."""
    EVIDENCE = "evidence"
    """After failed heals in a row more batches must speak for a new candidate, one for each."""
    COOLDOWN = "cooldown"
    """The last decision to heal is too recent."""
    BUDGET = "budget"
    """The decisions of the last 24 hours are as many as are allowed."""
    COST = "cost"
    """The expected loss is smaller than what the action costs."""
    APPROVAL = "approval"
    """A person must say yes first."""


@dataclass(frozen=True, kw_only=True)
class Held:
    hold: Hold
    reason: str


def held_back(spec: ModelSpec, incident: Incident, action: Action, situation: Situation) -> Held | None:
    """The first thing that speaks against acting now, or None. What does not touch production is never held."""
    if action not in TOUCHES_PRODUCTION:
        return None
    return next(_objections(spec, incident, action, situation), None)


def first_model_held(spec: ModelSpec, situation: Situation) -> Held | None:
    """What speaks against learning the first model: no budget or cost does, and a wait only after it failed."""
    return next(chain(_always(spec, Action.RETRAIN, situation), _backed_off(spec, situation)), None)


def first_model_failures(situation: Situation) -> int:
    """How often the first model was tried and none came of it."""
    ended = [h for h in situation.heals if h.decision.payload["cause"] == Cause.NO_CHAMPION and h.outcome]
    return max((h.decision.payload["attempt"] for h in ended), default=0)


def _backed_off(spec: ModelSpec, situation: Situation) -> Iterator[Held]:
    failures = first_model_failures(situation)
    ended = [heal.outcome.recorded_at for heal in situation.heals if heal.outcome]
    if not failures:
        return
    wait = min(timedelta(minutes=spec.policy.cooldown_minutes * 2.0 ** min(failures - 1, 32)), LONGEST_WAIT)
    ready = max(ended) + wait
    if situation.now < ready:
        words = f"{failures} tries made no first model; the next is not before {ready:%Y-%m-%d %H:%M:%S} UTC"
        yield Held(hold=Hold.COOLDOWN, reason=words)


def approved_held(spec: ModelSpec, incident: Incident, action: Action, situation: Situation) -> Held | None:
    """What still speaks against what a person approved: a flag, autonomy, no new data, cooldown, budget.

    Not evidence and cost: the person has weighed them.
    """
    return next(chain(_always(spec, action, situation), _rate(spec, incident, action, situation)), None)


def switched_off(situation: Situation, action: Action) -> str | None:
    """What a flag holds back, in words; None when the action is switched on."""
    off = situation.switched_off & {EVERY_ACTION, action}
    if not off:
        return None
    return f"{'every action' if EVERY_ACTION in off else action} is switched off; see `selfheal flags`"


def _always(spec: ModelSpec, action: Action, situation: Situation) -> Iterator[Held]:
    off = switched_off(situation, action)
    if off:
        yield Held(hold=Hold.FLAG, reason=off)
    if spec.policy.autonomy == "observe":
        yield Held(hold=Hold.AUTONOMY, reason="autonomy is 'observe': decisions are recorded, not carried out")
    if action is Action.RETRAIN and _learned_already(situation):
        yield Held(hold=Hold.NO_NEW_DATA, reason="no new clean batch has come since the last retraining")


def _objections(spec: ModelSpec, incident: Incident, action: Action, situation: Situation) -> Iterator[Held]:
    yield from _always(spec, action, situation)
    if action in ON_SERVERS:
        # Neither cooldown, nor budget, nor cost: a server that is down waits for nothing. Its own limit counts.
        if not _has_server(action, situation):
            yield Held(hold=Hold.NO_SERVER, reason="selfheal runs no model server here that could carry it out")
        return
    if incident.cause is Cause.PRIOR_SHIFT and not look(spec, situation.evidence).windows[Derived.HARM].raised:
        yield Held(hold=Hold.NO_HARM, reason="the share of label 1 moved, and no harm by it is seen")
    if action in PRODUCES_CANDIDATE and not set(incident.batch_ids) & set(situation.learnable):
        yield Held(hold=Hold.NO_LABELS, reason="none of its batches has labels to learn from and to judge by yet")
    failures = failures_in_a_row(spec, situation)
    needed = spec.drift.persistence_k + failures
    if action in PRODUCES_CANDIDATE and failures and len(incident.batch_ids) < needed:
        have = f"{len(incident.batch_ids)} batches speak for it"
        yield Held(hold=Hold.EVIDENCE, reason=f"{have}, {needed} are needed after {failures} failed heals in a row")
    yield from _rate(spec, incident, action, situation)
    found = sums(spec.cost, action, incident.drop, spec.performance.max_drop, situation.heals)
    if found is not None and not found.pays:
        yield Held(hold=Hold.COST, reason=f"it does not pay: {found.words}")


def _rate(spec: ModelSpec, incident: Incident, action: Action, situation: Situation) -> Iterator[Held]:
    """Cooldown and budget. The alternatives of one incident follow each other at once, and a rollback does not wait for
    others to cool down; the budget holds them all."""
    if action in ON_SERVERS:
        return
    policy = spec.policy
    begun = [heal.begun_at for heal in situation.heals if heal.counts]
    again = not incident.tried or any(attempt.action is action for attempt in incident.tried)
    if begun and again and action is not Action.ROLLBACK:
        ready = max(begun) + timedelta(minutes=policy.cooldown_minutes)
        if situation.now < ready:
            until = f"{ready:%Y-%m-%d %H:%M:%S} UTC"
            yield Held(hold=Hold.COOLDOWN, reason=f"cooldown of {policy.cooldown_minutes:g} minutes until {until}")
    today = [at for at in begun if at > situation.now - timedelta(days=1)]
    if len(today) >= policy.heals_per_day:
        yield Held(hold=Hold.BUDGET, reason=f"budget of {policy.heals_per_day} heals a day is spent")


def _has_server(action: Action, situation: Situation) -> bool:
    return action is Action.RESTART and any(evidence.signal in OF_SERVERS for evidence in situation.evidence)


def restarts_left(spec: ModelSpec, situation: Situation) -> bool:
    """Whether fewer restarts began in the last hour than are allowed."""
    since = situation.now - timedelta(hours=1)
    begun = [heal for heal in situation.heals if heal.action is Action.RESTART and heal.begun_at > since]
    return len(begun) < spec.serving.restarts_per_hour


def needs_approval(spec: ModelSpec, situation: Situation, action: Action = Action.RETRAIN) -> str | None:
    """Why a person must approve, or None. Failed heals of the champion say nothing of a restart."""
    if spec.policy.autonomy == "recommend":
        return "autonomy is 'recommend'"
    if action in ON_SERVERS:
        return None
    results = _results(spec, situation)
    failed = sum(result in FAILURES for result in results)
    if len(results) >= FEWEST_TO_DISTRUST and failed / len(results) > spec.policy.max_change_failure_share:
        limit = f"more than {spec.policy.max_change_failure_share:.0%}"
        return f"{failed} of the last {len(results)} heals failed, {limit}: until that is mended people approve"
    return None


def failures_in_a_row(spec: ModelSpec, situation: Situation) -> int:
    """Failed heals since the last one that was verified."""
    count = 0
    for result in reversed(_results(spec, situation)):
        if result not in FAILURES:
            break
        count += 1
    return count


def _results(spec: ModelSpec, situation: Situation) -> list[Result]:
    """Of the heals that are remembered, oldest first: those that ended as a success or a failure."""
    decided: Sequence[Attempt] = sorted(
        (attempt for incident in (*situation.ended, *situation.open) for attempt in incident.tried),
        key=lambda attempt: (attempt.decided_at, attempt.decision_id),
    )
    on_champion = TOUCHES_PRODUCTION - ON_SERVERS
    counted = [a.result for a in decided if a.action in on_champion and a.result in {*FAILURES, Result.VERIFIED}]
    return counted[-spec.policy.failures_remembered :]


def _learned_already(situation: Situation) -> bool:
    retrains = [heal for heal in situation.heals if heal.action is Action.RETRAIN]
    last: Heal | None = max(retrains, key=lambda heal: heal.decision.sequence, default=None)
    return last is not None and tuple(last.decision.payload["training_batches"]) == situation.learnable
