"""Decide by the declared policy: cause, budget and autonomy in, one Decision with its reasons out. Never acts."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from selfheal_assets.core.diagnosis import Cause, Diagnosis
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind


class Action(StrEnum):
    QUARANTINE = "quarantine"
    RETRAIN = "retrain"
    ROLLBACK = "rollback"
    NOTHING = "nothing"


class DecisionStatus(StrEnum):
    DECIDED = "DECIDED"
    SUPPRESSED = "SUPPRESSED"
    """The action is due, and held back by the budget, the cooldown or the autonomy."""


ACTIONS: Mapping[Cause, Action] = {
    Cause.NONE: Action.NOTHING,
    Cause.NO_CHAMPION: Action.RETRAIN,
    Cause.BAD_DATA: Action.QUARANTINE,
    Cause.BENIGN_DRIFT: Action.NOTHING,
    Cause.HARMFUL_DRIFT: Action.RETRAIN,
    Cause.CONCEPT_DRIFT: Action.RETRAIN,
    Cause.BAD_RELEASE: Action.ROLLBACK,
    Cause.UNKNOWN: Action.NOTHING,
}
"""The first policy. Doubt (UNKNOWN) never touches production."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do about a cause, and why not something else."""

    model: str
    cause: Cause
    action: Action
    status: DecisionStatus
    champion_version: str | None
    attempt: int
    reason: str
    refused: tuple[str, ...]
    batch_ids: tuple[str, ...]
    """The evidence's batches, oldest first."""

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits from what was decided about, never from a clock: the run key."""
        batches = () if self.action is Action.RETRAIN else self.batch_ids
        parts = (self.model, self.cause, self.action, self.status, self.champion_version, self.attempt, *batches)
        return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:12]

    def to_record(self, event_time: datetime, recorded_at: datetime, **extra: Any) -> Record:
        """The ledger's form; `extra` joins the payload."""
        return Record(
            key=f"decision:{self.id}",
            model=self.model,
            kind=RecordKind.DECISION,
            subject=self.id,
            status=self.status,
            event_time=event_time,
            recorded_at=recorded_at,
            payload={
                "cause": self.cause,
                "action": self.action,
                "champion_version": self.champion_version,
                "attempt": self.attempt,
                "reason": self.reason,
                "refused": list(self.refused),
                "batch_ids": list(self.batch_ids),
                **extra,
            },
        )


def _held_back(
    spec: ModelSpec, diagnosis: Diagnosis, retrains: Sequence[Record], training_batches: Sequence[str], now: datetime
) -> str | None:
    """Why a retraining may not run now, or None when it may. The first model of all needs no budget."""
    policy = spec.policy
    if policy.autonomy == "observe":
        return "autonomy is 'observe': decisions are recorded, not carried out"
    last = max(retrains, key=lambda record: (record.recorded_at, record.sequence), default=None)
    if last is not None and list(last.payload["training_batches"]) == list(training_batches):
        return "no new clean batch has come since the last attempt"
    heals = [record for record in retrains if record.payload["cause"] != Cause.NO_CHAMPION]
    if diagnosis.cause is Cause.NO_CHAMPION or not heals:
        return None
    ready = max(record.recorded_at for record in heals) + timedelta(minutes=policy.cooldown_minutes)
    if now < ready:
        return f"cooldown of {policy.cooldown_minutes:g} minutes holds until {ready:%Y-%m-%d %H:%M:%S} UTC"
    if sum(record.recorded_at > now - timedelta(days=1) for record in heals) >= policy.heals_per_day:
        return f"budget of {policy.heals_per_day} heals a day is spent"
    return None


def decide(
    spec: ModelSpec,
    diagnosis: Diagnosis,
    *,
    champion_version: str | None,
    past: Sequence[Record],
    training_batches: Sequence[str],
    now: datetime,
) -> Decision:
    """The decision about a diagnosis.

    `past` are the model's earlier DECISION records in any order, the last retrainings at least; `training_batches` are
    what a retraining would learn from now. The same arguments always give the same decision.
    """
    action = ACTIONS[diagnosis.cause]
    retrains = [r for r in past if r.payload["action"] == Action.RETRAIN and r.status == DecisionStatus.DECIDED]
    held_back = _held_back(spec, diagnosis, retrains, training_batches, now) if action is Action.RETRAIN else None
    return Decision(
        model=spec.name,
        cause=diagnosis.cause,
        action=action,
        status=DecisionStatus.SUPPRESSED if held_back else DecisionStatus.DECIDED,
        champion_version=champion_version,
        attempt=_attempts(retrains, champion_version) + 1,
        reason=diagnosis.reason,
        refused=_refused(action, diagnosis, held_back),
        batch_ids=diagnosis.batch_ids,
    )


def _attempts(retrains: Sequence[Record], champion_version: str | None) -> int:
    """The last attempt's number. Not their count: `past` may lack the oldest, and a repeated id would never be run."""
    tried = (r.payload["attempt"] for r in retrains if r.payload["champion_version"] == champion_version)
    return max(tried, default=0)


def _refused(action: Action, diagnosis: Diagnosis, held_back: str | None) -> tuple[str, ...]:
    if held_back:
        return (f"retrain: {held_back}",)
    if action is Action.RETRAIN or diagnosis.cause is Cause.NONE:
        return ()
    why = {
        Cause.BAD_DATA: "a model must not learn from broken data",
        Cause.BENIGN_DRIFT: "the champion still performs on the moved data",
        Cause.BAD_RELEASE: "the previous version performs on the same data",
    }
    return (f"retrain: {why.get(diagnosis.cause, 'the evidence is not enough to touch production')}",)
