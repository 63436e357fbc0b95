"""What is decided about every cause, and what no history, budget or order of evidence can bring about."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from selfheal_assets.core.diagnosis import Cause, Diagnosis, diagnose
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.model_spec import DataSpec, DriftSpec, FeaturesSpec, ModelSpec, PolicySpec
from selfheal_assets.core.policy import ACTIONS, Action, Decision, DecisionStatus, decide
from selfheal_assets.core.record import Record, RecordKind

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DECIDED, SUPPRESSED = DecisionStatus.DECIDED, DecisionStatus.SUPPRESSED


def spec(drift: DriftSpec | None = None, **policy: Any) -> ModelSpec:
    return ModelSpec(
        name="m",
        description="A model.",
        owners=("team:tests",),
        data=DataSpec(event_id="id", event_timestamp="at", label="y", entities=("account",)),
        features=FeaturesSpec(service="s"),
        drift=drift or DriftSpec(),
        policy=PolicySpec(**policy),
    )


def retrained(minutes_ago: float, *, attempt: int = 1, **changes: Any) -> Record:
    """A DECISION record of an earlier retraining."""
    payload: dict[str, Any] = {
        "cause": Cause.HARMFUL_DRIFT,
        "action": Action.RETRAIN,
        "champion_version": "1",
        "attempt": attempt,
        "training_batches": ["old"],
    }
    status = changes.pop("status", DECIDED)
    at = NOW - minutes_ago * MINUTE
    return Record(
        key=f"decision:{minutes_ago}:{attempt}:{status}",
        model="m",
        kind=RecordKind.DECISION,
        subject=f"d{minutes_ago}",
        status=status,
        event_time=at,
        recorded_at=at,
        payload={**payload, **changes},
    )


def decided(
    cause: Cause,
    past: Sequence[Record] = (),
    *,
    model: ModelSpec | None = None,
    batch_ids: tuple[str, ...] = ("b1",),
    **changes: Any,
) -> Decision:
    given_ = {"champion_version": "1", "training_batches": ["b0", "b1"], "now": NOW, **changes}
    return decide(model or spec(), Diagnosis(cause=cause, reason="because", batch_ids=batch_ids), past=past, **given_)


@pytest.mark.parametrize(
    ("cause", "action", "refused"),
    [
        (Cause.NONE, Action.NOTHING, ""),
        (Cause.NO_CHAMPION, Action.RETRAIN, ""),
        (Cause.BAD_DATA, Action.QUARANTINE, "retrain: a model must not learn from broken data"),
        (Cause.BENIGN_DRIFT, Action.NOTHING, "retrain: the champion still performs on the moved data"),
        (Cause.HARMFUL_DRIFT, Action.RETRAIN, ""),
        (Cause.CONCEPT_DRIFT, Action.RETRAIN, ""),
        (Cause.BAD_RELEASE, Action.ROLLBACK, "retrain: the previous version performs on the same data"),
        (Cause.UNKNOWN, Action.NOTHING, "retrain: the evidence is not enough to touch production"),
    ],
)
def test_the_policy_by_cause(cause: Cause, action: Action, refused: str) -> None:
    found = decided(cause)
    assert (found.action, found.status) == (action, DECIDED)
    assert found.refused == ((refused,) if refused else ())
    assert found.reason == "because"
    assert found.batch_ids == ("b1",)


def test_every_cause_has_an_action() -> None:
    assert set(ACTIONS) == set(Cause)


HELD = [
    # past retrainings, the policy, why it is held back ("" when it is not)
    ([], {}, ""),
    ([retrained(29)], {}, "cooldown of 30 minutes holds until 2026-01-10 12:01:00 UTC"),
    ([retrained(30)], {}, ""),
    ([retrained(29)], {"cooldown_minutes": 0.0}, ""),
    ([retrained(31 + n) for n in range(4)], {}, "budget of 4 heals a day is spent"),
    ([retrained(31 + n) for n in range(3)], {}, ""),
    ([retrained(24 * 60 + n) for n in range(4)], {}, ""),
    ([retrained(31), retrained(24 * 60 - 1)], {"heals_per_day": 2}, "budget of 2 heals a day is spent"),
    ([retrained(1, status=SUPPRESSED)], {}, ""),
    ([retrained(1, action=Action.QUARANTINE, cause=Cause.BAD_DATA)], {}, ""),
    ([retrained(1, cause=Cause.NO_CHAMPION)], {}, ""),
    ([retrained(1, champion_version="0")], {}, "cooldown"),
    ([retrained(1, cause=Cause.UNKNOWN, champion_version=None)], {}, "cooldown"),
    ([retrained(500, training_batches=["b0", "b1"])], {}, "no new clean batch has come since the last attempt"),
    ([retrained(500, training_batches=["b0", "b1"]), retrained(400)], {}, ""),
    ([], {"autonomy": "observe"}, "autonomy is 'observe'"),
]


@pytest.mark.parametrize(("past", "policy", "why"), HELD)
@pytest.mark.parametrize("cause", [Cause.HARMFUL_DRIFT, Cause.CONCEPT_DRIFT])
def test_when_a_retraining_is_held_back(cause: Cause, past: list[Record], policy: dict[str, Any], why: str) -> None:
    found = decided(cause, past, model=spec(**policy))
    assert found.action is Action.RETRAIN
    assert found.status is (SUPPRESSED if why else DECIDED)
    assert len(found.refused) == bool(why)
    assert all(why in reason for reason in found.refused)


def test_the_first_model_needs_no_budget_but_new_data() -> None:
    past = [retrained(n, champion_version=None, cause=Cause.NO_CHAMPION, attempt=9 - n) for n in range(1, 9)]
    assert decided(Cause.NO_CHAMPION, past, champion_version=None).status is DECIDED
    again = decided(Cause.NO_CHAMPION, past, champion_version=None, training_batches=["old"])
    assert again.status is SUPPRESSED


def test_an_observed_model_is_never_trained_even_at_first() -> None:
    assert decided(Cause.NO_CHAMPION, model=spec(autonomy="observe"), champion_version=None).status is SUPPRESSED


def test_the_same_decision_has_one_id_and_another_attempt_another() -> None:
    first = decided(Cause.HARMFUL_DRIFT)
    assert first.id == decided(Cause.HARMFUL_DRIFT).id
    assert first.id == decided(Cause.HARMFUL_DRIFT, batch_ids=("b1", "b2")).id, "one retraining, while evidence mounts"
    second = decided(Cause.HARMFUL_DRIFT, [retrained(60)])
    assert (first.attempt, second.attempt) == (1, 2)
    ids = {
        first.id,
        second.id,
        decided(Cause.CONCEPT_DRIFT).id,
        decided(Cause.HARMFUL_DRIFT, champion_version="2").id,
        decided(Cause.HARMFUL_DRIFT, model=spec(autonomy="observe")).id,
        decided(Cause.HARMFUL_DRIFT, model=dataclasses.replace(spec(), name="other")).id,
        decided(Cause.BAD_DATA).id,
        decided(Cause.BAD_DATA, batch_ids=("b2",)).id,
        decided(Cause.BENIGN_DRIFT).id,
    }
    assert len(ids) == 9
    assert all(len(found) == 12 and int(found, 16) >= 0 for found in ids)


def test_an_id_is_never_used_again_when_the_oldest_history_is_left_out() -> None:
    """A sensor reads a bounded number of past decisions: the attempts that it sees do not begin at 1."""
    past = [retrained(2_000 * n, attempt=10 - n) for n in range(1, 10)]
    whole, cut = decided(Cause.HARMFUL_DRIFT, past), decided(Cause.HARMFUL_DRIFT, past[:2])
    assert whole.attempt == cut.attempt == 10
    assert whole.id == cut.id


def test_a_decision_s_record() -> None:
    decision = decided(Cause.BAD_DATA)
    record = decision.to_record(NOW - MINUTE, NOW, rows=7)
    assert record == Record(
        key=f"decision:{decision.id}",
        model="m",
        kind=RecordKind.DECISION,
        subject=decision.id,
        status="DECIDED",
        event_time=NOW - MINUTE,
        recorded_at=NOW,
        payload={
            "cause": "bad_data",
            "action": "quarantine",
            "champion_version": "1",
            "attempt": 1,
            "reason": "because",
            "refused": ["retrain: a model must not learn from broken data"],
            "batch_ids": ["b1"],
            "rows": 7,
        },
    )


# Properties. Whatever happened before, and whatever was seen.

versions = st.sampled_from([None, "1", "2"])
batches = st.lists(st.sampled_from(["b0", "b1", "b2", "b3"]), unique=True, max_size=4)
causes = st.sampled_from(list(Cause))
moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 12), timezones=st.just(UTC))
policies = st.builds(
    PolicySpec,
    autonomy=st.sampled_from(["observe", "heal"]),
    cooldown_minutes=st.floats(0.0, 10_000.0),
    heals_per_day=st.integers(1, 5),
    strong_psi=st.floats(0.01, 2.0),
)
drifts = st.tuples(st.integers(1, 4), st.integers(1, 4)).map(
    lambda pair: DriftSpec(persistence_k=min(pair), persistence_n=max(pair))
)
specs = st.builds(lambda drift, policy: dataclasses.replace(spec(drift), policy=policy), drifts, policies)


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    found = []
    for place in range(draw(st.integers(0, 6))):
        changes = {
            "cause": draw(causes),
            "action": draw(st.sampled_from(list(Action))),
            "champion_version": draw(versions),
            "training_batches": draw(batches),
            "status": draw(st.sampled_from([DECIDED, SUPPRESSED])),
        }
        record = retrained(draw(st.floats(0.0, 3_000.0)), attempt=draw(st.integers(1, 4)), **changes)
        found.append(dataclasses.replace(record, sequence=place + 1))
    return found


@st.composite
def evidences(draw: st.DrawFn) -> list[Evidence]:
    statuses = draw(st.sampled_from([list(Status), [Status.UNKNOWN, Status.RAISED]]))
    return [
        Evidence(
            model="m",
            signal=signal,
            status=draw(st.sampled_from(statuses)),
            batch_id=f"b{day}",
            champion_version="1",
            event_time=NOW + timedelta(days=day),
            value=draw(st.one_of(st.none(), st.floats(0.0, 2.0), st.just(float("nan")))),
            threshold=None,
            sample_size=100,
            reason="",
        )
        for signal in Signal
        for day in range(draw(st.integers(0, 5)))
    ]


def is_carried_out(decision: Decision) -> bool:
    return decision.action is Action.RETRAIN and decision.status is DECIDED


@given(specs, evidences(), histories(), batches)
def test_doubt_never_retrains_unless_drift_is_strong_and_persistent(
    model: ModelSpec, evidence: list[Evidence], past: list[Record], learnable: list[str]
) -> None:
    diagnosis = diagnose(model, evidence)
    decision = decide(model, diagnosis, champion_version="1", past=past, training_batches=learnable, now=NOW)

    def recent(signal: Signal) -> list[Evidence]:
        return [e for e in evidence if e.signal is signal][-model.drift.persistence_n :]

    harmed = sum(e.status is Status.RAISED for e in recent(Signal.PERFORMANCE))
    moved = [e for e in recent(Signal.DRIFT) if e.status is Status.RAISED]
    strong = any((e.value or 0.0) >= model.policy.strong_psi for e in moved)
    if is_carried_out(decision) and harmed < model.drift.persistence_k:
        assert harmed == 0
        assert strong
        assert len(moved) >= model.drift.persistence_k
        assert not any(e.status is Status.CLEAR for e in recent(Signal.PERFORMANCE)[-1:])


@given(specs, causes, histories(), batches, moments)
def test_a_spent_budget_or_cooldown_never_retrains(
    model: ModelSpec, cause: Cause, past: list[Record], learnable: list[str], now: datetime
) -> None:
    assume(cause is not Cause.NO_CHAMPION)
    decision = decided(cause, past, model=model, training_batches=learnable, now=now)
    heals = [
        r.recorded_at
        for r in past
        if r.payload["action"] == Action.RETRAIN and r.status == DECIDED and r.payload["cause"] != Cause.NO_CHAMPION
    ]
    cooling = any(now - at < timedelta(minutes=model.policy.cooldown_minutes) for at in heals)
    spent = sum(at > now - timedelta(days=1) for at in heals) >= model.policy.heals_per_day
    if cooling or spent:
        assert not is_carried_out(decision)


@given(causes, histories(), batches, moments, versions)
def test_an_observed_model_is_never_retrained(
    cause: Cause, past: list[Record], learnable: list[str], now: datetime, version: str | None
) -> None:
    model = spec(autonomy="observe")
    found = decided(cause, past, model=model, training_batches=learnable, now=now, champion_version=version)
    assert not is_carried_out(found)


@given(specs, histories(), batches, moments, versions)
def test_bad_data_never_retrains(
    model: ModelSpec, past: list[Record], learnable: list[str], now: datetime, version: str | None
) -> None:
    changes: dict[str, Any] = {"training_batches": learnable, "now": now, "champion_version": version}
    found = decided(Cause.BAD_DATA, past, model=model, **changes)
    assert (found.action, found.status) == (Action.QUARANTINE, DECIDED)


@given(specs, causes, histories(), batches, versions, st.randoms(use_true_random=False))
def test_the_same_arguments_give_the_same_decision_in_any_order(
    model: ModelSpec, cause: Cause, past: list[Record], learnable: list[str], version: str | None, random: Any
) -> None:
    changes: dict[str, Any] = {"model": model, "training_batches": learnable, "champion_version": version}
    shuffled = list(past)
    random.shuffle(shuffled)
    first, second = decided(cause, past, **changes), decided(cause, shuffled, **changes)
    assert first == second
    assert first.id == second.id


@given(specs, causes, histories(), batches, moments, moments)
def test_the_id_never_depends_on_the_clock(
    model: ModelSpec, cause: Cause, past: list[Record], learnable: list[str], now: datetime, later: datetime
) -> None:
    first, second = (decided(cause, past, model=model, training_batches=learnable, now=at) for at in (now, later))
    assert (first.id == second.id) is (first.status is second.status), "the clock can only hold back or let go"


@given(specs, st.sampled_from([c for c in Cause if ACTIONS[c] is Action.RETRAIN]), histories(), batches)
def test_what_was_decided_is_not_decided_again_after_it_ended(
    model: ModelSpec, cause: Cause, past: list[Record], learnable: list[str]
) -> None:
    """A retraining that ended enters the history; the next decision to retrain has an id of its own."""
    rested, later = NOW + timedelta(days=10), NOW + timedelta(days=40)
    first = decided(cause, past, model=model, training_batches=learnable, now=rested)
    assume(is_carried_out(first))
    ended = first.to_record(rested, rested, training_batches=learnable)
    changes: dict[str, Any] = {"now": later, "training_batches": [*learnable, "new"]}
    second = decided(cause, [*past, ended], model=model, **changes)
    assert second.attempt == first.attempt + 1
    assert second.id != first.id
