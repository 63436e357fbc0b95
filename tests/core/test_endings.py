"""What may not go on for ever: heals that nothing verifies, words that come too late, first models that never come."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from brain import BEGIN, Life, spec
from given import SPEC, history
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.diagnosis import look
from selfheal_assets.core.evidence import Signal, Status
from selfheal_assets.core.incident import IncidentState, OutcomeStatus, Result
from selfheal_assets.core.progress import cleared
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.watch import watch
from selfheal_assets.core.watched import Facts, IncidentFact
from selfheal_assets.stages.training_evidence import training_evidence

CLEAR, RAISED, UNKNOWN = Status.CLEAR, Status.RAISED, Status.UNKNOWN
WELL: dict[str, Any] = {"quality": CLEAR, "drift": CLEAR, "performance": CLEAR}
HARMED: dict[str, Any] = {"quality": CLEAR, "drift": RAISED, "performance": RAISED}
CONCEPT: dict[str, Any] = {**WELL, "performance": RAISED}
FAR: dict[str, Any] = {"quality": CLEAR, "drift": (RAISED, 0.9), "performance": UNKNOWN}
HOURS = timedelta(hours=1)


def acted(shows: dict[str, Any], **policy: Any) -> Life:
    """A retraining that serves, and is being verified."""
    life = Life(spec(**policy)).see(**WELL).see(**shows).see(**shows).refuse("none fits").settle()
    return life.promote("2").settle()


# A heal that nothing verifies.


@pytest.mark.parametrize(
    ("shows", "cause", "estimated"), [(FAR, Cause.HARMFUL_DRIFT, UNKNOWN), (CONCEPT, Cause.CONCEPT_DRIFT, CLEAR)]
)
def test_a_heal_that_no_label_ever_verifies_ends_with_a_person(
    shows: dict[str, Any], cause: Cause, estimated: Status
) -> None:
    life = acted(shows, verify_hours=48.0)
    promoted = life.now
    while life.now < promoted + 47 * HOURS:
        life.see(drift=CLEAR, performance=UNKNOWN, estimated_performance=estimated)
        assert life.state(cause) is IncidentState.VERIFYING
    life.see(drift=CLEAR, performance=UNKNOWN, estimated_performance=estimated).settle()
    ended = life.incidents[cause]
    assert ended.state is IncidentState.ESCALATED
    assert ended.reason == "nothing could be verified: nothing was measured in 48 hours after retrain"
    assert ended.tried[-1].result is Result.UNVERIFIABLE
    assert life.see(**WELL).settle().state(cause) is IncidentState.RESOLVED, "late labels may still tell"


def test_each_measured_batch_gives_it_as_much_time_again() -> None:
    life = acted(HARMED, verify_hours=10.0).see(**HARMED)
    for hours, state in ((18, IncidentState.VERIFYING), (3, IncidentState.ESCALATED)):
        life.now += hours * HOURS
        assert life.settle().state(Cause.HARMFUL_DRIFT) is state
    assert "only 1 batches were measured in 20 hours" in life.incidents[Cause.HARMFUL_DRIFT].reason


def test_a_rollback_that_nothing_verifies_ends_too() -> None:
    life = acted(HARMED, verify_hours=10.0).see(drift=CLEAR, performance=RAISED, release=RAISED)
    life.outcome(life.healing.tried[-1].decision_id, OutcomeStatus.ROLLED_BACK, version="1").settle()
    assert life.state(Cause.BAD_RELEASE) is IncidentState.VERIFYING
    life.now += 100 * HOURS
    life.step()
    assert life.state(Cause.BAD_RELEASE) is IncidentState.RESOLVED, "the harm that still stands is another incident's"
    assert life.incidents[Cause.BAD_RELEASE].tried[-1].result is Result.UNVERIFIABLE


def test_what_is_only_watched_has_no_such_end() -> None:
    life = Life(spec()).see(**WELL).see(**{**WELL, "drift": RAISED}).see(**{**WELL, "drift": RAISED})
    life.now += 9_000 * HOURS
    assert life.settle().state(Cause.BENIGN_DRIFT) is IncidentState.VERIFYING


@given(st.lists(st.tuples(st.sampled_from("CRU "), st.sampled_from("CRU ")), min_size=1, max_size=8))
def test_no_estimate_resolves_what_labels_say_is_harm(batches: list[tuple[str, str]]) -> None:
    """While a realised metric among the last that are known is raised, whatever is estimated of newer batches."""
    realised, estimated = ("".join(letters) for letters in zip(*batches, strict=True))
    known = [letter for letter in realised if letter in "CR"][-SPEC.drift.persistence_n :]
    seen = look(SPEC, [*history(Signal.PERFORMANCE, realised), *history(Signal.ESTIMATED_PERFORMANCE, estimated)])
    if "R" in known:
        assert not cleared(Cause.HARMFUL_DRIFT, seen)


# A word that comes too late.


def asked(**policy: Any) -> tuple[Life, str, datetime]:
    """An action that waits for approval, its decision, and when it expires."""
    life = Life(spec(autonomy="recommend", approval_hours=5.0, **policy)).see(**WELL).see(**HARMED).see(**HARMED)
    waiting = life.incidents[Cause.HARMFUL_DRIFT].tried[-1]
    return life, waiting.decision_id, waiting.decided_at + 5 * HOURS


def test_an_approval_that_was_written_after_the_expiry_is_none_though_no_step_came_between() -> None:
    life, decision, expires = asked()
    life.now = expires
    life.say(RecordKind.APPROVAL, decision, "APPROVED").settle()
    assert life.state(Cause.HARMFUL_DRIFT) is IncidentState.ESCALATED
    assert "nobody approved within 5 hours" in life.incidents[Cause.HARMFUL_DRIFT].reason
    assert not life.situation().heals


def test_an_approval_in_time_holds_though_the_next_step_is_late() -> None:
    life, decision, expires = asked()
    life.now = expires - timedelta(seconds=1)
    life.say(RecordKind.APPROVAL, decision, "APPROVED")
    life.now = expires + 5 * HOURS
    assert life.settle().state(Cause.HARMFUL_DRIFT) is IncidentState.HEALING


# A first model that never comes.


def first_tries(life: Life) -> list[Record]:
    return [
        d
        for d in life.decisions(Action.RETRAIN)
        if d.payload["cause"] == Cause.NO_CHAMPION and d.status != "SUPPRESSED"
    ]


def refuse_first(life: Life) -> None:
    """As its run does when the gates do not let the candidate pass."""
    for heal in [heal for heal in life.situation().heals if heal.outcome is None]:
        tries = life.spec.policy.first_model_tries
        said = training_evidence(heal.decision, OutcomeStatus.REFUSED, "below the floor", {}, life.now, tries)
        assert said is not None
        life.ledger.append(said.to_record(life.now, heal.decision.sequence))
        life.outcome(heal.decision.subject, OutcomeStatus.REFUSED)


def test_each_failed_try_of_the_first_model_is_followed_by_a_longer_wait() -> None:
    life = Life(spec(cooldown_minutes=120.0, first_model_tries=50), champion=None)
    begun = []
    for _ in range(24 * 6):
        before = len(first_tries(life))
        life.see(quality=CLEAR)
        refuse_first(life)
        life.step()
        if len(first_tries(life)) > before:
            begun.append((life.now - BEGIN) // HOURS)
    waits = [later - earlier for earlier, later in pairwise(begun)]
    assert waits[:6] == [2, 4, 8, 16, 24, 24], "twice as long each time, a day at most"
    held = [d for d in life.decisions(Action.RETRAIN) if d.payload["hold"] == "cooldown"]
    assert "1 tries made no first model; the next is not before" in held[0].payload["refused"][0]


def test_after_the_last_try_of_the_first_model_a_person_is_called_and_nothing_more_is_tried() -> None:
    life = Life(spec(first_model_tries=3), champion=None)
    for _ in range(10):
        life.see(quality=CLEAR)
        refuse_first(life)
        life.step()
    assert len(first_tries(life)) == 3
    (fault,) = life.every(Cause.TRAINING_FAULT)
    assert fault.state is IncidentState.ESCALATED
    assert "none of 3 tries made a first model; the last: below the floor" in fault.diagnosis
    by_hand = replace(
        first_tries(life)[0], subject="by-hand-1", payload={"cause": "unknown", "action": "retrain", "attempt": 1}
    )
    said = training_evidence(by_hand, OutcomeStatus.PROMOTED, "", {}, life.now, 3)
    assert said is not None
    life.ledger.append(said.to_record(life.now + HOURS, life.ledger.head().sequence))
    life.outcome("by-hand-1", OutcomeStatus.PROMOTED, version="1").settle()
    assert life.state(Cause.TRAINING_FAULT) is IncidentState.RESOLVED


def test_a_first_model_comes_of_a_later_try() -> None:
    life = Life(spec(first_model_tries=3), champion=None).see(quality=CLEAR).see(quality=CLEAR)
    refuse_first(life)
    life.see(quality=CLEAR)
    life.outcome(first_tries(life)[-1].subject, OutcomeStatus.PROMOTED, version="1").settle()
    assert not life.incidents
    assert life.situation().champion_version == "1"


# A moved share of labels that costs nothing.

MOVED: dict[str, Any] = {**WELL, "prior": RAISED, "conditional": CLEAR}


def test_a_moved_share_of_labels_is_named_and_left_alone_until_it_does_harm() -> None:
    life = Life(spec()).see(**MOVED).see(**MOVED).settle()
    held = life.incidents[Cause.PRIOR_SHIFT]
    assert (held.state, held.hold) == (IncidentState.SUPPRESSED, "no_harm")
    assert held.reason == "recalibrate: the share of label 1 moved, and no harm by it is seen"
    told = watch(life.spec.policy, Facts(incidents=[IncidentFact(incident=held, for_=1_000 * HOURS)]))
    assert not told, "nobody is called for it"
    life.see(**MOVED, risk=RAISED).settle()
    assert life.healing.cause is Cause.PRIOR_SHIFT
    assert life.healing.tried[-1].action is Action.RECALIBRATE


def test_a_share_of_labels_that_moves_back_ends_what_was_held() -> None:
    life = Life(spec()).see(**MOVED).see(**MOVED).settle()
    for _ in range(3):
        life.see(**WELL, prior=CLEAR)
    assert life.settle().state(Cause.PRIOR_SHIFT) is IncidentState.RESOLVED
    assert not life.decisions(Action.RETRAIN)
