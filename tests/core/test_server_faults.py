"""A life with model servers: their faults are healed by what is done to servers, and to releases by a rollback."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from brain import Life, spec

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.evidence import Signal, Status, is_look, look_id
from selfheal_assets.core.incident import IncidentState, OutcomeStatus, Result
from selfheal_assets.core.model_spec import ActionsSpec
from selfheal_assets.core.record import RecordKind

CLEAR, RAISED, UNKNOWN = Status.CLEAR, Status.RAISED, Status.UNKNOWN
WELL: dict[str, Any] = {"quality": CLEAR, "drift": CLEAR, "performance": CLEAR}
HARMED: dict[str, Any] = {"quality": CLEAR, "drift": RAISED, "performance": RAISED}
C, S = Cause, IncidentState


class Served(Life):
    """With a sensor that states what servers show."""

    def look(self, minutes: float = 1.0, **statuses: Status) -> "Served":
        self.now += timedelta(minutes=minutes)
        for signal, status in statuses.items():
            self.evidence(Signal(signal), status, look_id(self.now), self.now)
        self.settle()
        return self

    def restarted(self, status: OutcomeStatus = OutcomeStatus.RESTARTED) -> "Served":
        self.now += timedelta(seconds=10)
        self.outcome(self.healing.tried[-1].decision_id, status)
        self.settle()
        return self

    def tried(self, cause: Cause) -> list[tuple[Action, Result]]:
        return [(attempt.action, attempt.result) for attempt in self.incidents[cause].tried]


def served(**policy: Any) -> Served:
    life = Served(spec(**policy))
    life.see(**WELL)
    return life


def test_a_look_has_a_name_that_no_batch_has() -> None:
    assert is_look(look_id(served().now))
    assert not is_look("b001")


def test_a_server_at_fault_is_restarted_and_watched_until_it_is_well() -> None:
    life = served().look(errors=RAISED)
    assert life.state(C.SERVING_FAULT) is S.HEALING
    life.restarted()
    assert life.state(C.SERVING_FAULT) is S.VERIFYING
    assert life.look(errors=UNKNOWN).state(C.SERVING_FAULT) is S.VERIFYING, "it is starting"
    life.look(errors=CLEAR)
    assert life.state(C.SERVING_FAULT) is S.RESOLVED
    assert life.tried(C.SERVING_FAULT) == [(Action.RESTART, Result.VERIFIED)]
    assert life.incidents[C.SERVING_FAULT].after is None, "a share of errors is no metric"


def test_restarts_in_vain_are_bounded_and_then_people_are_called() -> None:
    life = served().look(errors=RAISED)
    for number in (1, 2, 3):
        assert life.state(C.SERVING_FAULT) is S.HEALING, number
        life.restarted()
        for _ in range(3):
            life.look(errors=RAISED)
    assert life.state(C.SERVING_FAULT) is S.ESCALATED
    assert life.tried(C.SERVING_FAULT)[:3] == [(Action.RESTART, Result.NOT_VERIFIED)] * 3
    assert "the 3 that are allowed in an hour were made" in str(life.decisions(Action.ESCALATE)[0].payload["refused"])
    assert life.look(errors=CLEAR).state(C.SERVING_FAULT) is S.RESOLVED


def test_a_server_that_fails_again_and_again_is_a_persons_matter() -> None:
    """Each restart helps, and not for long: the limit is of the hour, not of the incident."""
    life = served()
    for _ in range(3):
        life.look(errors=RAISED).restarted().look(errors=CLEAR)
        assert life.state(C.SERVING_FAULT) is S.RESOLVED
    assert life.look(errors=RAISED).state(C.SERVING_FAULT) is S.ESCALATED
    life.look(errors=CLEAR)
    assert life.look(60.0, errors=RAISED).state(C.SERVING_FAULT) is S.HEALING, "the hour is over"


def test_a_restart_that_cannot_be_done_is_not_tried_again() -> None:
    life = served().look(errors=RAISED).restarted(OutcomeStatus.FAILED)
    assert life.state(C.SERVING_FAULT) is S.ESCALATED
    assert life.tried(C.SERVING_FAULT)[0] == (Action.RESTART, Result.FAILED)


def test_where_only_restarts_are_declared_the_last_ends_in_a_persons_hands() -> None:
    life = Served(replace(spec(), actions=ActionsSpec(serving_fault=("restart",))))
    life.look(errors=RAISED)
    for _ in range(3):
        life.restarted()
        for _ in range(3):
            life.look(errors=RAISED)
    assert life.state(C.SERVING_FAULT) is S.ESCALATED


def test_servers_and_champion_do_not_wait_for_each_other_and_a_restart_takes_no_heal() -> None:
    life = served(heals_per_day=1, cooldown_minutes=600.0)
    life.see(**HARMED).see(**HARMED).settle()
    assert life.state(C.HARMFUL_DRIFT) is S.HEALING
    life.look(errors=RAISED)
    assert life.state(C.SERVING_FAULT) is S.HEALING, "a retraining may take an hour"
    restart = next(heal for heal in life.situation().heals if heal.action is Action.RESTART)
    assert not restart.counts
    life.outcome(restart.decision.subject, OutcomeStatus.RESTARTED).settle()
    assert life.look(errors=CLEAR).state(C.SERVING_FAULT) is S.RESOLVED


def test_a_restart_waits_for_a_person_only_where_every_action_does() -> None:
    assert served(autonomy="observe").look(errors=RAISED).incidents[C.SERVING_FAULT].hold == "autonomy"
    life = served(autonomy="recommend").look(errors=RAISED)
    assert life.incidents[C.SERVING_FAULT].hold == "approval"
    life.say(RecordKind.APPROVAL, life.incidents[C.SERVING_FAULT].tried[-1].decision_id, "APPROVED").settle()
    assert life.state(C.SERVING_FAULT) is S.HEALING
    off = served().say(RecordKind.FLAG, "restart", "OFF")
    assert isinstance(off, Served)
    assert off.look(errors=RAISED).incidents[C.SERVING_FAULT].hold == "flag"


def released() -> Served:
    """Version 2 replaced version 1."""
    life = served()
    life.outcome("by-hand", OutcomeStatus.PROMOTED, version="2").settle()
    return life


@pytest.mark.parametrize("signal", ["errors", "timeouts", "latency"])
def test_a_release_that_makes_requests_fail_is_rolled_back_and_no_server_restarted(signal: str) -> None:
    life = released().look(**{signal: RAISED, "release_fault": RAISED})
    assert (life.healing.cause, life.healing.tried[-1].action) == (C.BAD_RELEASE, Action.ROLLBACK)
    assert C.SERVING_FAULT not in life.incidents
    life.outcome(life.healing.tried[-1].decision_id, OutcomeStatus.ROLLED_BACK, version="1").settle()
    assert C.SERVING_FAULT not in life.incidents, "what was said of version 2 is not about version 1"
    assert life.state(C.BAD_RELEASE) is S.VERIFYING
    life.look(errors=CLEAR, timeouts=CLEAR, latency=CLEAR)
    assert life.state(C.BAD_RELEASE) is S.RESOLVED, "labels may take days"
    assert life.incidents[C.BAD_RELEASE].after is None


def test_a_business_metric_that_falls_with_a_release_takes_it_back() -> None:
    life = released().look(business=RAISED)
    assert (life.healing.cause, life.healing.tried[-1].action) == (C.BAD_RELEASE, Action.ROLLBACK)


def test_a_release_fault_that_was_held_back_and_went_away_is_over_whatever_labels_say() -> None:
    life = released().say(RecordKind.FLAG, "*", "OFF")
    assert isinstance(life, Served)
    life.see(**WELL)
    life.look(errors=RAISED, release_fault=RAISED)
    assert life.state(C.BAD_RELEASE) is S.SUPPRESSED, "that the labels are fine does not clear it"
    assert life.look(errors=CLEAR, release_fault=CLEAR).state(C.BAD_RELEASE) is S.RESOLVED


def test_while_the_feature_store_is_away_people_are_told_and_the_fallback_is_verified() -> None:
    life = served(autonomy="observe").look(feature_store=RAISED)
    assert life.state(C.FEATURE_STORE_FAULT) is S.VERIFYING, "the server has done it already"
    assert life.tried(C.FEATURE_STORE_FAULT) == [(Action.FALLBACK, Result.ACTED)]
    life.look(30.0, feature_store=UNKNOWN)
    assert life.state(C.FEATURE_STORE_FAULT) is S.VERIFYING
    life.look(feature_store=CLEAR)
    assert life.state(C.FEATURE_STORE_FAULT) is S.RESOLVED
    assert life.tried(C.FEATURE_STORE_FAULT) == [(Action.FALLBACK, Result.VERIFIED)]


def test_a_store_that_stays_away_until_its_last_answers_are_too_old_is_a_persons_matter() -> None:
    life = served().look(feature_store=RAISED)
    life.look(59.0, feature_store=RAISED)
    assert life.state(C.FEATURE_STORE_FAULT) is S.VERIFYING
    life.look(2.0, feature_store=RAISED)
    assert life.state(C.FEATURE_STORE_FAULT) is S.ESCALATED
    assert life.look(feature_store=CLEAR).state(C.FEATURE_STORE_FAULT) is S.RESOLVED


def test_scores_that_moved_are_told_to_people_and_end_by_themselves() -> None:
    life = served(heals_per_day=1, cooldown_minutes=600.0).look(served_scores=RAISED)
    assert life.state(C.SCORE_SHIFT) is S.VERIFYING
    assert life.tried(C.SCORE_SHIFT) == [(Action.NOTIFY, Result.ACTED)]
    life.look(served_scores=RAISED).look(served_scores=UNKNOWN)
    assert life.state(C.SCORE_SHIFT) is S.VERIFYING, "doubt does not clear"
    life.look(served_scores=CLEAR)
    assert life.state(C.SCORE_SHIFT) is S.RESOLVED
    assert life.tried(C.SCORE_SHIFT) == [(Action.NOTIFY, Result.VERIFIED)]
    assert not life.situation().heals
    assert [str(d.payload["action"]) for d in life.decisions()] == ["notify"]


def test_soon_after_a_promotion_too_nothing_is_taken_back_for_scores_alone() -> None:
    life = released().look(served_scores=RAISED)
    assert C.BAD_RELEASE not in life.incidents
    assert life.tried(C.SCORE_SHIFT) == [(Action.NOTIFY, Result.ACTED)]


def test_what_a_batch_shows_takes_the_place_of_scores_that_moved_and_is_healed_as_ever() -> None:
    life = served(heals_per_day=1, cooldown_minutes=600.0).look(served_scores=RAISED)
    life.see(**HARMED).look(served_scores=RAISED)
    assert life.state(C.SCORE_SHIFT) is S.VERIFYING, "that has no name yet"
    life.see(**HARMED).settle()
    assert life.state(C.HARMFUL_DRIFT) is S.HEALING
    assert life.state(C.SCORE_SHIFT) is S.RESOLVED
    assert "taken for harmful_drift" in life.incidents[C.SCORE_SHIFT].reason
    assert not any(is_look(batch) for batch in life.incidents[C.HARMFUL_DRIFT].batch_ids), "no batch to learn from"
    life.look(served_scores=RAISED)
    assert len(life.every(C.SCORE_SHIFT)) == 1


@pytest.mark.parametrize("first", [{"drift": RAISED, "performance": UNKNOWN}, {"quality": RAISED}, {"prior": RAISED}])
def test_scores_that_move_after_a_batch_did_are_no_incident_of_their_own(first: dict[str, Status]) -> None:
    life = served()
    life.see(**{**WELL, **first})
    assert isinstance(life.look(served_scores=RAISED), Served)
    assert C.SCORE_SHIFT not in life.incidents


def test_a_fallback_holds_up_no_heal() -> None:
    life = served().look(feature_store=RAISED)
    life.see(**HARMED).see(**HARMED).settle()
    assert life.state(C.HARMFUL_DRIFT) is S.HEALING
