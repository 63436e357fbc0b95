"""A version that serves again: what was seen of it in an earlier term is another world's, unless it was only paused."""

import pytest
from brain import BATCH, BEGIN, Life, spec

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.evidence import Signal, Status
from selfheal_assets.core.incident import IncidentState, OutcomeStatus, Result
from selfheal_assets.stages.situation import EVIDENCE_READ
from selfheal_assets.stages.tenure import began, of_term

CLEAR, RAISED = Status.CLEAR, Status.RAISED
WELL = {"quality": CLEAR, "drift": CLEAR, "performance": CLEAR}
HARMED = {"quality": CLEAR, "drift": RAISED, "performance": RAISED}


@pytest.fixture
def life() -> Life:
    """The world moved (b002, b003), version 2 came; it moved back (b005, b006), and version 1 was reinstated."""
    life = Life(spec()).see(**WELL).see(**HARMED).see(**HARMED).settle().refuse("none fits").settle()
    assert life.healing.tried[-1].action is Action.RETRAIN
    life.promote("2").settle().see(**WELL).settle()
    life.see(**HARMED).see(**HARMED).settle()
    assert life.healing.tried[-1].action is Action.REINSTATE
    return life.promote("1").settle()


def measured(life: Life) -> set[str]:
    return {e.batch_id for e in life.situation().evidence if e.signal is Signal.PERFORMANCE}


def test_a_reinstated_version_begins_anew(life: Life) -> None:
    assert life.situation().champion_version == "1"
    assert measured(life) == set()
    back = life.every(Cause.HARMFUL_DRIFT)[-1]
    assert back.state is IncidentState.VERIFYING
    assert life.situation().open == (back,), "that it was harmed once opens nothing"
    life.see(**WELL).settle()
    assert measured(life) == {"b007"}
    assert [a.result for a in life.every(Cause.HARMFUL_DRIFT)[-1].tried] == [Result.VERIFIED]
    assert not life.situation().open


def test_labels_that_come_late_for_its_earlier_term_do_not_count(life: Life) -> None:
    life.evidence(Signal.PERFORMANCE, RAISED, "b003", BEGIN + 3 * BATCH)
    life.see(**WELL)
    assert measured(life) == {"b007"}
    life.evidence(Signal.PERFORMANCE, RAISED, "b007", BEGIN + 7 * BATCH)
    (last,) = (e for e in life.situation().evidence if e.signal is Signal.PERFORMANCE)
    assert (last.batch_id, last.status) == ("b007", RAISED)


def test_one_whose_successor_was_taken_back_goes_on(life: Life) -> None:
    life.see(**WELL).settle()
    life.outcome("another", OutcomeStatus.PROMOTED, version="3")
    life.see(**WELL).settle()
    assert measured(life) == {"b008"}
    life.outcome("taken back", OutcomeStatus.ROLLED_BACK, version="1")
    assert measured(life) == {"b007"}


def test_a_term_begins_with_its_decision(life: Life) -> None:
    decided = {d.payload["action"]: d.sequence for d in life.decisions()}  # The last of each.
    assert began(life.ledger, life.spec, "1") == decided[Action.REINSTATE]
    assert began(life.ledger, life.spec, "2") == decided[Action.RETRAIN]
    assert began(life.ledger, life.spec, "9") == began(life.ledger, life.spec, None) == 0
    assert of_term([], "1", 0) == []


def test_labels_for_very_many_old_batches_do_not_hide_the_newest_ones() -> None:
    """They are said last of all; the newest batches' drift and checks were said before."""
    life = Life(spec()).see(**WELL).see(**WELL)
    life.arrive(quality=CLEAR, drift=RAISED, performance=CLEAR)
    life.arrive(quality=RAISED, drift=RAISED, performance=CLEAR)
    for number in range(EVIDENCE_READ + 10):
        life.evidence(Signal.PERFORMANCE, CLEAR, f"old-{number}", BEGIN - (1 + number) * BATCH)
    found = {(e.batch_id, e.signal): e.status for e in life.situation().evidence}
    assert found["b003", Signal.DRIFT] is found["b004", Signal.DRIFT] is RAISED
    assert found["b004", Signal.QUALITY] is RAISED
    life.settle()
    assert life.state(Cause.BAD_DATA) is not None
