"""Decide by the declared policy: an incident and the situation in, one Decision with its reasons out. Never acts."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from selfheal_assets.core.causes import TOUCHES_PRODUCTION, Action, Cause
from selfheal_assets.core.cost import sums
from selfheal_assets.core.holds import Hold, first_model_held, held_back, needs_approval, restarts_left
from selfheal_assets.core.incident import Incident, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.situation import Situation

QUARANTINE_ONLY = (Action.QUARANTINE,)
NOTHING_ONLY = (Action.NOTHING,)
BOOTSTRAP = "bootstrap"


class DecisionStatus(StrEnum):
    DECIDED = "DECIDED"
    AWAITING = "AWAITING"
    """A person must approve it first."""
    SUPPRESSED = "SUPPRESSED"
    """The action is due, and held back."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do about an incident, and why not something else."""

    model: str
    incident: str | None
    """None for the first model, and for what a person decided."""
    cause: Cause
    action: Action
    status: DecisionStatus
    champion_version: str | None
    attempt: int
    reason: str
    refused: tuple[str, ...] = ()
    """The alternatives that were considered, each with why not."""
    hold: Hold | None = None
    batch_ids: tuple[str, ...] = ()
    """The evidence's batches, oldest first."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What carrying it out needs, and what it was decided on."""

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits from what was decided about, never from a clock: the run key."""
        parts = (self.model, self.incident or BOOTSTRAP, self.action, self.attempt)
        return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:12]

    def to_record(self, now: datetime) -> Record:
        """The ledger's form. A suppressed decision has a record for each hold, beside the one that may come of it."""
        held = f":{self.hold}" if self.status is DecisionStatus.SUPPRESSED else ""
        return Record(
            key=f"decision:{self.id}{held}",
            model=self.model,
            kind=RecordKind.DECISION,
            subject=f"{self.id}{held}",
            status=self.status,
            event_time=now,
            recorded_at=now,
            payload={
                "incident": self.incident,
                "cause": self.cause,
                "action": self.action,
                "champion_version": self.champion_version,
                "attempt": self.attempt,
                "reason": self.reason,
                "refused": list(self.refused),
                "hold": self.hold,
                "batch_ids": list(self.batch_ids),
                **self.details,
            },
        )


def alternatives(spec: ModelSpec, cause: Cause) -> tuple[Action, ...]:
    """What the policy may try about a cause, in order."""
    if cause is Cause.BAD_DATA:
        return QUARANTINE_ONLY
    declared = getattr(spec.actions, cause, None)
    return tuple(Action(name) for name in declared) if declared else NOTHING_ONLY


def next_action(spec: ModelSpec, incident: Incident, situation: Situation) -> Action | None:
    """The alternative whose turn it is; the last one again while retries are left; None when nothing is left to try.

    Without an earlier version there is nothing to reinstate: that alternative is passed over, without a run. A restart
    that did not help is tried again, and a first one made, as long as the hour has restarts left.
    """
    every = alternatives(spec, incident.cause)
    actions = [action for action in every if action is not Action.REINSTATE or situation.archived] or list(every)
    if Action.RESTART in actions:
        if not restarts_left(spec, situation):
            actions = [action for action in actions if action is not Action.RESTART]
        elif incident.tried and _restart_in_vain(incident):
            return Action.RESTART
    if not actions:
        return None
    tried = [attempt.action for attempt in incident.tried]
    # By name, not by number: the archive, and the declaration, may change while the incident is open.
    reached = max((every.index(action) for action in tried if action in every), default=-1)
    left = [action for action in actions if every.index(action) > reached]
    if left:
        return left[0]
    return actions[-1] if tried.count(actions[-1]) <= spec.policy.retries else None


def _restart_in_vain(incident: Incident) -> bool:
    last = incident.tried[-1]
    return last.action is Action.RESTART and last.result is Result.NOT_VERIFIED


def decide(spec: ModelSpec, incident: Incident, situation: Situation) -> Decision:
    """The decision about an incident whose next action is due. The same arguments always give the same decision."""
    action = next_action(spec, incident, situation)
    if action is None:
        return _decision(spec, incident, situation, Action.ESCALATE, refused=_exhausted(spec, incident))
    held = held_back(spec, incident, action, situation)
    if held is not None:
        refused = (f"{action}: {held.reason}", *_not_yet(spec, incident, action, situation))
        return _decision(spec, incident, situation, action, refused=refused, hold=held.hold)
    refused = _not_yet(spec, incident, action, situation)
    wanted = needs_approval(spec, situation, action) if action in TOUCHES_PRODUCTION else None
    if wanted is None:
        return _decision(spec, incident, situation, action, refused=refused)
    expires = situation.now + timedelta(hours=spec.policy.approval_hours)
    return _decision(
        spec,
        incident,
        situation,
        action,
        refused=refused,
        status=DecisionStatus.AWAITING,
        approval={"why": wanted, "expires": expires.isoformat()},
    )


def needed_for_first(spec: ModelSpec) -> tuple[int, int]:
    """Batches, and labelled rows in them, of which the first model can be learned: the smallest window, full."""
    return min(spec.training.windows), math.ceil(spec.training.min_rows / (1.0 - spec.training.holdout_share))


def learnable_in_words(situation: Situation) -> str:
    """What there is to learn the first model from."""
    return f"no champion yet; {len(situation.learnable)} clean batches with {situation.labelled_rows} labelled rows"


def first_model(spec: ModelSpec, situation: Situation, attempt: int) -> Decision:
    """Learn the first model: no incident, and no budget, cooldown or cost; autonomy and flags hold."""
    held = first_model_held(spec, situation)
    return Decision(
        model=spec.name,
        incident=None,
        cause=Cause.NO_CHAMPION,
        action=Action.RETRAIN,
        status=DecisionStatus.SUPPRESSED if held else DecisionStatus.DECIDED,
        champion_version=None,
        attempt=attempt,
        reason=learnable_in_words(situation),
        refused=(f"retrain: {held.reason}",) if held else (),
        hold=held.hold if held else None,
        details=_details(spec, situation),
    )


def _decision(
    spec: ModelSpec,
    incident: Incident,
    situation: Situation,
    action: Action,
    *,
    refused: tuple[str, ...],
    hold: Hold | None = None,
    status: DecisionStatus = DecisionStatus.DECIDED,
    **more: Any,
) -> Decision:
    found = sums(spec.cost, action, incident.drop, spec.performance.max_drop, situation.heals)
    return Decision(
        model=spec.name,
        incident=incident.id,
        cause=incident.cause,
        action=action,
        status=DecisionStatus.SUPPRESSED if hold else status,
        champion_version=situation.champion_version,
        attempt=len(incident.tried) + 1,
        reason=incident.diagnosis,
        refused=refused,
        hold=hold,
        batch_ids=incident.batch_ids,
        details={**_details(spec, situation), **({"cost": found.words} if found else {}), **more},
    )


def _details(spec: ModelSpec, situation: Situation) -> dict[str, Any]:
    return {
        "training_batches": list(situation.learnable),
        "champion_metric": situation.champion_metric,
        "seen": situation.seen,
        "policy": spec.fingerprint(),
    }


def _not_yet(spec: ModelSpec, incident: Incident, action: Action, situation: Situation) -> tuple[str, ...]:
    """The other alternatives: those before, with what came of them; those after, whose turn has not come."""
    before = tuple(f"{attempt.action}: {attempt.result}" for attempt in incident.tried)
    actions = alternatives(spec, incident.cause)
    if Action.REINSTATE in actions and not situation.archived:
        before = (*before, "reinstate: no other version has served before")
    if Action.RESTART in actions and action is not Action.RESTART and not restarts_left(spec, situation):
        before = (*before, f"restart: {_restarts_spent(spec)}")
    later = actions[actions.index(action) + 1 :] if action in actions else ()
    after = tuple(f"{other}: only if {action} does not help" for other in later)
    return (*before, *after, *_never(incident.cause))


def _never(cause: Cause) -> tuple[str, ...]:
    why = {
        Cause.BAD_DATA: "retrain: a model must not learn from broken data",
        Cause.BENIGN_DRIFT: "retrain: the champion still performs on the moved data",
        Cause.UPSTREAM_STALLED: "retrain: there is nothing new to learn from",
        Cause.SCORE_SHIFT: "rollback, retrain: scores alone do not say that the champion does worse",
    }
    return (why[cause],) if cause in why else ()


def _exhausted(spec: ModelSpec, incident: Incident) -> tuple[str, ...]:
    tried = tuple(f"{attempt.action}: {attempt.result}" for attempt in incident.tried)
    if alternatives(spec, incident.cause)[-1] is Action.RESTART:
        return (*tried, f"restart: {_restarts_spent(spec)}")
    return (*tried, f"every alternative was tried, the last {spec.policy.retries + 1} times")


def _restarts_spent(spec: ModelSpec) -> str:
    return f"the {spec.serving.restarts_per_hour} that are allowed in an hour were made"
