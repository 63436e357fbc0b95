"""What holds a due action back: flags, autonomy, evidence, cooldown, budget, cost; with the reason. Never acts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from selfheal_assets.core.causes import PRODUCES_CANDIDATE, TOUCHES_PRODUCTION, Action, Cause
from selfheal_assets.core.cost import sums
from selfheal_assets.core.incident import FAILURES, Attempt, Incident, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.situation import Heal, Situation

EVERY_ACTION = "*"
FEWEST_TO_DISTRUST = 3
"""So many heals must be remembered before their share of failures takes the autonomy away."""


class Hold(StrEnum):
    FLAG = "flag"
    AUTONOMY = "autonomy"
    NO_NEW_DATA = "no_new_data"
    EVIDENCE = "evidence"
    COOLDOWN = "cooldown"
    BUDGET = "budget"
    COST = "cost"
    APPROVAL = "approval"


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
    """What speaks against learning the first model: no budget, cooldown or cost does."""
    return next(_always(spec, Action.RETRAIN, situation), None)


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
    """Cooldown and budget. The alternatives of one incident follow each other at once; a rollback waits for nothing."""
    policy = spec.policy
    heals = [heal.decision for heal in situation.heals if heal.decision.payload["cause"] != Cause.NO_CHAMPION]
    again = not incident.tried or any(attempt.action is action for attempt in incident.tried)
    if heals and again and action is not Action.ROLLBACK:
        ready = max(decision.recorded_at for decision in heals) + timedelta(minutes=policy.cooldown_minutes)
        if situation.now < ready:
            until = f"{ready:%Y-%m-%d %H:%M:%S} UTC"
            yield Held(hold=Hold.COOLDOWN, reason=f"cooldown of {policy.cooldown_minutes:g} minutes until {until}")
    today = [d for d in heals if d.recorded_at > situation.now - timedelta(days=1)]
    if len(today) >= policy.heals_per_day:
        yield Held(hold=Hold.BUDGET, reason=f"budget of {policy.heals_per_day} heals a day is spent")


def needs_approval(spec: ModelSpec, situation: Situation) -> str | None:
    """Why a person must approve, or None."""
    if spec.policy.autonomy == "recommend":
        return "autonomy is 'recommend'"
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
    counted = [a.result for a in decided if a.action in TOUCHES_PRODUCTION and a.result in {*FAILURES, Result.VERIFIED}]
    return counted[-spec.policy.failures_remembered :]


def _learned_already(situation: Situation) -> bool:
    retrains = [heal for heal in situation.heals if heal.action is Action.RETRAIN]
    last: Heal | None = max(retrains, key=lambda heal: heal.decision.sequence, default=None)
    return last is not None and tuple(last.decision.payload["training_batches"]) == situation.learnable
