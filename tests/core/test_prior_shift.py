"""Shares and classes: the interval against statsmodels, the rules one by one, and that doubt is never clear."""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.prior_shift import ConditionalComparison, assess_conditional, assess_prior
from selfheal_assets.core.statistics.proportions import newcombe_difference

RAISED, CLEAR, UNKNOWN = Status.RAISED, Status.CLEAR, Status.UNKNOWN
PRIOR = {"p_threshold": 0.05, "min_move": 0.05, "min_rows": 100}
CONDITIONAL = {"p_threshold": 0.05, "psi_threshold": 0.2, "min_rows": 50}
counts = st.integers(0, 400).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows)))


def test_newcombe_example_of_the_docstring():
    found = newcombe_difference(30, 100, 45, 100)
    assert found == pytest.approx((0.15, 0.0159, 0.2768), abs=5e-5)


@pytest.mark.parametrize("sides", [(30, 100, 45, 100), (56, 70, 48, 80), (0, 10, 5, 12), (9, 10, 3, 10), (0, 5, 5, 5)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_newcombe_is_that_of_statsmodels(sides, confidence):
    from statsmodels.stats.proportion import confint_proportions_2indep

    first, first_rows, second, second_rows = sides
    found = newcombe_difference(*sides, 1 - confidence)
    expected = confint_proportions_2indep(
        second, second_rows, first, first_rows, method="newcomb", compare="diff", alpha=1 - confidence
    )
    assert (found.low, found.high) == pytest.approx(tuple(np.clip(expected, -1, 1)))


def test_newcombe_published_example():
    """Newcombe 1998, table II, case (a): 56 of 70 against 48 of 80 has 0.0524 to 0.3339."""
    found = newcombe_difference(48, 80, 56, 70)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@given(counts, counts, st.floats(0.001, 0.5))
@settings(max_examples=150, deadline=None)
def test_newcombe_holds_the_value_within_range_and_turns_with_the_sides(first, second, alpha):
    found, turned = newcombe_difference(*first, *second, alpha), newcombe_difference(*second, *first, alpha)
    if not first[1] or not second[1]:
        assert math.isnan(found.value)
        assert math.isnan(found.low)
        return
    assert -1.0 <= found.low <= found.value <= found.high <= 1.0
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize("wrong", [(-1, 5, 1, 5), (6, 5, 1, 5), (1, 5, 6, 5), (1, 5, 0, -1)])
def test_impossible_counts_are_refused(wrong):
    with pytest.raises(SelfhealError, match="between 0 and all rows"):
        assess_prior(*wrong, **PRIOR)


@pytest.mark.parametrize(
    ("sides", "status", "words"),
    [
        ((300, 1_000, 150, 500), CLEAR, "no change"),
        ((300, 1_000, 250, 500), RAISED, "moved by +0.2"),
        ((300, 1_000, 50, 500), RAISED, "moved by -0.2"),
        ((300, 1_000, 0, 500), RAISED, "moved by -0.3"),
        ((300, 1_000, 500, 500), RAISED, "moved by +0.7"),
        ((30_000, 100_000, 33_000, 100_000), CLEAR, "too little to matter"),
        ((300, 1_000, 36, 100), UNKNOWN, "chance explains it"),
        ((300, 1_000, 90, 99), UNKNOWN, "too few rows"),
        ((90, 99, 300, 1_000), UNKNOWN, "too few rows"),
        ((300, 1_000, 0, 0), UNKNOWN, "too few rows"),
        ((0, 0, 0, 0), UNKNOWN, "too few rows"),
    ],
)
def test_rules_of_the_prior(sides, status, words):
    found = assess_prior(*sides, **PRIOR)
    assert found.status is status, found.reason
    assert words in found.reason
    assert found.threshold == 0.05
    assert found.rows == sides[3]
    json.dumps(asdict(found), allow_nan=False)


def test_figures_of_the_prior():
    found = assess_prior(300, 1_000, 250, 500, **PRIOR)
    assert (found.share_reference, found.share_batch) == (0.3, 0.5)
    assert found.value == pytest.approx(0.2)
    assert found.interval == pytest.approx(newcombe_difference(300, 1_000, 250, 500)[1:])


@pytest.mark.parametrize(
    ("change", "status"),
    [({"p_threshold": 1e-20}, UNKNOWN), ({"min_move": 0.3}, CLEAR), ({"min_rows": 501}, UNKNOWN), ({}, RAISED)],
)
def test_each_threshold_of_the_prior_counts(change, status):
    assert assess_prior(300, 1_000, 250, 500, **{**PRIOR, **change}).status is status


@pytest.mark.parametrize("change", [{"min_move": -0.1}, {"min_move": math.nan}, {"p_threshold": 0.0}])
def test_thresholds_that_mean_nothing_are_refused(change):
    with pytest.raises(SelfhealError):
        assess_prior(300, 1_000, 250, 500, **{**PRIOR, **change})


@given(counts, counts, st.floats(0.001, 0.5), st.floats(0.0, 0.5), st.integers(0, 300))
@settings(max_examples=200, deadline=None)
def test_the_prior_is_never_raised_by_chance_nor_clear_in_doubt(first, second, p_threshold, min_move, min_rows):
    found = assess_prior(*first, *second, p_threshold=p_threshold, min_move=min_move, min_rows=min_rows)
    assert found.reason
    if found.status is not UNKNOWN:
        assert min(first[1], second[1]) >= max(min_rows, 1)
        assert (abs(found.value) < min_move) == (found.status is CLEAR)
    if found.status is RAISED:
        assert found.interval[0] > 0.0 or found.interval[1] < 0.0
    mirrored = assess_prior(
        first[1] - first[0],
        first[1],
        second[1] - second[0],
        second[1],
        p_threshold=p_threshold,
        min_move=min_move,
        min_rows=min_rows,
    )
    assert mirrored.value == (None if found.value is None else pytest.approx(-found.value, abs=1e-12))


def test_false_alarms_of_the_prior_are_as_rare_as_declared():
    rng = np.random.default_rng(0)
    raised = [
        assess_prior(int(a), 400, int(b), 400, p_threshold=0.05, min_move=0.0, min_rows=1).status is RAISED
        for a, b in rng.binomial(400, 0.2, (2_000, 2))
    ]
    assert np.mean(raised) == pytest.approx(0.05, abs=0.02)


def compared(feature="x", label=0, p_value=0.5, psi=0.01, reference_rows=500, batch_rows=200):
    return ConditionalComparison(
        feature=feature, label=label, p_value=p_value, psi=psi, reference_rows=reference_rows, batch_rows=batch_rows
    )


STILL = (compared("x", 0), compared("x", 1), compared("y", 0), compared("y", 1))


@pytest.mark.parametrize(
    ("first", "status", "words"),
    [
        (compared(), CLEAR, "none of 4 comparisons"),
        (compared(p_value=1e-6, psi=0.4), RAISED, "1 of 4 comparisons within a class moved: x of label 0"),
        (compared(p_value=1e-6, psi=0.19), CLEAR, "none of 4"),
        (compared(p_value=0.2, psi=0.4), CLEAR, "none of 4"),
        (compared(p_value=0.02, psi=0.4), CLEAR, "adjusted p 0.08"),
        (compared(batch_rows=49), UNKNOWN, "too few rows: 500 in the reference, 49 in the batch"),
        (compared(reference_rows=49, p_value=1e-6, psi=3.0), UNKNOWN, "too few rows"),
        (compared(p_value=None), UNKNOWN, "not measured"),
        (compared(psi=None), UNKNOWN, "not measured"),
        (compared(p_value=math.nan), UNKNOWN, "not measured"),
        (compared(psi=math.nan), UNKNOWN, "not measured"),
    ],
)
def test_rules_of_the_classes(first, status, words):
    found = assess_conditional((first, *STILL[1:]), **CONDITIONAL)
    assert found.status is status, found.reason
    assert words in found.reason
    assert len(found.features) == 4
    assert found.features[0].status is status
    json.dumps(asdict(found), allow_nan=False)


def test_nothing_compared_is_unknown():
    assert assess_conditional((), **CONDITIONAL).status is UNKNOWN


@pytest.mark.parametrize("lacking", range(4))
def test_a_class_that_was_not_compared_is_unknown(lacking):
    found = assess_conditional(STILL[:lacking] + STILL[lacking + 1 :], **CONDITIONAL)
    assert found.status is UNKNOWN
    assert STILL[lacking].feature in found.reason


def test_a_move_is_raised_beside_what_is_not_known():
    moved = compared("y", 1, p_value=1e-9, psi=0.9)
    found = assess_conditional((compared(p_value=None), STILL[1], STILL[2], moved), **CONDITIONAL)
    assert found.status is RAISED
    assert found.value == 0.9


def test_what_is_no_p_value_is_refused():
    with pytest.raises(SelfhealError, match="between 0 and 1"):
        assess_conditional((compared(p_value=1.5),), **CONDITIONAL)


@st.composite
def any_comparisons(draw):
    odd = st.sampled_from([None, math.nan, 0.0, 1e-9, 0.04, 0.6, 1.0])
    return [
        compared(
            draw(st.sampled_from("xyz")), label, draw(odd), draw(odd), *draw(st.tuples(*[st.integers(0, 100)] * 2))
        )
        for label in draw(st.lists(st.sampled_from([0, 1]), max_size=8))
    ]


@given(any_comparisons(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_classes_are_clear_only_when_every_comparison_is_and_order_changes_nothing(comparisons, random):
    found = assess_conditional(comparisons, **CONDITIONAL)
    statuses = [one.status for one in found.features]
    assert len(statuses) == len(comparisons)
    assert (found.status is RAISED) == (RAISED in statuses)
    if found.status is CLEAR:
        assert set(statuses) == {CLEAR}
        assert {one.label for one in comparisons} == {0, 1}
        assert all(min(one.reference_rows, one.batch_rows) >= 50 for one in comparisons)
    shuffled = list(comparisons)
    random.shuffle(shuffled)
    again = assess_conditional(shuffled, **CONDITIONAL)
    assert (again.status, again.value) == (found.status, found.value)
    assert sorted(map(str, again.features)) == sorted(map(str, found.features))


@given(any_comparisons(), st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_forgetting_a_measurement_never_makes_the_classes_clear(comparisons, place):
    before = assess_conditional(comparisons, **CONDITIONAL).status
    if place < len(comparisons):
        comparisons[place] = replace(comparisons[place], p_value=None)
        after = assess_conditional(comparisons, **CONDITIONAL).status
        assert after is not CLEAR
        assert before is not UNKNOWN or after in (UNKNOWN, RAISED)
