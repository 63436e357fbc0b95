"""Incidents under way: when a cause is cleared, when a heal is verified, and what people do in between."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from brain import Life, spec
from given import SPEC, history, in_state

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.diagnosis import look
from selfheal_assets.core.diagnosis_rules import Column, Derived
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.incident import IncidentState, OutcomeStatus, Result
from selfheal_assets.core.model_spec import ActionsSpec, ModelSpec
from selfheal_assets.core.progress import cleared
from selfheal_assets.core.record import RecordKind
from selfheal_assets.core.windows import State

CLEAR, RAISED, UNKNOWN = Status.CLEAR, Status.RAISED, Status.UNKNOWN
WELL: dict[str, Any] = {"quality": CLEAR, "drift": CLEAR, "performance": CLEAR}
HARMED: dict[str, Any] = {"quality": CLEAR, "drift": RAISED, "performance": RAISED}
CONCEPT: dict[str, Any] = {**WELL, "performance": RAISED}
C, S, HARM = Cause, Signal, Derived.HARM
OPEN_CAUSES = [cause for cause in Cause if cause not in (C.NO_CHAMPION, C.NONE)]


# When a cause is cleared.

OWN: dict[Cause, tuple[Column, ...]] = {
    C.BAD_RELEASE: (HARM, S.RELEASE_FAULT, S.BUSINESS),
    C.SERVING_FAULT: (S.ERRORS, S.TIMEOUTS, S.LATENCY),
    C.FEATURE_STORE_FAULT: (S.FEATURE_STORE,),
    C.BAD_DATA: (S.QUALITY,),
    C.UPSTREAM_STALLED: (S.FRESHNESS, S.VOLUME),
    C.PRIOR_SHIFT: (S.PRIOR,),
    C.HARMFUL_DRIFT: (HARM,),
    C.CONCEPT_DRIFT: (HARM,),
    C.TRAINING_FAULT: (S.TRAINING,),
    C.BENIGN_DRIFT: (S.DRIFT, S.SCORE_DRIFT),
    C.SCORE_SHIFT: (S.SERVED_SCORES,),
    C.UNKNOWN: (HARM,),
}
"""The signals that an incident of the cause waits for."""


def shown(columns: tuple[Column, ...], state: State) -> list[Evidence]:
    return [e for column in columns for e in in_state(column, state)]


@pytest.mark.parametrize("cause", OPEN_CAUSES)
@pytest.mark.parametrize("state", State)
def test_a_cause_is_cleared_when_all_its_own_signals_are(cause: Cause, state: State) -> None:
    seen = look(SPEC, shown(OWN[cause], state))
    assert cleared(cause, seen) is (state is State.CLEAR)


@pytest.mark.parametrize("cause", OPEN_CAUSES)
def test_one_signal_of_several_is_not_enough_and_silence_is_not(cause: Cause) -> None:
    assert not cleared(cause, look(SPEC, []))
    for own in OWN[cause]:
        for state in set(State) - {State.CLEAR}:
            rest = tuple(column for column in OWN[cause] if column is not own)
            assert not cleared(cause, look(SPEC, [*shown((own,), state), *shown(rest, State.CLEAR)]))


@pytest.mark.parametrize("cause", sorted(set(OPEN_CAUSES) - {C.UNKNOWN}))
def test_what_a_cause_is_not_about_does_not_keep_it_open(cause: Cause) -> None:
    others = [s for s in Signal if s not in OWN[cause] and s not in (S.PERFORMANCE, S.ESTIMATED_PERFORMANCE, S.RISK)]
    foreign = shown(tuple(s for s in others if s is not S.QUALITY), State.PERSISTENT)
    assert cleared(cause, look(SPEC, [*shown(OWN[cause], State.CLEAR), *foreign]))


def test_a_signal_that_is_not_watched_is_not_waited_for() -> None:
    assert cleared(C.UPSTREAM_STALLED, look(SPEC, history(S.VOLUME, "RC")))
    assert cleared(C.BENIGN_DRIFT, look(SPEC, history(S.DRIFT, "CC")))


def test_doubt_is_cleared_only_when_nothing_is_raised_at_all() -> None:
    assert cleared(C.UNKNOWN, look(SPEC, history(S.PERFORMANCE, "CC")))
    assert not cleared(C.UNKNOWN, look(SPEC, [*history(S.PERFORMANCE, "CC"), *history(S.DRIFT, "RC")]))
    assert not cleared(C.UNKNOWN, look(SPEC, [*history(S.PERFORMANCE, "UU"), *history(S.DRIFT, "CC")]))


def test_an_estimate_does_not_clear_a_changed_concept() -> None:
    """It cannot see one."""
    estimated = history(S.ESTIMATED_PERFORMANCE, "CCC")
    assert not cleared(C.CONCEPT_DRIFT, look(SPEC, estimated))
    assert not cleared(C.CONCEPT_DRIFT, look(SPEC, [*estimated, *history(S.PERFORMANCE, "UUU")]))
    assert cleared(C.CONCEPT_DRIFT, look(SPEC, [*estimated, *history(S.PERFORMANCE, "C")]))
    assert cleared(C.HARMFUL_DRIFT, look(SPEC, estimated))


# What came of what was tried.


def healing(model: ModelSpec | None = None, shows: dict[str, Any] = HARMED) -> Life:
    """Harm, nothing to reinstate, and a retraining under way."""
    return Life(model or spec()).see(**WELL).see(**shows).see(**shows).refuse("none fits").settle()


def results(life: Life, cause: Cause = C.HARMFUL_DRIFT) -> list[Result]:
    return [attempt.result for attempt in life.incidents[cause].tried]


def recover(life: Life) -> Life:
    for _ in range(3):
        life.see(**WELL)
    return life.settle()


def test_a_heal_that_failed_stays_failed_when_the_world_recovers_by_itself() -> None:
    refused = healing(spec(retries=3)).refuse().settle()
    assert refused.incidents[C.HARMFUL_DRIFT].hold == "no_new_data"
    recover(refused)
    ended = refused.incidents[C.HARMFUL_DRIFT]
    assert (ended.state, ended.hold) == (IncidentState.RESOLVED, None)
    assert results(refused) == [Result.NONE_FITS, Result.REFUSED]


def test_an_escalated_incident_is_resolved_by_recovery_and_by_nothing_less() -> None:
    life = healing(spec(retries=0)).refuse().settle()
    assert life.state(C.HARMFUL_DRIFT) is IncidentState.ESCALATED
    life.see(drift=CLEAR, performance=UNKNOWN).see(drift=CLEAR, performance=UNKNOWN).settle()
    assert life.state(C.HARMFUL_DRIFT) is IncidentState.ESCALATED
    assert recover(life).state(C.HARMFUL_DRIFT) is IncidentState.RESOLVED
    assert results(life)[:2] == [Result.NONE_FITS, Result.REFUSED]


def test_what_nobody_approved_helped_nothing() -> None:
    life = Life(spec(autonomy="recommend")).see(**HARMED).see(**HARMED)
    assert life.incidents[C.HARMFUL_DRIFT].hold == "approval"
    recover(life)
    assert life.state(C.HARMFUL_DRIFT) is IncidentState.RESOLVED
    assert results(life) == [Result.DECLINED]
    decision = life.incidents[C.HARMFUL_DRIFT].tried[-1].decision_id
    life.say(RecordKind.APPROVAL, decision, "APPROVED").settle()
    assert not life.situation().heals, "an approval that comes too late starts nothing"


def test_harmless_drift_that_turned_harmful_was_not_helped_by_watching() -> None:
    life = Life(spec()).see(**WELL).see(**{**WELL, "drift": RAISED}).see(**HARMED).see(**HARMED).settle()
    assert life.state(C.BENIGN_DRIFT) is IncidentState.RESOLVED
    assert results(life, C.BENIGN_DRIFT) == [Result.ACTED]


def test_a_refusal_without_further_words_is_a_refusal() -> None:
    life = healing(spec(retries=0))
    life.outcome(life.healing.tried[-1].decision_id, OutcomeStatus.REFUSED).settle()
    assert results(life)[:2] == [Result.NONE_FITS, Result.REFUSED]
    crashed = healing(spec(retries=0))
    crashed.outcome(crashed.healing.tried[-1].decision_id, OutcomeStatus.FAILED).settle()
    assert results(crashed)[:2] == [Result.NONE_FITS, Result.FAILED]


# Whether a heal helped.


def test_a_heal_may_be_given_more_batches_than_the_diagnosis_looks_back() -> None:
    life = healing(spec(verify_batches=5)).promote("2").settle()
    for _ in range(4):
        life.see(**HARMED)
        assert life.state(C.HARMFUL_DRIFT) is IncidentState.VERIFYING
    life.see(**HARMED)
    assert results(life)[1] is Result.NOT_VERIFIED


def test_batches_whose_labels_have_not_come_are_not_counted_against_a_heal() -> None:
    life = healing(shows=CONCEPT).promote("2").settle()
    for _ in range(6):
        life.see(**{**WELL, "performance": UNKNOWN, "estimated_performance": CLEAR})
    assert life.state(C.CONCEPT_DRIFT) is IncidentState.VERIFYING
    assert life.see(**WELL).state(C.CONCEPT_DRIFT) is IncidentState.RESOLVED
    assert results(life, C.CONCEPT_DRIFT)[-1] is Result.VERIFIED


def test_a_recalibration_is_judged_by_labels_not_by_estimates() -> None:
    shifted: dict[str, Any] = {"drift": CLEAR, "prior": RAISED, "conditional": CLEAR, "performance": RAISED}
    life = Life(spec()).see(**shifted).see(**shifted).promote("2").settle()
    for _ in range(5):
        life.see(drift=CLEAR, prior=UNKNOWN, performance=UNKNOWN, estimated_performance=CLEAR)
    assert life.state(C.PRIOR_SHIFT) is IncidentState.VERIFYING
    for _ in range(3):
        life.see(drift=CLEAR, prior=RAISED, conditional=CLEAR, performance=CLEAR)
    assert results(life, C.PRIOR_SHIFT)[0] is Result.NOT_VERIFIED


def test_one_bad_batch_among_good_ones_is_no_failed_heal() -> None:
    life = healing().promote("2").settle().see(**HARMED).see(**WELL).see(**WELL)
    assert life.state(C.HARMFUL_DRIFT) is IncidentState.VERIFYING
    assert life.see(**WELL).settle().state(C.HARMFUL_DRIFT) is IncidentState.RESOLVED
    assert results(life)[-1] is Result.VERIFIED


LIGHTER = ActionsSpec(serving_fault=("retrain", "escalate"))
"""A server that errs is given a lighter model: what this signal says is not bound to a version."""


def test_a_heal_is_not_judged_by_what_was_measured_before_it() -> None:
    life = Life(replace(spec(), actions=LIGHTER))
    for _ in range(3):
        life.see(**WELL, errors=RAISED)
    assert life.healing.tried[-1].action is Action.RETRAIN
    life.now += timedelta(minutes=1)
    life.promote("2").settle()
    assert life.state(C.SERVING_FAULT) is IncidentState.VERIFYING
    life.see(**WELL, errors=UNKNOWN).see(**WELL, errors=UNKNOWN).see(**WELL, errors=UNKNOWN)
    assert life.state(C.SERVING_FAULT) is IncidentState.VERIFYING
    life.see(**WELL, errors=CLEAR)
    assert life.state(C.SERVING_FAULT) is IncidentState.RESOLVED
    assert results(life, C.SERVING_FAULT) == [Result.VERIFIED]


def test_a_heal_that_does_not_help_the_server_is_followed_by_a_person() -> None:
    life = Life(replace(spec(), actions=LIGHTER)).see(**WELL, errors=RAISED).promote("2").settle()
    for _ in range(3):
        life.see(**WELL, errors=RAISED)
    life.settle()
    assert life.state(C.SERVING_FAULT) is IncidentState.ESCALATED
    assert results(life, C.SERVING_FAULT)[0] is Result.NOT_VERIFIED


def test_a_rollback_is_not_verified_by_doubt() -> None:
    life = healing().promote("2").settle().see(drift=CLEAR, performance=RAISED, release=RAISED)
    assert life.healing.cause is C.BAD_RELEASE
    life.outcome(life.healing.tried[-1].decision_id, OutcomeStatus.ROLLED_BACK, version="1").settle()
    life.see(drift=CLEAR, performance=UNKNOWN).see(drift=CLEAR, performance=UNKNOWN)
    assert life.state(C.BAD_RELEASE) is IncidentState.VERIFYING
    life.see(drift=CLEAR, performance=RAISED)
    assert life.state(C.BAD_RELEASE) is IncidentState.RESOLVED, "harm of its own is another incident's"
    assert results(life, C.BAD_RELEASE) == [Result.VERIFIED]


# What people do in between.


def by_hand(life: Life, version: str) -> Life:
    """A person promotes a version; no incident led to it."""
    return life.outcome(f"by-hand-{version}", OutcomeStatus.PROMOTED, version=version).settle()


def test_what_a_person_replaced_is_neither_praised_nor_blamed() -> None:
    helped = by_hand(healing().promote("2").settle(), "3").see(**WELL).settle()
    assert helped.state(C.HARMFUL_DRIFT) is IncidentState.RESOLVED
    assert results(helped)[-1] is Result.ACTED
    assert "under version 3, which a person promoted in the place of 2" in helped.incidents[C.HARMFUL_DRIFT].reason

    harmed = by_hand(healing().promote("2").settle(), "3")
    for _ in range(3):
        harmed.see(**HARMED)
    assert results(harmed)[1] is Result.ACTED
    assert len(results(harmed)) == 3, "the next alternative follows"
    assert not [r for r in results(harmed) if r is Result.NOT_VERIFIED]


def test_a_person_who_takes_a_heal_back_ends_its_incident() -> None:
    life = healing().promote("2").settle()
    person = "rollback-1"
    life._record(RecordKind.DECISION, person, "DECIDED", life.now, action="rollback", cause="bad_release",
                 champion_version="2", attempt=1, incident=None)  # fmt: skip
    life.step()
    assert life.state(C.HARMFUL_DRIFT) is IncidentState.VERIFYING, "asked for, and not done"
    life.outcome(person, OutcomeStatus.ROLLED_BACK, version="1").settle()
    assert IncidentState.ROLLED_BACK in [one.state for one in life.every(C.HARMFUL_DRIFT)]


def test_a_rollback_that_failed_took_nothing_back() -> None:
    life = healing().promote("2").settle().see(drift=CLEAR, performance=RAISED, release=RAISED)
    life.outcome(life.healing.tried[-1].decision_id, OutcomeStatus.FAILED).settle()
    by_hand(life, "3")
    assert life.every(C.HARMFUL_DRIFT)[0].state is not IncidentState.ROLLED_BACK


def two_waiting(**policy: Any) -> tuple[Life, dict[Cause, str]]:
    """Two incidents of one model, each with an action that waits for a person."""
    life = Life(replace(spec(autonomy="recommend", **policy), actions=LIGHTER))
    life.see(**HARMED, errors=CLEAR).see(**HARMED, errors=RAISED).settle()
    waiting = {i.cause: i.tried[-1].decision_id for i in life.every() if i.hold == "approval"}
    assert set(waiting) == {C.SERVING_FAULT, C.HARMFUL_DRIFT}
    return life, waiting


def states(life: Life, *causes: Cause) -> list[IncidentState | None]:
    return [life.state(cause) for cause in causes]


def test_of_two_that_people_approved_the_gravest_goes_first_and_alone() -> None:
    life, waiting = two_waiting()
    for decision in waiting.values():
        life.say(RecordKind.APPROVAL, decision, "APPROVED")
    life.settle()
    both = (C.SERVING_FAULT, C.HARMFUL_DRIFT)
    assert states(life, *both) == [IncidentState.HEALING, IncidentState.SUPPRESSED]
    life.promote("2").settle()
    assert states(life, *both) == [IncidentState.VERIFYING, IncidentState.SUPPRESSED]
    for _ in range(3):
        life.see(**HARMED, errors=CLEAR)
    assert states(life, *both) == [IncidentState.RESOLVED, IncidentState.HEALING]


def test_an_approval_does_not_pass_a_spent_budget() -> None:
    life, waiting = two_waiting(heals_per_day=1, approval_hours=90.0)
    life.say(RecordKind.APPROVAL, waiting[C.SERVING_FAULT], "APPROVED").settle()
    life.outcome(waiting[C.SERVING_FAULT], OutcomeStatus.FAILED).settle()
    life.say(RecordKind.APPROVAL, waiting[C.HARMFUL_DRIFT], "APPROVED").settle()
    assert life.state(C.HARMFUL_DRIFT) is IncidentState.SUPPRESSED
    life.now += timedelta(hours=24)
    life.settle()
    assert life.state(C.HARMFUL_DRIFT) is IncidentState.HEALING


def test_an_approved_heal_counts_from_when_it_was_let_through() -> None:
    life = Life(spec(autonomy="recommend", approval_hours=90.0)).see(**HARMED).see(**HARMED)
    life.now += timedelta(hours=50)
    decision = life.incidents[C.HARMFUL_DRIFT].tried[-1].decision_id
    life.say(RecordKind.APPROVAL, decision, "APPROVED").settle()
    began = life.now
    life.now += timedelta(hours=2)
    life.outcome(decision, OutcomeStatus.REFUSED)
    (heal,) = life.situation().heals
    assert (heal.begun_at, heal.seconds) == (began, 7_200.0)


# The first model.


def test_the_first_model_is_tried_again_however_long_the_history_is() -> None:
    """Only so many past decisions are read: their number is no name for the next."""
    life = Life(spec(first_model_tries=200), champion=None)
    for _ in range(110):
        life.see(quality=CLEAR)
        under_way = [heal for heal in life.situation().heals if heal.outcome is None]
        if under_way:
            life.outcome(under_way[0].decision.subject, OutcomeStatus.REFUSED)
    names = [decision.subject for decision in life.decisions(Action.RETRAIN)]
    assert len(names) == 109
    assert len(set(names)) == len(names)


def test_a_first_model_that_is_held_back_says_nothing_new_at_the_next_step() -> None:
    life = Life(spec(autonomy="observe"), champion=None).see(quality=CLEAR).see(quality=CLEAR)
    before = life.ledger.head()
    life.step()
    assert life.ledger.head() == before
    assert [d.status for d in life.decisions()] == ["SUPPRESSED"]
