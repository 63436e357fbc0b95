"""What holds an action back, each hold in its words, and who must approve what nothing holds."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from brain import spec
from given import HOUR, NOW, SPEC, attempt, heal, history, in_state, incident, situation

from selfheal_assets.core.causes import ON_SERVERS, TOUCHES_PRODUCTION, Action, Cause
from selfheal_assets.core.diagnosis_rules import Derived
from selfheal_assets.core.evidence import Signal
from selfheal_assets.core.holds import (
    Hold,
    approved_held,
    failures_in_a_row,
    held_back,
    needs_approval,
)
from selfheal_assets.core.incident import FAILURES, Attempt, Incident, IncidentState, Result
from selfheal_assets.core.model_spec import CostSpec, ModelSpec
from selfheal_assets.core.policy import (
    Decision,
    DecisionStatus,
    decide,
)
from selfheal_assets.core.situation import Situation
from selfheal_assets.core.windows import State

DECIDED, AWAITING, SUPPRESSED = DecisionStatus
A, R = Action, Result


def decided(one: Incident | None = None, model: ModelSpec = SPEC, **changes: Any) -> Decision:
    return decide(model, one or incident(), situation(**changes))


# What holds it back.

DEAR = CostSpec(value_per_unit_day=1.0, horizon_days=1.0, per_heal=100.0)
FAILED = incident(Cause.CONCEPT_DRIFT, IncidentState.ESCALATED, attempt(A.RETRAIN, R.REFUSED, 50.0), id="old")
TRIED = incident(Cause.HARMFUL_DRIFT, IncidentState.DIAGNOSED, attempt(A.REINSTATE, R.NONE_FITS, 1.0))

Case = tuple[str, Hold | None, str, Incident, ModelSpec, dict[str, Any]]
HOLDS: list[Case] = [
    ("free", None, "", incident(), SPEC, {}),
    (
        "action off",
        Hold.FLAG,
        "reinstate is switched off; see `selfheal flags`",
        incident(),
        SPEC,
        {"switched_off": frozenset({A.REINSTATE})},
    ),
    (
        "everything off",
        Hold.FLAG,
        "every action is switched off; see `selfheal flags`",
        incident(),
        spec(autonomy="observe"),
        {"switched_off": frozenset({"*"})},
    ),
    ("another off", None, "", incident(), SPEC, {"switched_off": frozenset({A.RETRAIN})}),
    (
        "observe",
        Hold.AUTONOMY,
        "autonomy is 'observe': decisions are recorded, not carried out",
        incident(),
        spec(autonomy="observe"),
        {},
    ),
    (
        "learned already",
        Hold.NO_NEW_DATA,
        "no new clean batch has come since the last retraining",
        TRIED,
        SPEC,
        {"heals": (heal(30, training_batches=["b1", "b2"]), heal(40))},
    ),
    (
        "learned before that",
        None,
        "",
        TRIED,
        SPEC,
        {"heals": (heal(30), heal(40, training_batches=["b1", "b2"]))},
    ),
    ("reinstated, not learned", None, "", incident(), SPEC, {"heals": (heal(30, training_batches=["b1", "b2"]),)}),
    (
        "no labels",
        Hold.NO_LABELS,
        "none of its batches has labels to learn from and to judge by yet",
        incident(),
        SPEC,
        {"learnable": ("a8", "a9")},
    ),
    ("labels of one", None, "", incident(), SPEC, {"learnable": ("a9", "b1")}),
    (
        "no server",
        Hold.NO_SERVER,
        "selfheal runs no model server here that could carry it out",
        incident(Cause.SERVING_FAULT),
        SPEC,
        {},
    ),
    (
        "no harm",
        Hold.NO_HARM,
        "the share of label 1 moved, and no harm by it is seen",
        incident(Cause.PRIOR_SHIFT),
        SPEC,
        {"evidence": tuple(in_state(Derived.HARM, State.CLEAR))},
    ),
    *[
        (f"harm by {signal}", None, "", incident(Cause.PRIOR_SHIFT), SPEC, {"evidence": tuple(history(signal, "R"))})
        for signal in (Signal.PERFORMANCE, Signal.ESTIMATED_PERFORMANCE, Signal.RISK)
    ],
    ("no labels to roll back", None, "", incident(Cause.BAD_RELEASE), SPEC, {"learnable": ()}),
    (
        "after a failure",
        Hold.EVIDENCE,
        "2 batches speak for it, 3 are needed after 1 failed heals in a row",
        incident(),
        SPEC,
        {"ended": (FAILED,)},
    ),
    ("after a failure, more", None, "", incident(batch_ids=("b1", "b2", "b3")), SPEC, {"ended": (FAILED,)}),
    ("after a failure, rollback", None, "", incident(Cause.BAD_RELEASE), SPEC, {"ended": (FAILED,)}),
    (
        "cooling",
        Hold.COOLDOWN,
        "cooldown of 90 minutes until 2026-03-10 12:30:00 UTC",
        incident(),
        spec(cooldown_minutes=90.0),
        {"heals": (heal(1),)},
    ),
    ("cooled", None, "", incident(), spec(cooldown_minutes=60.0), {"heals": (heal(1),)}),
    ("cooling, next alternative", None, "", TRIED, spec(cooldown_minutes=90.0), {"heals": (heal(1, A.REINSTATE),)}),
    (
        "cooling, the same again",
        Hold.COOLDOWN,
        "cooldown of 90 minutes until 2026-03-10 12:30:00 UTC",
        incident(Cause.HARMFUL_DRIFT, IncidentState.DIAGNOSED, attempt(A.RETRAIN, R.NONE_FITS)),
        spec(cooldown_minutes=90.0),
        {"heals": (heal(1),)},
    ),
    ("cooling, rollback", None, "", incident(Cause.BAD_RELEASE), spec(cooldown_minutes=90.0), {"heals": (heal(1),)}),
    (
        "cooling, the first model",
        None,
        "",
        incident(),
        spec(cooldown_minutes=90.0),
        {"heals": (heal(1, cause=Cause.NO_CHAMPION),)},
    ),
    (
        "budget",
        Hold.BUDGET,
        "budget of 2 heals a day is spent",
        incident(),
        spec(heals_per_day=2),
        {"heals": (heal(2), heal(23.9))},
    ),
    ("budget of yesterday", None, "", incident(), spec(heals_per_day=2), {"heals": (heal(2), heal(24))}),
    (
        "budget, rollback",
        Hold.BUDGET,
        "budget of 1 heals a day is spent",
        incident(Cause.BAD_RELEASE),
        spec(heals_per_day=1),
        {"heals": (heal(2),)},
    ),
    (
        "budget, next alternative",
        Hold.BUDGET,
        "budget of 1 heals a day is spent",
        TRIED,
        spec(heals_per_day=1),
        {"heals": (heal(1, A.REINSTATE),)},
    ),
    (
        "budget, the first model",
        None,
        "",
        incident(),
        spec(heals_per_day=1),
        {"heals": (heal(2, cause=Cause.NO_CHAMPION),)},
    ),
    (
        "cost",
        Hold.COST,
        "it does not pay: expected loss 0.05 = drop 0.0500 (assumed) x 1 a day x 1 days; "
        "cost 100.00 = 0.000 h (0 past) x 0 + 100",
        incident(),
        replace(SPEC, cost=DEAR),
        {},
    ),
    ("it pays", None, "", incident(drop=0.2), replace(SPEC, cost=replace(DEAR, per_heal=0.1)), {}),
    ("not of production", None, "", incident(Cause.BAD_DATA), spec(autonomy="observe"), {"switched_off": {"*"}}),
]


@pytest.mark.parametrize(
    ("hold", "words", "one", "model", "changes"), [case[1:] for case in HOLDS], ids=[case[0] for case in HOLDS]
)
def test_what_holds_an_action_back(
    hold: Hold | None, words: str, one: Incident, model: ModelSpec, changes: dict[str, Any]
) -> None:
    found = decided(one, model, **changes)
    assert found.hold is hold
    assert found.status is (SUPPRESSED if hold else DECIDED)
    if hold:
        assert found.refused[0] == f"{found.action}: {words}"
    else:
        assert held_back(model, one, found.action, situation(**changes)) is None


def test_every_hold_is_in_the_table() -> None:
    assert {case[1] for case in HOLDS if case[1]} == set(Hold) - {Hold.APPROVAL}


@pytest.mark.parametrize("action", sorted(set(Action) - TOUCHES_PRODUCTION))
def test_what_does_not_touch_production_is_never_held(action: Action) -> None:
    spent = situation(heals=tuple(heal(hours) for hours in range(1, 9)), switched_off=frozenset({"*"}), learnable=())
    model = replace(spec(autonomy="observe", heals_per_day=1), cost=DEAR)
    assert held_back(model, incident(), action, spent) is None


@pytest.mark.parametrize("action", sorted(TOUCHES_PRODUCTION - ON_SERVERS))
def test_a_spent_budget_holds_whatever_touches_production(action: Action) -> None:
    held = held_back(spec(heals_per_day=1), incident(), action, situation(heals=(heal(1),)))
    assert held is not None
    assert held.hold is Hold.BUDGET


@pytest.mark.parametrize("action", sorted(ON_SERVERS))
def test_what_needs_a_model_server_is_never_let_through_without_one(action: Action) -> None:
    held = held_back(SPEC, incident(Cause.SERVING_FAULT), action, situation())
    assert held is not None
    assert held.hold is Hold.NO_SERVER


def test_a_rollback_needs_neither_labels_nor_further_evidence() -> None:
    assert held_back(SPEC, incident(), A.ROLLBACK, situation(learnable=(), ended=(FAILED,))) is None


def test_what_a_person_approved_is_still_held_by_flags_cooldown_and_budget_and_not_by_cost() -> None:
    def held(model: ModelSpec, **changes: Any) -> Hold | None:
        found = approved_held(model, incident(), A.RETRAIN, situation(**changes))
        return found.hold if found else None

    assert held(SPEC) is None
    assert held(replace(SPEC, cost=DEAR), ended=(FAILED,), learnable=()) is None
    assert held(SPEC, switched_off=frozenset({A.RETRAIN})) is Hold.FLAG
    assert held(spec(autonomy="observe")) is Hold.AUTONOMY
    assert held(spec(autonomy="recommend")) is None
    assert held(SPEC, heals=(heal(30, training_batches=["b1", "b2"]),)) is Hold.NO_NEW_DATA
    assert held(spec(cooldown_minutes=90.0), heals=(heal(1),)) is Hold.COOLDOWN
    assert held(spec(heals_per_day=1), heals=(heal(1),)) is Hold.BUDGET


def test_what_waited_for_approval_counts_from_when_it_was_let_through() -> None:
    waited = replace(heal(40), let_through=NOW - HOUR)
    for model in (spec(heals_per_day=1), spec(cooldown_minutes=90.0)):
        assert decided(model=model, heals=(waited,)).status is SUPPRESSED
        assert decided(model=model, heals=(heal(40),)).status is DECIDED


# Who must approve.


def heals_of(*results: Result) -> Situation:
    """Ended incidents, one a heal, the newest first as the ledger gives them."""
    tried = [attempt(A.RETRAIN, result, 100.0 - number) for number, result in enumerate(results)]
    ended = [incident(Cause.CONCEPT_DRIFT, IncidentState.RESOLVED, one, id=f"e{n}") for n, one in enumerate(tried)]
    return situation(ended=tuple(reversed(ended)))


def test_recommend_waits_for_a_person() -> None:
    found = decided(model=spec(autonomy="recommend", approval_hours=5.0))
    assert (found.status, found.action, found.hold) == (AWAITING, A.REINSTATE, None)
    assert found.details["approval"] == {
        "why": "autonomy is 'recommend'",
        "expires": (NOW + timedelta(hours=5)).isoformat(),
    }
    assert decided(incident(Cause.BAD_DATA), spec(autonomy="recommend")).status is DECIDED


F, V = R.REFUSED, R.VERIFIED
THEN = "more than 50%: until that is mended people approve"


@pytest.mark.parametrize(
    ("results", "why"),
    [
        ([], None),
        ([F, F], None),
        ([F, F, F], f"3 of the last 3 heals failed, {THEN}"),
        ([F, F, V], f"2 of the last 3 heals failed, {THEN}"),
        ([F, V, F, V], None),
        ([F, F, F, V, V, V], None),
        ([F, F, F, F, V, V, V], None),
        (
            [V, V, V, F, F, F, R.FAILED],
            f"4 of the last 6 heals failed, {THEN}",
        ),
        ([F, R.NONE_FITS, F, R.DECLINED, R.ACTED, R.UNDER_WAY], None),
        (
            [R.FAILED, R.NOT_VERIFIED, R.ROLLED_BACK],
            f"3 of the last 3 heals failed, {THEN}",
        ),
    ],
)
def test_the_share_of_failed_heals_takes_the_autonomy(results: list[Result], why: str | None) -> None:
    assert needs_approval(SPEC, heals_of(*results)) == why


def test_what_people_must_approve_after_failures_says_so() -> None:
    one = incident(batch_ids=tuple(f"b{n}" for n in range(9)))
    found = decide(SPEC, one, replace(heals_of(F, F, F), learnable=("b1",)))
    assert found.status is AWAITING
    assert found.details["approval"]["why"].startswith("3 of the last 3 heals failed")


def test_failures_in_a_row_end_with_a_heal_that_was_verified() -> None:
    assert failures_in_a_row(SPEC, heals_of()) == 0
    assert failures_in_a_row(SPEC, heals_of(F, F, F)) == 3
    assert failures_in_a_row(SPEC, heals_of(F, F, V, F)) == 1
    assert failures_in_a_row(SPEC, heals_of(F, F, V)) == 0
    assert failures_in_a_row(SPEC, heals_of(F, R.NONE_FITS, R.DECLINED)) == 1
    assert failures_in_a_row(spec(failures_remembered=2), heals_of(F, F, F)) == 2


def test_what_did_not_touch_production_is_no_heal() -> None:
    told: tuple[Attempt, ...] = tuple(attempt(A.NOTIFY, result, 9.0) for result in FAILURES)
    assert (
        failures_in_a_row(SPEC, situation(open=(incident(Cause.UPSTREAM_STALLED, IncidentState.VERIFYING, *told),)))
        == 0
    )
