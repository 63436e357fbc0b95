"""Build what a test gives the core: evidence, incidents and situations, with sound values for what it leaves out."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from brain import spec as model_spec

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.diagnosis_rules import Column, Derived
from selfheal_assets.core.evidence import UNBOUND, Evidence, Signal, Status
from selfheal_assets.core.incident import Attempt, Incident, IncidentState, OutcomeStatus, Result
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.situation import Heal, Situation
from selfheal_assets.core.windows import State

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPEC = model_spec()
LETTERS = {"C": Status.CLEAR, "R": Status.RAISED, "U": Status.UNKNOWN}
HISTORY = {State.PERSISTENT: "RR", State.RAISED: "CR", State.CLEAR: "CC", State.UNKNOWN: "U"}
"""Two batches, or one, that put a signal into a state where two of the last three must be raised."""


def measured(signal: Signal, status: Status, batch: int, value: float | None = 0.3, **changes: Any) -> Evidence:
    """One statement about batch `b<number>`, whose events are of that day."""
    whole: dict[str, Any] = {
        "model": SPEC.name,
        "signal": signal,
        "status": status,
        "batch_id": f"b{batch}",
        "champion_version": None if signal in UNBOUND else "1",
        "event_time": NOW + timedelta(days=batch),
        "value": value,
        "threshold": 0.2,
        "sample_size": 1_000,
        "reason": f"{signal} of b{batch}",
    }
    return Evidence(**{**whole, **changes})


def history(signal: Signal, letters: str, value: float | None = 0.3, **changes: Any) -> list[Evidence]:
    """One letter a batch, from b1: C clear, R raised, U unknown; a gap where it was not measured."""
    return [
        measured(signal, LETTERS[letter], number, value, **changes)
        for number, letter in enumerate(letters, start=1)
        if letter != " "
    ]


def in_state(column: Column, state: State) -> list[Evidence]:
    """Evidence that puts the column of the decision table into the state."""
    letters = HISTORY[state]
    if column is Derived.HARM:
        return history(Signal.PERFORMANCE, letters, details={"champion_metric": 0.9})
    if column is Derived.STRONG_DRIFT:
        return history(Signal.DRIFT, letters, value=0.9)
    return history(Signal(column), letters)


def attempt(action: Action, result: Result = Result.UNDER_WAY, hours_ago: float = 1.0, **changes: Any) -> Attempt:
    whole: dict[str, Any] = {
        "decision_id": f"{action}-{hours_ago:g}",
        "decided_at": NOW - hours_ago * HOUR,
        "version": None,
    }
    return Attempt(action=action, result=result, **{**whole, **changes})


def incident(
    cause: Cause = Cause.HARMFUL_DRIFT, state: IncidentState = IncidentState.DIAGNOSED, *tried: Attempt, **changes: Any
) -> Incident:
    whole: dict[str, Any] = {
        "id": "i1",
        "model": SPEC.name,
        "reason": "for a reason",
        "opened_at": NOW - HOUR,
        "batch_ids": ("b1", "b2"),
        "champion_version": "1",
        "diagnosis": "because",
    }
    return Incident(cause=cause, state=state, tried=tried, **{**whole, **changes})


def heal(hours_ago: float, action: Action = Action.RETRAIN, *, took: timedelta | None = HOUR, **payload: Any) -> Heal:
    """A past decision that was let through, and `took` so long; None: it has not ended."""
    at, subject = NOW - hours_ago * HOUR, f"{action}-{hours_ago:g}"
    told = {"cause": Cause.HARMFUL_DRIFT, "action": action, "training_batches": ["b0"], "attempt": 1, **payload}
    decision = _record(RecordKind.DECISION, subject, "DECIDED", at, told)
    outcome = None
    if took is not None:
        ended = {"version": "2", "reason": "done"}
        outcome = _record(RecordKind.OUTCOME, subject, OutcomeStatus.PROMOTED, at + took, ended)
    return Heal(decision=decision, outcome=outcome)


def situation(evidence: Sequence[Evidence] = (), **changes: Any) -> Situation:
    whole: dict[str, Any] = {
        "now": NOW,
        "seen": 40,
        "champion_version": "1",
        "champion_metric": 0.9,
        "learnable": ("b1", "b2"),
        "labelled_rows": 2_000,
        "archived": ("0",),
    }
    return Situation(evidence=tuple(evidence), **{**whole, **changes})


def _record(kind: RecordKind, subject: str, status: str, at: datetime, payload: dict[str, Any]) -> Record:
    return Record(
        key=f"{kind}:{subject}",
        model=SPEC.name,
        kind=kind,
        subject=subject,
        status=status,
        event_time=at,
        recorded_at=at,
        payload=payload,
        sequence=int((at - NOW).total_seconds()) + 10**7,
    )
