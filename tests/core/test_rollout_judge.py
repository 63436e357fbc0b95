"""The judge of a rollout: what passes, what fails, what is not known, and what it promises over many looks."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from selfheal_assets.core.errors import RolloutError, SelfhealError
from selfheal_assets.core.gates import GateResult, Verdict
from selfheal_assets.core.rollout_judge import judge, periods
from selfheal_assets.core.rollout_look import BUCKETS, ArmCounts, Look, look_of_rows, score_distance
from selfheal_assets.core.serving_spec import RolloutSpec

SPEC = RolloutSpec(over="requests")
FLAT = (1_000,) * BUCKETS
LOW = (20_000, *(0,) * (BUCKETS - 1))
PASS, FAIL, DOUBT = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def look(champion: dict[str, Any] | None = None, differences: tuple[float, ...] = (), **challenger: Any) -> Look:
    return Look(
        champion=ArmCounts(**{"scores": FLAT, **(champion or {})}),
        challenger=ArmCounts(**{"scores": FLAT, **challenger}),
        loss_differences=differences,
    )


def found(name: str, one: Look, spec: RolloutSpec = SPEC, **more: bool) -> GateResult:
    return {result.name: result for result in judge(spec, one, **more).results}[name]


def few(rows: int) -> tuple[int, ...]:
    return (rows // BUCKETS,) * BUCKETS


def differences(mean: float, rows: int = 4_000, seed: int = 0) -> tuple[float, ...]:
    return tuple(np.clip(np.random.default_rng(seed).normal(mean, 0.05, rows), -1.0, 1.0).tolist())


CASES: list[tuple[str, Look, Verdict]] = [
    ("errors", look(), PASS),
    ("errors", look(errors=1_000), FAIL),
    ("errors", look({"errors": 1_000}, errors=1_000), DOUBT),
    ("errors", look({"errors": 1_000}), PASS),
    ("errors", look({"scores": few(400)}, scores=few(400)), DOUBT),
    ("errors", look({"scores": few(400)}, scores=few(400), errors=60), FAIL),
    ("errors", look(errors=120), PASS),
    ("slow", look(), PASS),
    ("slow", look({"slow": 10}, slow=2_000), FAIL),
    ("slow", look({"slow": 2_000}, slow=10), PASS),
    ("scores", look(), PASS),
    ("scores", look(scores=LOW), FAIL),
    ("scores", look({"scores": few(200)}, scores=few(200)), DOUBT),
    ("scores", look({"scores": few(60)}, scores=(60, *(0,) * (BUCKETS - 1))), DOUBT),
    ("business", look({"business": 20_000, "business_sum": 6e3}, business=20_000, business_sum=5e3), FAIL),
    ("business", look({"business": 99_000, "business_sum": 3e4}, business=99_000, business_sum=3e4), PASS),
    ("business", look({"business": 100, "business_sum": 30.0}, business=100, business_sum=25.0), DOUBT),
    ("business", look({"business": 100, "business_sum": 30.0}), DOUBT),
    ("quality", look(differences=differences(0.05)), FAIL),
    ("quality", look(differences=differences(0.0)), PASS),
    ("quality", look(differences=differences(-0.05)), PASS),
    ("quality", look(differences=differences(0.05, rows=20)), DOUBT),
]


@pytest.mark.parametrize(("name", "one", "verdict"), CASES)
def test_each_gate(name: str, one: Look, verdict: Verdict) -> None:
    result = found(name, one)
    assert result.verdict is verdict, result.reason
    others = [other.verdict for other in judge(SPEC, one).results if other.name != name]
    assert judge(SPEC, one).verdict is FAIL if verdict is FAIL else FAIL not in others
    if result.interval is not None and result.value is not None:
        assert result.interval[0] <= result.value <= result.interval[1]


def test_a_challenger_worse_within_the_margin_does_not_fail() -> None:
    one = look({"scores": (10**6,) * BUCKETS}, scores=(10**6,) * BUCKETS, errors=80_000)
    result = found("errors", one)
    assert result.interval is not None
    assert result.interval[0] > 0.0, "it is proven to be worse"
    assert result.verdict is PASS


def test_nothing_seen_is_not_passed() -> None:
    judgement = judge(SPEC, Look())
    assert judgement.verdict is DOUBT
    assert {result.name: result.value for result in judgement.results} == {"errors": None, "slow": None, "scores": None}
    assert "nothing to compare" in judgement.reason


@pytest.mark.parametrize("silent", ["champion", "challenger"])
def test_one_side_alone_is_not_passed(silent: str) -> None:
    assert judge(SPEC, replace(look(), **{silent: ArmCounts()})).verdict is DOUBT


IMPOSSIBLE = [
    look(slow=20_001),
    look(errors=-1),
    look({"scores": (-1, *FLAT[1:])}),
    look(business=10, business_sum=11.0),
    look(business=10, business_sum=math.nan),
    look(business=-1, business_sum=0.0),
    look(differences=(0.0, math.nan)),
    look(differences=(0.0, 2.0)),
]


@pytest.mark.parametrize("one", IMPOSSIBLE)
def test_numbers_that_cannot_be_are_no_failure_of_the_model(one: Look) -> None:
    judgement = judge(SPEC, one)
    assert judgement.verdict is DOUBT
    assert any("not judged" in result.reason and result.value is None for result in judgement.results)


def test_without_a_server_nobody_is_slow() -> None:
    names = [result.name for result in judge(replace(SPEC, over="batches"), look()).results]
    assert names == ["errors", "scores"]


@pytest.mark.parametrize(
    ("required", "everybody", "labels", "verdict"),
    [
        (True, True, (), DOUBT),
        (True, False, (), PASS),
        (False, True, (), PASS),
        (False, True, differences(0.0, rows=20), PASS),
        (True, True, differences(0.0, rows=20), DOUBT),
        (True, True, differences(0.0), PASS),
        (False, False, differences(0.05), FAIL),
    ],
)
def test_quality_holds_where_it_is_required(
    required: bool, everybody: bool, labels: tuple[float, ...], verdict: Verdict
) -> None:
    spec = replace(SPEC, require_quality=required)
    assert judge(spec, look(differences=labels), for_everybody=everybody).verdict is verdict


def test_business_values_can_fail_it_and_do_not_hold_it() -> None:
    few_values = look({"business": 9, "business_sum": 4.0}, business=9, business_sum=4.0)
    assert judge(SPEC, few_values).verdict is PASS


def test_the_reason_is_that_of_the_verdict() -> None:
    judgement = judge(SPEC, look({"scores": FLAT}, errors=1_000))
    assert judgement.reason.startswith("errors: share of rows that could not be scored worse by +0.0476")
    assert "scores:" not in judgement.reason


@pytest.mark.parametrize(
    ("name", "setting", "one"),
    [
        ("errors", {"error_margin": 0.03}, look({"errors": 1_000}, errors=1_000)),
        ("slow", {"slow_margin": 0.05}, look({"slow": 4_000}, slow=4_000)),
        ("scores", {"score_distance": 0.6}, look(scores=(*(2_000,) * 10, *(0,) * 10))),
        (
            "business",
            {"business_margin": 0.2},
            look({"business": 1_000, "business_sum": 300.0}, business=1_000, business_sum=300.0),
        ),
        ("quality", {"quality_margin": 0.2}, look(differences=differences(0.05))),
    ],
)
def test_every_margin_is_read(name: str, setting: dict[str, float], one: Look) -> None:
    assert found(name, one).verdict is not PASS
    assert found(name, one, replace(SPEC, **setting)).verdict is PASS


@pytest.mark.parametrize(("expected", "verdict"), [(0.0, FAIL), (0.2, DOUBT), (0.45, PASS), (0.9, PASS)])
def test_scores_may_differ_as_they_did_on_the_holdout(expected: float, verdict: Verdict) -> None:
    """Half of the champion's scores are above all of the challenger's: a distance of 0.5, and 0.3 more is allowed."""
    one = look(scores=(*(2_000,) * 10, *(0,) * 10))
    results = {result.name: result for result in judge(SPEC, one, expected_distance=expected).results}
    assert results["scores"].verdict is verdict
    assert results["scores"].value == pytest.approx(0.5)
    assert results["scores"].threshold == pytest.approx(expected + 0.3)
    assert f"{expected:.3f} on the holdout" in results["scores"].reason


def test_the_distance_is_that_of_the_buckets() -> None:
    assert score_distance([0.1, 0.1, 0.9], [0.1, 0.9, 0.9, 0.9]) == pytest.approx(2 / 3 - 1 / 4)
    assert score_distance([0.5, 0.2], [0.2, 0.5]) == 0.0
    assert math.isnan(score_distance([2.0], [0.5]))


def test_alpha_is_shared_out_among_the_periods_for_a_fail_alone() -> None:
    one = look(errors=400)
    strict = replace(SPEC, steps=tuple(step / 100 for step in range(1, 101)))
    assert (periods(SPEC), periods(strict), periods(replace(SPEC, shadow_requests=0))) == (6, 102, 5)
    usual, wider = found("errors", one).interval, found("errors", one, strict).interval
    assert usual is not None
    assert wider is not None
    assert wider[0] < usual[0]
    assert wider[1] == usual[1]


@pytest.mark.parametrize(("worse", "verdict"), [(0.0, FAIL), (0.03, PASS)])
def test_what_is_promised_over_many_looks(worse: float, verdict: Verdict) -> None:
    """An equal challenger does not fail, and one worse by the margin does not pass, at any of 30 looks."""
    spec, rng, hits = replace(SPEC, alpha=0.2, error_margin=0.03), np.random.default_rng(4), 0
    for _ in range(200):
        one, other, rows = 0, 0, 0
        for _ in range(30):
            one, other, rows = one + rng.binomial(200, 0.05), other + rng.binomial(200, 0.05 + worse), rows + 200
            seen = look({"scores": few(rows), "errors": int(one)}, scores=few(rows), errors=int(other))
            if found("errors", seen, spec).verdict is verdict:
                hits += 1
                break
    assert hits / 200 <= 0.2


def test_a_look_on_rows_without_a_server() -> None:
    one = look_of_rows(
        champion=[0.05, 0.051, 0.9, 1.0, 0.0],
        challenger=[0.05, 0.051, math.nan, 1.2, 1.0],
        label=[0, 1, 1, 0, math.nan],
        challenger_answers=[True, False, True, False, True],
    )
    assert (one.champion.scores[0], one.champion.scores[1], one.champion.scores[-1]) == (2, 1, 1)
    assert (one.champion.errors, one.champion.rows, one.champion.answered) == (0, 5, 2)
    assert (one.challenger.errors, one.challenger.rows, one.challenger.answered) == (2, 5, 2)
    assert one.loss_differences == (0.0, 0.0)
    with pytest.raises(RolloutError, match="same rows; received 1, 2, 1 and 1"):
        look_of_rows([0.1], [0.1, 0.2], [0], [True])
    with pytest.raises(SelfhealError, match="must be numbers"):
        look_of_rows(["x"], [0.1], [0], [True])


def test_quality_on_rows_is_judged() -> None:
    rng = np.random.default_rng(5)
    truth = rng.beta(1.0, 4.0, 6_000)
    label = (rng.random(6_000) < truth).astype(float)
    worse = np.clip(truth + rng.normal(0.0, 0.25, 6_000), 0.0, 1.0)
    one = look_of_rows(truth, worse, label, np.zeros(6_000))
    assert found("quality", one).verdict is FAIL
    assert found("quality", look_of_rows(truth, truth, label, np.zeros(6_000))).verdict is PASS


def test_counts_are_added_and_taken_off() -> None:
    one, other = ArmCounts(scores=FLAT, errors=3, answered=5), ArmCounts(errors=1, slow=2, business=3, business_sum=1.5)
    assert (one + other) - other == one
    assert (other - one).least == -1_000
    assert Look(champion=one).since(Look(challenger=other)).went_back
    assert not Look(champion=one, challenger=other).since(Look(champion=one)).went_back
    with pytest.raises(RolloutError, match="20 equal buckets of 0 to 1; received 2"):
        ArmCounts(scores=(1, 2))
