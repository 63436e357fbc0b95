"""Incidents folded from the ledger's records, by tables: which there are, their state, their times, their metric."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.core.diagnosis import Cause
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.incident import History, Incident, IncidentState, OutcomeStatus, incidents
from selfheal_assets.core.policy import ACTIONS, Action, DecisionStatus
from selfheal_assets.core.record import Record, RecordKind

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
CLEAR, RAISED, UNKNOWN = Status.CLEAR, Status.RAISED, Status.UNKNOWN
LANDED = {f"b{day}": BEGIN + timedelta(days=day) for day in range(9)}


def decision(cause: Cause = Cause.HARMFUL_DRIFT, *, at: float = 3.0, **changes: Any) -> Record:
    """A DECISION record, `at` in days."""
    payload: dict[str, Any] = {
        "cause": cause,
        "action": ACTIONS[cause],
        "champion_version": "1",
        "champion_metric": 0.9,
        "batch_ids": ["b1", "b2"],
        "reason": "because",
    }
    status, subject = changes.pop("status", DecisionStatus.DECIDED), changes.pop("subject", "d1")
    return Record(
        key=f"decision:{subject}",
        model="m",
        kind=RecordKind.DECISION,
        subject=subject,
        status=status,
        event_time=BEGIN,
        recorded_at=BEGIN + timedelta(days=at),
        payload={**payload, **changes},
    )


def outcome(status: OutcomeStatus = OutcomeStatus.PROMOTED, version: str | None = "2") -> Record:
    return Record(
        key="outcome:d1",
        model="m",
        kind=RecordKind.OUTCOME,
        subject="d1",
        status=status,
        event_time=BEGIN,
        recorded_at=BEGIN + timedelta(days=4),
        payload={"version": version, "reason": ""},
    )


def performed(batch_id: str, version: str | None, value: float | None, status: Status = CLEAR) -> Evidence:
    return Evidence(
        model="m",
        signal=Signal.PERFORMANCE,
        status=status,
        batch_id=batch_id,
        champion_version=version,
        event_time=LANDED[batch_id],
        value=value,
        threshold=0.85,
        sample_size=500,
        reason="",
    )


def folded(
    made: Record, ended: Record | None = None, performance: list[Evidence] | None = None, higher: bool = True
) -> Incident:
    history = History(
        landed_at=LANDED, decisions=[made], outcomes={"d1": ended} if ended else {}, performance=performance or []
    )
    (found,) = incidents("roc_auc" if higher else "log_loss", higher, history)
    return found


@pytest.mark.parametrize("cause", list(Cause))
def test_which_decisions_are_incidents(cause: Cause) -> None:
    found = incidents("roc_auc", True, History(landed_at={}, decisions=[decision(cause)], outcomes={}, performance=[]))
    quiet = cause in (Cause.NONE, Cause.UNKNOWN, Cause.NO_CHAMPION)
    assert [incident.cause for incident in found] == ([] if quiet else [cause])


STATES = [
    # cause, status of the decision, how its run ended, performance of the new champion, state
    (Cause.BAD_DATA, "DECIDED", None, [], IncidentState.RESOLVED),
    (Cause.BENIGN_DRIFT, "DECIDED", None, [], IncidentState.RESOLVED),
    (Cause.BAD_RELEASE, "DECIDED", OutcomeStatus.ROLLED_BACK, [], IncidentState.RESOLVED),
    (Cause.HARMFUL_DRIFT, "SUPPRESSED", None, [], IncidentState.SUPPRESSED),
    (Cause.HARMFUL_DRIFT, "DECIDED", None, [], IncidentState.HEALING),
    (Cause.HARMFUL_DRIFT, "DECIDED", OutcomeStatus.REFUSED, [], IncidentState.ESCALATED),
    (Cause.CONCEPT_DRIFT, "DECIDED", OutcomeStatus.FAILED, [], IncidentState.ESCALATED),
    (Cause.HARMFUL_DRIFT, "DECIDED", OutcomeStatus.PROMOTED, [], IncidentState.VERIFYING),
    (Cause.HARMFUL_DRIFT, "DECIDED", OutcomeStatus.PROMOTED, [UNKNOWN], IncidentState.VERIFYING),
    (Cause.HARMFUL_DRIFT, "DECIDED", OutcomeStatus.PROMOTED, [RAISED], IncidentState.VERIFYING),
    (Cause.HARMFUL_DRIFT, "DECIDED", OutcomeStatus.PROMOTED, [CLEAR], IncidentState.RESOLVED),
    (Cause.CONCEPT_DRIFT, "DECIDED", OutcomeStatus.PROMOTED, [UNKNOWN, RAISED, CLEAR], IncidentState.RESOLVED),
]


@pytest.mark.parametrize(("cause", "status", "ended", "after", "state"), STATES)
def test_the_state(
    cause: Cause, status: str, ended: OutcomeStatus | None, after: list[Status], state: IncidentState
) -> None:
    new = [performed(f"b{4 + place}", "2", 0.7, found) for place, found in enumerate(after)]
    old = [performed("b1", "1", 0.9, CLEAR)]
    made = decision(cause, status=DecisionStatus(status))
    assert folded(made, outcome(ended) if ended else None, old + new).state is state


DAY = 86_400.0
TIMES = [
    # decision, outcome, opened (day), detected, repaired (seconds)
    (decision(), outcome(), 1, 2 * DAY, 3 * DAY),
    (decision(), None, 1, 2 * DAY, None),
    (decision(), outcome(OutcomeStatus.REFUSED), 1, 2 * DAY, None),
    (decision(), outcome(OutcomeStatus.FAILED), 1, 2 * DAY, None),
    (decision(batch_ids=["b2", "b1"]), outcome(), 1, 2 * DAY, 3 * DAY),
    (decision(batch_ids=["b2", "gone"]), outcome(), 2, DAY, 2 * DAY),
    (decision(batch_ids=["gone"]), outcome(), 3, 0.0, DAY),
    (decision(batch_ids=[]), outcome(), 3, 0.0, DAY),
    (decision(Cause.BAD_DATA, batch_ids=["b2"], at=2.5), None, 2, DAY / 2, DAY / 2),
    (decision(Cause.BENIGN_DRIFT, batch_ids=["b2"], at=2.25), None, 2, DAY / 4, DAY / 4),
    (decision(status=DecisionStatus.SUPPRESSED), None, 1, 2 * DAY, None),
]


@pytest.mark.parametrize(("made", "ended", "opened", "detected", "repaired"), TIMES)
def test_the_times(made: Record, ended: Record | None, opened: int, detected: float, repaired: float | None) -> None:
    found = folded(made, ended)
    assert found.opened_at == BEGIN + timedelta(days=opened)
    assert (found.detected_s, found.repaired_s) == (detected, repaired)


METRIC = [
    # performance evidence, higher is better, (before, worst, after)
    ([], True, (0.9, None, None)),
    ([performed("b1", "1", 0.7, RAISED), performed("b2", "1", 0.6, RAISED)], True, (0.9, 0.6, None)),
    ([performed("b1", "1", 0.7, RAISED), performed("b2", "1", 0.6, RAISED)], False, (0.9, 0.7, None)),
    # A batch that was not blamed, or was scored by another version, is not the worst.
    ([performed("b0", "1", 0.1), performed("b1", "0", 0.2), performed("b2", "1", 0.6)], True, (0.9, 0.6, None)),
    ([performed("b1", "1", None, UNKNOWN), performed("b4", "2", None, UNKNOWN)], True, (0.9, None, None)),
    ([performed("b4", "2", 0.8), performed("b5", "2", 0.9)], True, (0.9, None, pytest.approx(0.85))),
    ([performed("b1", "2", 0.8)], True, (0.9, None, pytest.approx(0.8))),
    ([performed("b4", "3", 0.2), performed("b5", None, 0.2)], True, (0.9, None, None)),
    ([dataclasses.replace(performed("b4", "2", 0.3), signal=Signal.DRIFT)], True, (0.9, None, None)),
]


@pytest.mark.parametrize(("performance", "higher", "story"), METRIC)
def test_the_metric_before_at_the_worst_and_after(
    performance: list[Evidence], higher: bool, story: tuple[float | None, float | None, float | None]
) -> None:
    found = folded(decision(), outcome(), performance, higher)
    assert (found.before, found.worst, found.after) == story


def test_without_a_new_version_nothing_is_after() -> None:
    refused = folded(decision(), outcome(OutcomeStatus.FAILED, version=None), [performed("b4", None, 0.8)])
    assert refused.after is None
    assert folded(decision(), None, [performed("b4", None, 0.8)]).after is None


def test_evidence_of_drift_does_not_close_an_incident() -> None:
    drift = dataclasses.replace(performed("b4", "2", 0.1), signal=Signal.DRIFT)
    assert folded(decision(), outcome(), [drift]).state is IncidentState.VERIFYING


def test_what_an_incident_says() -> None:
    found = folded(decision(), outcome(), [performed("b2", "1", 0.6, RAISED), performed("b4", "2", 0.88)])
    assert found == Incident(
        model="m",
        decision_id="d1",
        cause=Cause.HARMFUL_DRIFT,
        action=Action.RETRAIN,
        state=IncidentState.RESOLVED,
        batch_ids=("b1", "b2"),
        opened_at=LANDED["b1"],
        detected_s=2 * DAY,
        repaired_s=3 * DAY,
        metric="roc_auc",
        before=0.9,
        worst=0.6,
        after=0.88,
        reason="because",
    )


def test_a_decision_that_never_knew_a_metric_tells_no_before() -> None:
    made = decision(Cause.BAD_DATA)
    payload = {name: value for name, value in made.payload.items() if name != "champion_metric"}
    assert folded(dataclasses.replace(made, payload=payload)).before is None


@given(st.permutations([0, 3, 1, 2]))
def test_incidents_are_told_oldest_first(order: list[int]) -> None:
    made = [decision(Cause.BAD_DATA, subject=f"d{day}", batch_ids=[f"b{day}"], at=day + 0.5) for day in order]
    found = incidents("roc_auc", True, History(landed_at=LANDED, decisions=made, outcomes={}, performance=[]))
    assert [incident.decision_id for incident in found] == ["d0", "d1", "d2", "d3"]
