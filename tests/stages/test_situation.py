"""What `gather` takes from the ledger: whose evidence, which statement, and the same situation for ever after."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from brain import BEGIN, Life, spec

from selfheal_assets.adapters.in_memory import InMemoryLedger
from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.evidence import UNBOUND, Evidence, Signal, Status
from selfheal_assets.core.incident import IncidentState, OutcomeStatus
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.stages import situation as module
from selfheal_assets.stages.situation import gather

CLEAR, RAISED, UNKNOWN = Status.CLEAR, Status.RAISED, Status.UNKNOWN
HARMED: dict[str, Any] = {"quality": CLEAR, "drift": RAISED, "performance": RAISED}
WELL: dict[str, Any] = {"quality": CLEAR, "drift": CLEAR, "performance": CLEAR}


def said(life: Life, signal: Signal) -> dict[str, Status]:
    """The status by batch, as the situation has it."""
    return {e.batch_id: e.status for e in life.situation().evidence if e.signal is signal}


def lived(**policy: Any) -> Life:
    """A heal that was promoted and verified, an approval asked for, and more."""
    life = Life(spec(**policy)).see(**WELL).see(**HARMED).see(**HARMED).refuse("none fits").settle()
    return life.promote("2").settle().see(**WELL).see(**HARMED).see(**HARMED).settle()


# Evidence.


@pytest.mark.parametrize("signal", Signal)
def test_what_is_bound_to_another_champion_is_left_out(signal: Signal) -> None:
    life = Life(spec())
    shown: dict[str, Any] = {signal: RAISED}
    life.arrive(**shown)
    life.outcome("later", OutcomeStatus.PROMOTED, version="2")
    shown = {signal: CLEAR}
    life.arrive(**shown)
    expected = {"b001": RAISED, "b002": CLEAR} if signal in UNBOUND else {"b002": CLEAR}
    assert said(life, signal) == expected


def test_what_was_bound_to_a_champion_counts_again_when_it_serves_again() -> None:
    life = Life(spec())
    life.arrive(drift=RAISED)
    life.outcome("later", OutcomeStatus.PROMOTED, version="2")
    life.arrive(drift=CLEAR)
    life.outcome("back", OutcomeStatus.ROLLED_BACK, version="1")
    assert said(life, Signal.DRIFT) == {"b001": RAISED}


def test_the_last_statement_about_a_batch_wins() -> None:
    life = Life(spec())
    for status in (UNKNOWN, RAISED, CLEAR):
        life.arrive(7, performance=status)
        assert said(life, Signal.PERFORMANCE) == {"b007": status}
    life.arrive(8, performance=RAISED)
    life.arrive(7, performance=UNKNOWN)
    assert said(life, Signal.PERFORMANCE) == {"b007": UNKNOWN, "b008": RAISED}


def test_another_models_records_are_not_read() -> None:
    life = lived()
    assert gather(life.ledger, replace(life.spec, name="other"), life.now) == gather(
        InMemoryLedger(), replace(life.spec, name="other"), life.now, life.ledger.head().sequence
    )


def test_of_an_empty_ledger() -> None:
    found = gather(InMemoryLedger(), spec(), BEGIN)
    assert (found.seen, found.champion_version, found.champion_metric, found.labelled_rows) == (0, None, None, 0)
    assert not any((found.evidence, found.learnable, found.open, found.ended, found.heals, found.switched_off))


# What serves.


def test_what_serves_is_what_was_promoted_or_put_back_last() -> None:
    life = Life(spec())
    assert (life.situation().champion_version, life.situation().champion_metric) == ("1", 0.9)
    life.outcome("a", OutcomeStatus.PROMOTED, version="2")
    life.outcome("b", OutcomeStatus.REFUSED, version="3")
    life.outcome("c", OutcomeStatus.FAILED)
    assert life.situation().champion_version == "2"
    assert life.situation().archived == ("1", "0")
    life.outcome("d", OutcomeStatus.ROLLED_BACK, version="1")
    assert life.situation().champion_version == "1"
    assert "1" not in life.situation().archived


# What can be learned from.


def test_learnable_are_the_last_clean_closed_batches_oldest_first() -> None:
    life = Life(spec())
    for number in (3, 1, 2):
        life.arrive(number)
    assert life.situation().learnable == ("b001", "b002", "b003")
    assert life.situation().labelled_rows == 3_000
    life._record(RecordKind.BATCH_SETTLED, "b002", "QUARANTINED", BEGIN, rows_clean=0, labelled_rows=0)
    assert life.situation().learnable == ("b001", "b003")
    life._record(RecordKind.BATCH_SETTLED, "b009", "CLEAN", BEGIN, rows_clean=1_000, labelled_rows=1_000)
    assert "b009" not in life.situation().learnable, "its ingest has not ended"


def test_a_batch_is_learned_from_once_its_labels_have_matured() -> None:
    life = Life(spec())
    at = BEGIN + timedelta(hours=1)
    life._record(RecordKind.BATCH_SETTLED, "b001", "CLEAN", at, rows_clean=1_000, labelled_rows=0)
    life._record(RecordKind.BATCH_CLOSED, "b001", "CLOSED", at)
    assert life.situation().learnable == ()
    life._record(RecordKind.LABELS, "b001", "IMMATURE", at, rows=1_000, labelled_rows=700)
    assert life.situation().learnable == ()
    life._record(RecordKind.LABELS, "b001", "MATURED", at, rows=1_000, labelled_rows=900)
    assert (life.situation().learnable, life.situation().labelled_rows) == (("b001",), 900)


# Incidents, heals and the words of people.


def test_open_and_ended_incidents_are_told_apart() -> None:
    found = lived().situation()
    assert [i.state for i in found.open] == [IncidentState.HEALING]
    assert {i.state for i in found.ended} == {IncidentState.RESOLVED}
    assert all(not i.ended for i in found.open)


def test_heals_are_the_decisions_that_were_let_through() -> None:
    found = lived().situation().heals
    assert [(heal.action, heal.outcome and heal.outcome.status) for heal in found] == [
        (Action.REINSTATE, None),
        (Action.RETRAIN, "PROMOTED"),
        (Action.REINSTATE, "REFUSED"),
    ]
    held = Life(spec(autonomy="observe")).see(**HARMED).see(**HARMED)
    assert [d.status for d in held.decisions()] == ["SUPPRESSED"]
    assert held.situation().heals == ()


def test_approvals_are_those_that_somebody_waits_for() -> None:
    life = Life(spec(autonomy="recommend")).see(**HARMED).see(**HARMED)
    wanted = life.incidents[Cause.HARMFUL_DRIFT].tried[-1].decision_id
    assert life.situation().approvals == {}
    life.say(RecordKind.APPROVAL, "another", "APPROVED")
    assert life.situation().approvals == {}
    life.say(RecordKind.APPROVAL, wanted, "APPROVED", model="other")
    assert life.situation().approvals == {}
    life.say(RecordKind.APPROVAL, wanted, "REJECTED")
    assert life.situation().approvals == {wanted: "REJECTED"}
    life.say(RecordKind.APPROVAL, wanted, "APPROVED")
    assert life.situation().approvals == {wanted: "APPROVED"}, "the last word counts"


def test_flags_of_the_model_and_of_all_models() -> None:
    life = Life(spec())

    def off(*words: tuple[str, str, str]) -> set[str]:
        for model, action, status in words:
            life.say(RecordKind.FLAG, action, status, model)
        return set(life.situation().switched_off)

    assert off() == set()
    assert off(("other", "retrain", "OFF")) == set()
    assert off(("m", "retrain", "OFF")) == {"retrain"}
    assert off(("*", "rollback", "OFF")) == {"retrain", "rollback"}
    assert off(("*", "retrain", "ON")) == {"retrain", "rollback"}, "each flag is switched where it was"
    assert off(("m", "retrain", "ON"), ("*", "*", "OFF")) == {"rollback", "*"}
    assert off(("*", "*", "ON"), ("*", "rollback", "ON")) == set()


# The past.


def test_the_same_place_gives_the_same_situation_whatever_came_later() -> None:
    life, kept = Life(spec(autonomy="recommend")), []

    def keep() -> None:
        kept.append(life.situation())

    for step in (WELL, HARMED, HARMED):
        life.see(**step)
        keep()
    decision = life.incidents[Cause.HARMFUL_DRIFT].tried[-1].decision_id
    life.say(RecordKind.APPROVAL, decision, "APPROVED").say(RecordKind.FLAG, "*", "OFF")
    keep()
    life.say(RecordKind.FLAG, "*", "ON").settle()
    keep()
    life.refuse("none fits").settle()
    life.arrive(2, performance=CLEAR, drift=CLEAR)
    life._record(RecordKind.BATCH_SETTLED, "b001", "QUARANTINED", BEGIN, rows_clean=0, labelled_rows=0)
    keep()
    assert len({repr(one) for one in kept}) == len(kept)
    for one in kept:
        assert gather(life.ledger, life.spec, one.now, one.seen) == one
        assert gather(life.ledger.as_of(one.seen), life.spec, one.now) == one


def test_the_end_of_the_ledger_is_the_default() -> None:
    life = lived()
    assert life.situation() == gather(life.ledger, life.spec, life.now, life.ledger.head().sequence)
    assert life.situation().seen == life.ledger.head().sequence


def test_the_clock_is_the_callers() -> None:
    life = lived()
    later = gather(life.ledger, life.spec, life.now + timedelta(days=9))
    assert replace(later, now=life.now) == life.situation()


def test_a_long_past_is_read_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    from_record = Evidence.from_record

    def counted(record: Record) -> Evidence:
        read.append(record.key)
        return from_record(record)

    monkeypatch.setattr(Evidence, "from_record", counted)
    life = Life(spec())
    for number in range(400):
        life.arrive(number, drift=CLEAR, performance=CLEAR)
    found = life.situation()
    assert module.EVIDENCE_READ <= len(read) <= 2 * module.EVIDENCE_READ
    assert len(found.learnable) == max(life.spec.training.windows)
    assert {e.batch_id for e in found.evidence if e.signal is Signal.DRIFT} >= {"b399", "b398", "b300"}
