"""Fold the ledger's records into incidents: one episode, from first evidence to repair. Never writes anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from selfheal_assets.core.diagnosis import Cause
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.policy import Action, DecisionStatus
from selfheal_assets.core.record import Record


class IncidentState(StrEnum):
    HEALING = "HEALING"
    VERIFYING = "VERIFYING"
    """The new champion serves, and no batch has shown yet that its performance is clear."""
    RESOLVED = "RESOLVED"
    SUPPRESSED = "SUPPRESSED"
    ESCALATED = "ESCALATED"


class OutcomeStatus(StrEnum):
    """How the run of a decision ended."""

    PROMOTED = "PROMOTED"
    REFUSED = "REFUSED"
    """The gate did not pass; the champion stays."""
    ROLLED_BACK = "ROLLED_BACK"
    """The champion was taken back; the version named serves again."""
    FAILED = "FAILED"
    """The run crashed more often than it may be tried."""


@dataclass(frozen=True, kw_only=True)
class Incident:
    """One episode for one model and one cause."""

    model: str
    decision_id: str
    cause: Cause
    action: Action
    state: IncidentState
    batch_ids: tuple[str, ...]
    opened_at: datetime
    detected_s: float | None
    """Seconds from the first bad batch's landing to the decision."""
    repaired_s: float | None
    """Seconds from the first bad batch's landing to the end of the action; None while it is not repaired."""
    metric: str
    before: float | None
    worst: float | None
    after: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class History:
    """The records that incidents are made of."""

    landed_at: Mapping[str, datetime]
    """By batch id: when the file landed."""
    decisions: Sequence[Record]
    outcomes: Mapping[str, Record]
    """By decision id."""
    performance: Sequence[Evidence]


def incidents(metric: str, higher_is_better: bool, history: History) -> list[Incident]:
    """One incident for each decision about a cause that needed something done, oldest first."""
    quiet = {Cause.NONE, Cause.UNKNOWN, Cause.NO_CHAMPION}
    worthy = [d for d in history.decisions if Cause(d.payload["cause"]) not in quiet]
    found = [_incident(d, metric, higher_is_better, history) for d in worthy]
    return sorted(found, key=lambda incident: incident.opened_at)


def _incident(decision: Record, metric: str, higher_is_better: bool, history: History) -> Incident:
    payload = decision.payload
    batch_ids = tuple(payload["batch_ids"])
    landed = [history.landed_at[batch] for batch in batch_ids if batch in history.landed_at]
    opened_at = min(landed, default=decision.recorded_at)
    outcome = history.outcomes.get(decision.subject)
    promoted = outcome is not None and outcome.status == OutcomeStatus.PROMOTED
    retrain = payload["action"] == Action.RETRAIN
    repaired_at = (outcome.recorded_at if promoted and outcome else None) if retrain else decision.recorded_at
    before, worst, after = _metric_story(decision, outcome, higher_is_better, history.performance)
    return Incident(
        model=decision.model,
        decision_id=decision.subject,
        cause=Cause(payload["cause"]),
        action=Action(payload["action"]),
        state=_state(decision, outcome, history.performance),
        batch_ids=batch_ids,
        opened_at=opened_at,
        detected_s=(decision.recorded_at - opened_at).total_seconds(),
        repaired_s=(repaired_at - opened_at).total_seconds() if repaired_at else None,
        metric=metric,
        before=before,
        worst=worst,
        after=after,
        reason=payload["reason"],
    )


def _state(decision: Record, outcome: Record | None, performance: Sequence[Evidence]) -> IncidentState:
    if decision.status == DecisionStatus.SUPPRESSED:
        return IncidentState.SUPPRESSED
    if decision.payload["action"] != Action.RETRAIN:
        return IncidentState.RESOLVED
    if outcome is None:
        return IncidentState.HEALING
    if outcome.status != OutcomeStatus.PROMOTED:
        return IncidentState.ESCALATED
    return IncidentState.RESOLVED if _recovered(outcome, performance) else IncidentState.VERIFYING


def _recovered(promotion: Record, performance: Sequence[Evidence]) -> bool:
    """Only a batch on which the new champion is CLEAR closes the incident; harm and doubt leave it open."""
    of_new = [e for e in performance if e.champion_version == promotion.payload["version"]]
    return any(e.signal is Signal.PERFORMANCE and e.status is Status.CLEAR for e in of_new)


def _metric_story(
    decision: Record, outcome: Record | None, higher_is_better: bool, performance: Sequence[Evidence]
) -> tuple[float | None, float | None, float | None]:
    """The realised metric before the incident, at its worst, and under the model that repaired it."""
    old = decision.payload.get("champion_version")
    new = outcome.payload.get("version") if outcome else None
    measured = [e for e in performance if e.signal is Signal.PERFORMANCE and e.value is not None]
    during = [e.value for e in measured if e.champion_version == old and e.batch_id in decision.payload["batch_ids"]]
    after = [e.value for e in measured if new is not None and e.champion_version == new]
    before = decision.payload.get("champion_metric")
    pick = min if higher_is_better else max
    worst = pick((v for v in during if v is not None), default=None)
    values = [v for v in after if v is not None]
    return before, worst, sum(values) / len(values) if values else None
