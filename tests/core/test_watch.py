"""The watchdog's judgement: which states of sensors, runs, incidents and batches are not well, and what is safe."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.incident import Attempt, Incident, IncidentState, Result
from selfheal_assets.core.notification import Severity
from selfheal_assets.core.policy_spec import PolicySpec
from selfheal_assets.core.watch import (
    DEAD_AFTER,
    FAILING_TICKS,
    NO_RUN_AFTER,
    QUEUED_AFTER,
    SILENT_AFTER,
    UNTAKEN_AFTER,
    Fault,
    watch,
)
from selfheal_assets.core.watched import (
    BacklogFact,
    DecisionFact,
    Facts,
    IncidentFact,
    RunFact,
    SensorFact,
    UndecidedRunFact,
    Worker,
)

POLICY = PolicySpec()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = timedelta(seconds=1)
STUCK = timedelta(minutes=POLICY.stuck_run_minutes)
STALLED = timedelta(hours=POLICY.stalled_incident_hours)


def sensor(**changes: Any) -> Facts:
    fact = SensorFact(name="m_drift", switched_off=False, interval=timedelta(seconds=1), silent_for=MOMENT)
    return Facts(sensors=[replace(fact, **changes)])


def run(silent_for: timedelta, *, begun: bool = True, worker: Worker = Worker.UNKNOWN) -> Facts:
    return Facts(runs=[RunFact(run_id="r1", job="m_retrain", begun=begun, silent_for=silent_for, worker=worker)])


def incident(
    state: IncidentState, for_: timedelta, *, action: Action = Action.RETRAIN, hold: str | None = None
) -> Facts:
    tried = Attempt(action=action, decision_id="d1", decided_at=NOW, result=Result.ACTED)
    found = Incident(
        id="i1",
        model="m",
        cause=Cause.HARMFUL_DRIFT,
        state=state,
        reason="it is so",
        opened_at=NOW,
        batch_ids=("b",),
        champion_version="1",
        tried=(tried,),
        hold=hold,
    )
    return Facts(incidents=[IncidentFact(incident=found, for_=for_)])


def decision(for_: timedelta) -> Facts:
    return Facts(decisions=[DecisionFact(decision_id="d1", action=Action.RETRAIN, incident="i1", for_=for_)])


def undecided(for_: timedelta) -> Facts:
    return Facts(undecided=[UndecidedRunFact(run_id="r1", decision_id="d1", for_=for_)])


def backlog(for_: timedelta, *batch_ids: str) -> Facts:
    return Facts(backlog=BacklogFact(batch_ids=batch_ids, for_=for_))


S = IncidentState
WELL = {
    "nothing at all": Facts(),
    "a sensor that ticks": sensor(),
    "a sensor that never ticked": sensor(silent_for=None),
    "a sensor that just about ticks": sensor(silent_for=SILENT_AFTER),
    "a slow sensor": sensor(interval=timedelta(hours=1), silent_for=timedelta(hours=9)),
    "a sensor that failed twice": sensor(failed_in_a_row=FAILING_TICKS - 1),
    "a run that writes": run(STUCK),
    "a run at work": run(STUCK, worker=Worker.ALIVE),
    "a run that ends just now": run(DEAD_AFTER, worker=Worker.DEAD),
    "a run in the queue": run(QUEUED_AFTER, begun=False),
    "an incident that goes on": incident(S.HEALING, STALLED),
    "an incident for people": incident(S.ESCALATED, 9 * STALLED),
    "an incident that is watched": incident(S.VERIFYING, 9 * STALLED, action=Action.NOTHING),
    "an incident of a stalled feed": incident(S.VERIFYING, 9 * STALLED, action=Action.NOTIFY),
    "an incident that people hold": incident(S.SUPPRESSED, 9 * STALLED, hold="flag"),
    "an incident that is observed": incident(S.SUPPRESSED, 9 * STALLED, hold="autonomy"),
    "a decision of just now": decision(NO_RUN_AFTER),
    "a run by hand of just now": undecided(NO_RUN_AFTER),
    "batches of just now": backlog(UNTAKEN_AFTER, "b1"),
    "no batches": backlog(9 * UNTAKEN_AFTER),
}
AILING = {
    "a sensor that was switched off": (sensor(switched_off=True, silent_for=9 * SILENT_AFTER), Fault.SENSOR_OFF),
    "a sensor that stopped": (sensor(silent_for=SILENT_AFTER + MOMENT), Fault.SENSOR_SILENT),
    "a sensor that fails": (sensor(failed_in_a_row=FAILING_TICKS, error="KeyError: 'x'"), Fault.SENSOR_FAILING),
    "a run that hangs": (run(STUCK + MOMENT), Fault.RUN_STUCK),
    "a run that lives and hangs": (run(STUCK + MOMENT, worker=Worker.ALIVE), Fault.RUN_STUCK),
    "a run without a process": (run(DEAD_AFTER + MOMENT, worker=Worker.DEAD), Fault.RUN_DEAD),
    "a run that died at its launch": (run(DEAD_AFTER + MOMENT, begun=False, worker=Worker.DEAD), Fault.RUN_DEAD),
    "a run that nobody takes": (run(QUEUED_AFTER + MOMENT, begun=False), Fault.RUN_QUEUED),
    "doubt that lasts": (incident(S.OPEN, STALLED + MOMENT), Fault.INCIDENT_STALLED),
    "a cause without an action": (incident(S.DIAGNOSED, STALLED + MOMENT), Fault.INCIDENT_STALLED),
    "healing without an end": (incident(S.HEALING, STALLED + MOMENT), Fault.INCIDENT_STALLED),
    "a heal that nobody verifies": (incident(S.VERIFYING, STALLED + MOMENT), Fault.INCIDENT_STALLED),
    "an action that is held": (incident(S.SUPPRESSED, STALLED + MOMENT, hold="cost"), Fault.INCIDENT_STALLED),
    "a decision without a run": (decision(NO_RUN_AFTER + MOMENT), Fault.DECISION_WITHOUT_RUN),
    "a run without a decision": (undecided(NO_RUN_AFTER + MOMENT), Fault.RUN_WITHOUT_DECISION),
    "batches that lie": (backlog(UNTAKEN_AFTER + MOMENT, "b1", "b2"), Fault.BATCHES_UNTAKEN),
    "no ledger": (Facts(ledger_error="it is locked"), Fault.LEDGER_SILENT),
}


@pytest.mark.parametrize("facts", WELL.values(), ids=WELL.keys())
def test_what_is_well_is_left_alone(facts: Facts) -> None:
    assert watch(POLICY, facts) == []


@pytest.mark.parametrize(("facts", "fault"), AILING.values(), ids=AILING.keys())
def test_what_is_not_well_is_found_and_named(facts: Facts, fault: Fault) -> None:
    (found,) = watch(POLICY, facts)
    assert found.fault is fault
    assert found.key.startswith(f"{fault}: ")
    assert re.search(r"\b(m_drift|r1|i1|d1|b1|is locked)\b", found.words), "people must see what it is about"
    assert found.mends_itself is (fault is Fault.RUN_DEAD), "nothing else is safe to repair"
    mild = fault in (Fault.RUN_DEAD, Fault.SENSOR_OFF)
    assert found.severity is (Severity.WARNING if mild else Severity.FAILURE)
    about_incident = fault in (Fault.INCIDENT_STALLED, Fault.DECISION_WITHOUT_RUN)
    assert found.incident == ("i1" if about_incident else None)


def test_every_fault_has_a_case() -> None:
    assert {fault for _, fault in AILING.values()} == set(Fault)


def test_the_key_stands_as_long_as_the_finding_does() -> None:
    """Only the words tell how long it has lasted: people are told once."""
    (early,), (late,) = (watch(POLICY, run(STUCK + n * MOMENT)) for n in (1, 9_999))
    assert early.key == late.key
    assert early.words != late.words


def test_an_incident_that_stalls_in_its_next_state_is_another_finding() -> None:
    (healing,), (verifying,) = (watch(POLICY, incident(s, 2 * STALLED)) for s in (S.HEALING, S.VERIFYING))
    assert healing.key != verifying.key


def test_a_sensor_may_both_fail_and_be_silent() -> None:
    facts = sensor(silent_for=SILENT_AFTER + MOMENT, failed_in_a_row=5, error="boom")
    assert [f.fault for f in watch(POLICY, facts)] == [Fault.SENSOR_SILENT, Fault.SENSOR_FAILING]


def test_the_declared_times_count() -> None:
    patient = replace(POLICY, stuck_run_minutes=600.0, stalled_incident_hours=600.0)
    assert watch(patient, run(STUCK + MOMENT)) == watch(patient, incident(S.HEALING, STALLED + MOMENT)) == []
