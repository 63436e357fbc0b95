"""A rollout step by step: what a look leads to, what a person may do, and the way to the ledger and back."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.adapters.ledger_payload import canonical_payload, stored_form
from selfheal_assets.core.errors import RolloutError
from selfheal_assets.core.gates import GateResult, Verdict
from selfheal_assets.core.record import RecordKind
from selfheal_assets.core.rollout import aborted, advance, judged, opened, paused, resumed
from selfheal_assets.core.rollout_history import rejected, skips_steps
from selfheal_assets.core.rollout_look import BUCKETS, ArmCounts, Look
from selfheal_assets.core.rollout_state import ENDED, TRANSITIONS, UNDER_WAY, Rollout, RolloutState
from selfheal_assets.core.rollout_traffic import traffic
from selfheal_assets.core.serving_spec import RolloutSpec
from selfheal_assets.core.traffic import Traffic

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SPEC = RolloutSpec(over="requests", steps=(0.1, 0.5, 1.0))
S = RolloutState
LEGAL = {
    "SHADOW": {"SHADOW", "STEP", "BAKE", "ABORTED"},
    "STEP": {"STEP", "BAKE", "ABORTED"},
    "BAKE": {"BAKE", "PROMOTED", "ABORTED"},
    "PROMOTED": set(),
    "ABORTED": set(),
}
"""Written out once more: a change of the machine is a decision, not a slip."""


def begun(spec: RolloutSpec = SPEC, *, skip_steps: bool = False) -> Rollout:
    return opened(spec, decision_id="d1", model="m", champion="1", challenger="2", now=NOW, skip_steps=skip_steps)


def arm(rows: int, *, errors: int = 0, slow: int = 0, answered: int | None = None) -> ArmCounts:
    """Scores spread over all buckets alike."""
    each, rest = divmod(rows - errors, BUCKETS)
    scores = tuple(each + (place < rest) for place in range(BUCKETS))
    return ArmCounts(scores=scores, errors=errors, slow=slow, answered=rows if answered is None else answered)


def after(earlier: Rollout, rows: int = 5_000, bad: int = 0) -> Look:
    """So many more rows of both; `bad` that the challenger could not score."""
    return Look(
        champion=earlier.began.champion + arm(rows),
        challenger=earlier.began.challenger + arm(rows, errors=bad),
    )


def passed(rollout: Rollout, spec: RolloutSpec = SPEC, minutes: float = 20.0) -> Rollout:
    return advance(rollout, spec, after(rollout), rollout.step_since + minutes * MINUTE)


def at(state: RolloutState) -> Rollout:
    """A rollout that came to the state in the ordinary way."""
    rollout = begun()
    if state is S.ABORTED:
        return advance(rollout, SPEC, after(rollout, bad=2_000), NOW + MINUTE)
    while rollout.state is not state:
        rollout = passed(rollout)
    return rollout


def test_the_machine_is_the_declared_one() -> None:
    assert {str(state): set(map(str, following)) for state, following in TRANSITIONS.items()} == LEGAL
    assert {S.PROMOTED, S.ABORTED} == ENDED
    assert set(UNDER_WAY) | ENDED == set(RolloutState)


@pytest.mark.parametrize(("before", "then"), list(product(RolloutState, repeat=2)))
def test_each_transition(before: RolloutState, then: RolloutState) -> None:
    rollout = replace(begun(), state=before, transition=4)
    if then in LEGAL[before]:
        following = rollout.to(then, "why", NOW + MINUTE, weight=0.5)
        changed = {"state": then, "reason": "why", "transition": 5, "weight": 0.5, "changed_at": NOW + MINUTE}
        assert following == replace(rollout, **changed)
    else:
        with pytest.raises(RolloutError, match=f"that is {before} may become .*; received {then} for d1"):
            rollout.to(then, "why", NOW)


def test_a_sound_challenger_goes_the_whole_way() -> None:
    way = [begun()]
    while not way[-1].ended:
        way.append(passed(way[-1]))
    assert [(one.state, one.weight, one.step) for one in way] == [
        (S.SHADOW, 0.0, 0),
        (S.STEP, 0.1, 1),
        (S.STEP, 0.5, 2),
        (S.STEP, 1.0, 3),
        (S.BAKE, 1.0, 3),
        (S.PROMOTED, 1.0, 3),
    ]
    assert [one.transition for one in way] == list(range(6))
    assert {one.verdict for one in way[1:]} == {Verdict.PASS}
    assert all(one.results for one in way[1:])
    assert way[4].reference.rows == 4 * 5_000, "what the bake is compared with"


def test_without_a_shadow_it_begins_at_the_first_step() -> None:
    rollout = begun(replace(SPEC, shadow_requests=0))
    assert (rollout.state, rollout.weight, rollout.step) == (S.STEP, 0.1, 1)


def test_a_return_skips_the_steps() -> None:
    rollout = begun(skip_steps=True)
    assert (rollout.state, rollout.weight) == (S.PROMOTED, 1.0)
    assert "7 days" in rollout.reason


def test_one_version_is_no_rollout() -> None:
    with pytest.raises(RolloutError, match="two versions; received 1"):
        opened(SPEC, decision_id="d", model="m", champion="1", challenger="1", now=NOW)


@pytest.mark.parametrize("state", UNDER_WAY)
@pytest.mark.parametrize("held", [False, True])
def test_a_fail_ends_it_at_once(state: RolloutState, held: bool) -> None:
    rollout = at(state)
    rollout = paused(rollout, "ann", rollout.changed_at) if held else rollout
    ended = advance(rollout, SPEC, after(rollout, bad=1_000), rollout.step_since)
    assert (ended.state, ended.weight, ended.verdict, ended.paused_at) == (S.ABORTED, 0.0, Verdict.FAIL, None)
    assert ended.rejected
    assert "could not be scored worse by +0.2" in ended.reason


@pytest.mark.parametrize("state", UNDER_WAY)
def test_too_little_holds(state: RolloutState) -> None:
    rollout = at(state)
    for rows in (0, 1, 150):
        few = replace(rollout, reference=ArmCounts())
        assert advance(few, SPEC, after(few, rows), few.step_since + 30 * MINUTE) is few


@pytest.mark.parametrize(
    ("state", "setting", "short"),
    [
        (S.SHADOW, {"shadow_requests": 5_001}, 60.0),
        (S.STEP, {"step_requests": 5_001}, 60.0),
        (S.STEP, {"step_minutes": 10.0}, 9.9),
        (S.BAKE, {"bake_minutes": 10.0}, 9.9),
        (S.BAKE, {"bake_minutes": 10.0}, -5.0),
    ],
)
def test_a_pass_before_its_time_holds(state: RolloutState, setting: dict[str, float], short: float) -> None:
    spec, rollout = replace(SPEC, **setting), at(state)
    assert judged(rollout, spec, after(rollout)).verdict is Verdict.PASS
    assert passed(rollout, spec, short) is rollout
    eased = replace(SPEC, bake_minutes=9.0, shadow_requests=5_000, step_requests=5_000, step_minutes=9.0)
    assert passed(rollout, eased, 10.0).transition == rollout.transition + 1


def test_the_next_step_is_that_of_the_declaration_as_it_is() -> None:
    rollout = at(S.STEP)
    assert passed(rollout, replace(SPEC, steps=(0.05, 0.3, 1.0))).weight == 0.3
    assert passed(replace(rollout, weight=1.0), replace(SPEC, steps=(1.0,))).state is S.BAKE


def test_the_same_look_again_changes_nothing() -> None:
    rollout = begun()
    look, now = after(rollout), NOW + MINUTE
    following = advance(rollout, SPEC, look, now)
    assert following.weight == 0.1
    assert advance(following, SPEC, look, now) is following
    assert advance(rollout, SPEC, look, now) == following


def test_only_what_was_counted_since_is_judged() -> None:
    old = Look(champion=arm(9_000), challenger=arm(9_000, errors=3_000))
    rollout = opened(SPEC, decision_id="d", model="m", champion="1", challenger="2", now=NOW, look=old)
    assert judged(rollout, SPEC, old).verdict is Verdict.INCONCLUSIVE
    assert passed(rollout).state is S.STEP


def test_counts_that_begin_anew_begin_the_period_anew() -> None:
    rollout = passed(begun())
    restarted = Look(champion=arm(10), challenger=arm(10, errors=10))
    again = advance(rollout, SPEC, restarted, NOW + 90 * MINUTE)
    assert (again.state, again.weight, again.step_since) == (S.STEP, 0.1, NOW + 90 * MINUTE)
    assert again.began == restarted
    assert "began anew" in again.reason
    assert passed(again).weight == 0.5
    late = advance(rollout, SPEC, restarted, rollout.deadline)
    assert (late.state, late.rejected) == (S.ABORTED, False)


TIMEOUTS = [
    ({}, 150, S.ABORTED),
    ({"on_timeout": "promote"}, 150, S.BAKE),
    ({"on_timeout": "promote"}, 0, S.ABORTED),
    ({"on_timeout": "promote", "require_quality": True}, 150, S.ABORTED),
]


@pytest.mark.parametrize(("setting", "rows", "then"), TIMEOUTS)
@pytest.mark.parametrize("state", [S.SHADOW, S.STEP])
def test_time_runs_out(setting: dict[str, object], rows: int, then: RolloutState, state: RolloutState) -> None:
    spec, rollout = replace(SPEC, **setting), at(state)
    look = after(rollout, rows)
    assert advance(rollout, spec, look, rollout.deadline - MINUTE) is rollout
    ended = advance(rollout, spec, look, rollout.deadline)
    assert ended.state is then
    assert "not decided within 24 hours" in ended.reason
    assert not ended.rejected


@pytest.mark.parametrize(("on_timeout", "then"), [("abort", S.ABORTED), ("promote", S.BAKE)])
def test_a_step_that_passes_too_late_is_the_last(on_timeout: str, then: RolloutState) -> None:
    spec = replace(SPEC, on_timeout=on_timeout, bake_minutes=0.0)
    rollout = begun(spec)
    ended = advance(rollout, spec, after(rollout), rollout.deadline)
    assert ended.state is then
    assert ended.reason.startswith("not decided within 24 hours")
    assert advance(ended, spec, after(rollout), rollout.deadline) is ended, "the same look again"


@pytest.mark.parametrize(("on_timeout", "then"), [("abort", S.ABORTED), ("promote", S.PROMOTED)])
def test_time_runs_out_in_the_bake_after_the_bake(on_timeout: str, then: RolloutState) -> None:
    spec = replace(SPEC, on_timeout=on_timeout)
    rollout = replace(at(S.BAKE), deadline=NOW)
    look = after(rollout, 150)
    assert advance(rollout, spec, look, rollout.step_since + 14 * MINUTE) is rollout
    assert advance(rollout, spec, look, rollout.step_since + 15 * MINUTE).state is then


def test_a_person_holds_it_and_lets_it_go_on() -> None:
    rollout = at(S.STEP)
    since = rollout.changed_at + MINUTE
    held = paused(rollout, "ann", since)
    assert (held.state, held.weight, held.reason) == (S.STEP, 0.1, "ann holds it")
    assert passed(held) is held
    assert advance(held, SPEC, after(held, 0), held.deadline + 99 * MINUTE) is held
    on = resumed(held, "ben", since + 60 * MINUTE)
    assert (on.paused_at, on.deadline) == (None, rollout.deadline + 60 * MINUTE)
    assert passed(on).weight == 0.5


def test_a_person_ends_it() -> None:
    ended = aborted(at(S.BAKE), "ann", "a holiday", NOW)
    assert (ended.state, ended.weight, ended.reason) == (S.ABORTED, 0.0, "ann ended it: a holiday")
    assert not ended.rejected, "it may be tried again"


@pytest.mark.parametrize(
    ("act", "on", "wanted"),
    [
        (lambda r: paused(r, "a", NOW), at(S.PROMOTED), "under way and not paused; received d1, which is PROMOTED"),
        (lambda r: paused(r, "a", NOW), paused(at(S.STEP), "b", NOW), "not paused; received d1, which is STEP, paused"),
        (lambda r: resumed(r, "a", NOW), at(S.STEP), "must be paused; received d1, which is STEP"),
        (lambda r: aborted(r, "a", "b", NOW), at(S.ABORTED), "must be under way; received d1, which is ABORTED"),
    ],
)
def test_what_a_person_may_not_do(act: Callable[[Rollout], Rollout], on: Rollout, wanted: str) -> None:
    with pytest.raises(RolloutError, match=wanted):
        act(on)


BAKING = Traffic(champion="2", standby="1", rollout="d1")
TRAFFIC = [
    ("1", None, Traffic(champion="1")),
    ("1", begun(), Traffic(champion="1", challenger="2", weight=0.0, rollout="d1")),
    ("1", at(S.STEP), Traffic(champion="1", challenger="2", weight=0.1, rollout="d1")),
    ("1", paused(at(S.STEP), "ann", NOW), Traffic(champion="1", challenger="2", weight=0.1, rollout="d1")),
    ("2", at(S.STEP), BAKING),
    ("1", at(S.BAKE), BAKING),
    ("2", at(S.BAKE), BAKING),
    ("2", at(S.PROMOTED), Traffic(champion="2")),
    ("1", at(S.PROMOTED), Traffic(champion="1")),
    ("2", at(S.ABORTED), Traffic(champion="1")),
    ("1", at(S.ABORTED), Traffic(champion="1")),
    *(("3", at(state), Traffic(champion="3")) for state in RolloutState),
]


@pytest.mark.parametrize(("alias", "rollout", "expected"), TRAFFIC)
def test_who_answers(alias: str, rollout: Rollout | None, expected: Traffic) -> None:
    assert traffic(alias, rollout.to_record() if rollout else None) == expected


def test_without_a_champion_nobody_answers() -> None:
    assert traffic(None, begun().to_record()) is None


def test_rejected_is_what_the_judge_found_worse() -> None:
    others = [at(state) for state in RolloutState if state is not S.ABORTED]
    assert rejected([*others, aborted(at(S.STEP), "ann", "why", NOW)]) == frozenset()
    assert rejected([*others, replace(at(S.ABORTED), challenger="9")]) == {"9"}


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("history", "version", "days", "skips"),
    [
        ([], "1", 1.0, False),
        ([at(S.PROMOTED)], "1", 6.9, True),
        ([at(S.PROMOTED)], "1", 7.1, False),
        ([at(S.PROMOTED)], "2", 6.9, True),
        ([at(S.STEP)], "1", 6.9, True),
        ([at(S.STEP)], "2", 0.0, False),
        ([at(S.ABORTED)], "1", 6.9, True),
        ([at(S.ABORTED)], "2", 0.1, False),
        ([at(S.PROMOTED), at(S.ABORTED)], "2", 0.1, False),
        ([at(S.PROMOTED)], "3", 0.1, False),
    ],
)
def test_who_may_return_at_once(history: list[Rollout], version: str, days: float, skips: bool) -> None:
    ends = at(S.PROMOTED).step_since
    assert skips_steps(SPEC, history, version, ends + days * DAY) is skips
    assert not skips_steps(replace(SPEC, rollback_window_days=0.0), history, version, ends)


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
moments = st.datetimes(timezones=st.just(UTC))
numbers = st.floats(-1e9, 1e9)
counts = st.builds(
    ArmCounts,
    scores=st.lists(st.integers(0, 10**9), min_size=BUCKETS, max_size=BUCKETS).map(tuple),
    errors=st.integers(0, 10**9),
    slow=st.integers(0, 10**9),
    answered=st.integers(0, 10**9),
    business=st.integers(0, 10**9),
    business_sum=st.floats(0, 1e9),
)
results = st.builds(
    GateResult,
    name=words,
    verdict=st.sampled_from(Verdict),
    value=st.one_of(st.none(), numbers),
    threshold=st.one_of(st.none(), numbers),
    interval=st.one_of(st.none(), st.tuples(numbers, numbers)),
    reason=words,
)
rollouts = st.builds(
    Rollout,
    **dict.fromkeys(("id", "model", "champion", "challenger", "reason"), words),
    **dict.fromkeys(("opened_at", "step_since", "deadline", "changed_at"), moments),
    state=st.sampled_from(RolloutState),
    weight=st.floats(0.0, 1.0),
    step=st.integers(0, 9),
    transition=st.integers(0, 99),
    verdict=st.sampled_from(Verdict),
    results=st.lists(results, max_size=3).map(tuple),
    began=st.builds(Look, champion=counts, challenger=counts),
    reference=counts,
    paused_at=st.one_of(st.none(), moments),
)


@given(rollouts)
def test_a_rollout_comes_back_from_the_ledger(one: Rollout) -> None:
    found = Rollout.from_record(stored_form(one.to_record()))
    assert found == one
    assert [type(getattr(found, f.name)) for f in fields(one)] == [type(getattr(one, f.name)) for f in fields(one)]


def test_its_record() -> None:
    rollout = at(S.BAKE)
    record = rollout.to_record()
    assert (record.key, record.kind, record.subject, record.status) == (
        "rollout:d1:4",
        RecordKind.ROLLOUT,
        "d1",
        "BAKE",
    )
    assert (record.model, record.event_time, record.recorded_at) == ("m", rollout.changed_at, rollout.changed_at)
    payload = json.loads(canonical_payload(record))
    assert [one["name"] for one in payload["results"]] == ["errors", "slow", "scores"]
    assert not {"id", "model", "state"} & payload.keys(), "what the record has needs no second place"


def test_a_record_from_before_distances_were_expected_is_read() -> None:
    record = begun().to_record()
    payload = {name: value for name, value in record.payload.items() if name != "expected_distance"}
    assert Rollout.from_record(replace(record, payload=payload)).expected_distance == 0.0


@pytest.mark.parametrize(
    "change", [{"verdict": "MAYBE"}, {"began": 1}, {"opened_at": None}, {"more": 1}, {"results": [{}]}]
)
def test_a_record_of_another_making_is_refused(change: dict[str, object]) -> None:
    record = begun().to_record()
    with pytest.raises(RolloutError, match="received rollout:d1:0"):
        Rollout.from_record(replace(record, payload={**record.payload, **change}))
