"""What the policy decides about an incident: each alternative in its turn, with what was not done and why."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from brain import spec
from given import HOUR, NOW, SPEC, attempt, heal, in_state, incident, situation

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.cost import sums
from selfheal_assets.core.diagnosis_rules import Derived
from selfheal_assets.core.holds import (
    Hold,
    first_model_held,
)
from selfheal_assets.core.incident import Incident, IncidentState, Result
from selfheal_assets.core.model_spec import ActionsSpec, CostSpec, ModelSpec
from selfheal_assets.core.policy import (
    Decision,
    DecisionStatus,
    alternatives,
    decide,
    first_model,
    next_action,
)
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.windows import State

DECIDED, _, SUPPRESSED = DecisionStatus
A, R = Action, Result
DEAR = CostSpec(value_per_unit_day=1.0, horizon_days=1.0, per_heal=100.0)
FAILED = incident(Cause.CONCEPT_DRIFT, IncidentState.ESCALATED, attempt(A.RETRAIN, R.REFUSED, 50.0), id="old")
TRIED = incident(Cause.HARMFUL_DRIFT, IncidentState.DIAGNOSED, attempt(A.REINSTATE, R.NONE_FITS, 1.0))


def acting(**actions: tuple[str, ...]) -> ModelSpec:
    return replace(SPEC, actions=ActionsSpec(**actions))  # type: ignore[arg-type]


def decided(one: Incident | None = None, model: ModelSpec = SPEC, **changes: Any) -> Decision:
    return decide(model, one or incident(), situation(**changes))


# Which alternative.


@pytest.mark.parametrize(
    ("cause", "actions"),
    [
        (Cause.BAD_RELEASE, [A.ROLLBACK, A.RETRAIN]),
        (Cause.SERVING_FAULT, [A.RESTART, A.ESCALATE]),
        (Cause.FEATURE_STORE_FAULT, [A.FALLBACK, A.ESCALATE]),
        (Cause.BAD_DATA, [A.QUARANTINE]),
        (Cause.UPSTREAM_STALLED, [A.NOTIFY]),
        (Cause.PRIOR_SHIFT, [A.RECALIBRATE, A.RETRAIN]),
        (Cause.HARMFUL_DRIFT, [A.REINSTATE, A.RETRAIN]),
        (Cause.CONCEPT_DRIFT, [A.REINSTATE, A.RETRAIN]),
        (Cause.TRAINING_FAULT, [A.ESCALATE]),
        (Cause.BENIGN_DRIFT, [A.NOTHING]),
        (Cause.SCORE_SHIFT, [A.NOTIFY]),
        (Cause.UNKNOWN, [A.NOTHING]),
        (Cause.NO_CHAMPION, [A.NOTHING]),
        (Cause.NONE, [A.NOTHING]),
    ],
)
def test_the_alternatives_by_cause(cause: Cause, actions: list[Action]) -> None:
    assert list(alternatives(SPEC, cause)) == actions


@pytest.mark.parametrize("cause", vars(ActionsSpec()))
def test_every_declared_list_of_actions_is_obeyed(cause: str) -> None:
    for actions in (("refresh_reference",), ("notify", "retrain"), ("restart", "nothing", "escalate")):
        assert list(alternatives(acting(**{cause: actions}), Cause(cause))) == list(actions)


BOTH_REFUSED = [(A.REINSTATE, R.REFUSED), (A.RETRAIN, R.REFUSED)]
TURNS: list[tuple[str, tuple[str, ...], list[tuple[Action, Result]], int, bool, Action | None]] = [
    # what is declared, what was tried, the retries, whether there is an archive, whose turn it is
    ("the first", ("reinstate", "retrain"), [], 1, True, A.REINSTATE),
    ("the second", ("reinstate", "retrain"), [(A.REINSTATE, R.NONE_FITS)], 1, True, A.RETRAIN),
    (
        "the last again",
        ("reinstate", "retrain"),
        [(A.REINSTATE, R.REFUSED), (A.RETRAIN, R.REFUSED)],
        1,
        True,
        A.RETRAIN,
    ),
    ("no retry", ("reinstate", "retrain"), BOTH_REFUSED, 0, True, None),
    ("retries spent", ("retrain",), [(A.RETRAIN, R.FAILED)] * 2, 1, True, None),
    ("the third retry", ("retrain",), [(A.RETRAIN, R.FAILED)] * 3, 3, True, A.RETRAIN),
    ("no archive", ("reinstate", "retrain"), [], 1, False, A.RETRAIN),
    ("no archive, retry", ("reinstate", "retrain"), [(A.RETRAIN, R.REFUSED)], 1, False, A.RETRAIN),
    ("no archive, spent", ("reinstate", "retrain"), [(A.RETRAIN, R.REFUSED)] * 2, 1, False, None),
    ("an archive since", ("reinstate", "retrain"), [(A.RETRAIN, R.NOT_VERIFIED)], 1, True, A.RETRAIN),
    ("an archive since, spent", ("reinstate", "retrain"), [(A.RETRAIN, R.NOT_VERIFIED)] * 2, 1, True, None),
    ("nothing but the archive", ("reinstate",), [], 1, False, A.REINSTATE),
    ("declared anew", ("recalibrate", "retrain"), [(A.ROLLBACK, R.FAILED)], 1, True, A.RECALIBRATE),
]


@pytest.mark.parametrize(
    ("declared", "tried", "retries", "archive", "turn"), [row[1:] for row in TURNS], ids=[row[0] for row in TURNS]
)
def test_whose_turn_it_is(
    declared: tuple[str, ...], tried: list[tuple[Action, Result]], retries: int, archive: bool, turn: Action | None
) -> None:
    model = replace(acting(harmful_drift=declared), policy=spec(retries=retries).policy)
    one = incident(
        Cause.HARMFUL_DRIFT, IncidentState.DIAGNOSED, *(attempt(a, r, 9.0 - n) for n, (a, r) in enumerate(tried))
    )
    assert next_action(model, one, situation(archived=("0",) if archive else ())) is turn


def test_when_nothing_is_left_it_is_escalated_and_says_what_was_tried() -> None:
    tried = [attempt(A.REINSTATE, R.NONE_FITS, 4), attempt(A.RETRAIN, R.REFUSED, 3), attempt(A.RETRAIN, R.FAILED, 2)]
    found = decided(incident(Cause.HARMFUL_DRIFT, IncidentState.DIAGNOSED, *tried))
    assert (found.action, found.status, found.attempt) == (A.ESCALATE, DECIDED, 4)
    assert found.refused == (
        "reinstate: none fits",
        "retrain: refused",
        "retrain: failed",
        "every alternative was tried, the last 2 times",
    )


def test_an_escalation_is_held_by_nothing() -> None:
    spent = incident(Cause.HARMFUL_DRIFT, IncidentState.DIAGNOSED, *[attempt(A.RETRAIN, R.FAILED)] * 2)
    model = replace(acting(harmful_drift=("retrain",)), policy=spec(autonomy="observe").policy)
    assert decided(spent, model, switched_off=frozenset({"*"})).action is A.ESCALATE
    assert decided(spent, model).status is DECIDED


@pytest.mark.parametrize(
    ("one", "archived", "refused"),
    [
        (incident(), ("0",), ["retrain: only if reinstate does not help"]),
        (incident(), (), ["reinstate: no other version has served before"]),
        (
            incident(Cause.HARMFUL_DRIFT, IncidentState.DIAGNOSED, attempt(A.REINSTATE, R.NOT_VERIFIED)),
            ("0",),
            ["reinstate: not verified"],
        ),
        (incident(Cause.BAD_DATA), ("0",), ["retrain: a model must not learn from broken data"]),
        (incident(Cause.BENIGN_DRIFT), ("0",), ["retrain: the champion still performs on the moved data"]),
        (incident(Cause.UPSTREAM_STALLED), ("0",), ["retrain: there is nothing new to learn from"]),
        (
            incident(Cause.SCORE_SHIFT),
            ("0",),
            ["rollback, retrain: scores alone do not say that the champion does worse"],
        ),
        (incident(Cause.PRIOR_SHIFT), ("0",), ["retrain: only if recalibrate does not help"]),
    ],
)
def test_what_was_considered_and_not_done(one: Incident, archived: tuple[str, ...], refused: list[str]) -> None:
    harm = in_state(Derived.HARM, State.RAISED)
    found = decided(one, archived=archived, evidence=tuple(harm))
    assert found.status is DECIDED
    assert list(found.refused) == refused


# The decision.


def test_an_id_depends_on_the_incident_the_action_and_the_attempt_alone() -> None:
    first = decided()
    same = [
        decided(now=NOW + timedelta(days=3)),
        decided(seen=99, learnable=("b2", "b3"), labelled_rows=5, champion_version="7"),
        decided(incident(batch_ids=("b1", "b2", "b3"), diagnosis="other words")),
        decided(model=spec(autonomy="observe")),
        decided(model=spec(autonomy="recommend")),
        decided(switched_off=frozenset({"*"})),
    ]
    assert {one.id for one in same} == {first.id}
    others = [
        decided(incident(id="i2")),
        decided(TRIED),
        decided(archived=()),
        decided(model=replace(SPEC, name="other")),
        decided(incident(Cause.BAD_RELEASE)),
        decided(incident(Cause.HARMFUL_DRIFT, IncidentState.DIAGNOSED, *TRIED.tried, attempt(A.RETRAIN, R.REFUSED))),
    ]
    assert len({one.id for one in others} | {first.id}) == len(others) + 1
    assert all(len(one.id) == 12 and int(one.id, 16) >= 0 for one in others)


def test_a_decision_s_record() -> None:
    found = decided(TRIED, replace(SPEC, cost=replace(DEAR, per_heal=0.01)))
    money = sums(replace(DEAR, per_heal=0.01), A.RETRAIN, None, SPEC.performance.max_drop, ())
    assert money is not None
    assert found.to_record(NOW) == Record(
        key=f"decision:{found.id}",
        model="m",
        kind=RecordKind.DECISION,
        subject=found.id,
        status="DECIDED",
        event_time=NOW,
        recorded_at=NOW,
        payload={
            "incident": "i1",
            "cause": "harmful_drift",
            "action": "retrain",
            "champion_version": "1",
            "attempt": 2,
            "reason": "because",
            "refused": ["reinstate: none fits"],
            "hold": None,
            "batch_ids": ["b1", "b2"],
            "training_batches": ["b1", "b2"],
            "champion_metric": 0.9,
            "seen": 40,
            "policy": replace(SPEC, cost=replace(DEAR, per_heal=0.01)).fingerprint(),
            "cost": money.words,
        },
    )


def test_what_is_held_back_has_a_record_beside_the_one_that_may_come_of_it() -> None:
    keys = {
        decided(**changes).to_record(NOW).key
        for changes in ({}, {"switched_off": frozenset({"*"})}, {"learnable": ("a1",)})
    }
    name = decided().id
    assert keys == {f"decision:{name}", f"decision:{name}:flag", f"decision:{name}:no_labels"}
    held = decided(switched_off=frozenset({"*"})).to_record(NOW)
    assert (held.subject, held.status, held.payload["hold"]) == (f"{name}:flag", "SUPPRESSED", "flag")


# The first model.


def test_the_first_model_is_held_by_flags_autonomy_old_data_and_its_own_failures_alone() -> None:
    def first(model: ModelSpec = SPEC, **changes: Any) -> Decision:
        return first_model(model, situation(champion_version=None, champion_metric=None, **changes), 1)

    spent = tuple(heal(hours, cause=Cause.NO_CHAMPION) for hours in (1, 2, 3, 4, 5))
    found = first(replace(spec(heals_per_day=1, cooldown_minutes=0.0), cost=DEAR), heals=spent, ended=(FAILED,))
    assert (found.action, found.status, found.incident, found.cause) == (A.RETRAIN, DECIDED, None, Cause.NO_CHAMPION)
    assert found.reason == "no champion yet; 2 clean batches with 2000 labelled rows"
    assert found.details["training_batches"] == ["b1", "b2"]
    assert first(spec(autonomy="recommend")).status is DECIDED
    for held, hold in (
        (first(spec(autonomy="observe")), Hold.AUTONOMY),
        (first(switched_off=frozenset({"*"})), Hold.FLAG),
        (first(switched_off=frozenset({A.RETRAIN})), Hold.FLAG),
        (first(heals=(heal(1, training_batches=["b1", "b2"]),)), Hold.NO_NEW_DATA),
        (first(spec(cooldown_minutes=900.0), heals=spent), Hold.COOLDOWN),
    ):
        assert (held.status, held.hold) == (SUPPRESSED, hold)
    assert first_model_held(SPEC, situation(champion_version=None)) is None


def test_each_try_of_the_first_model_has_an_id_of_its_own() -> None:
    given_ = situation(champion_version=None)
    assert first_model(SPEC, given_, 1).id == first_model(SPEC, replace(given_, now=NOW + HOUR), 1).id
    assert first_model(SPEC, given_, 1).id != first_model(SPEC, given_, 2).id
