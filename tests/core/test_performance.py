"""The status of a batch's performance: raised only beyond doubt, and never clear in doubt."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.model_spec import PerformanceSpec
from selfheal_assets.core.performance import assess_performance
from selfheal_assets.core.statistics.bootstrap import metric_interval
from selfheal_assets.core.statistics.delong import auc_interval
from selfheal_assets.core.statistics.metrics import metric

NAMES = ("roc_auc", "average_precision", "log_loss")


def drawn(seed=0, rows=600, lift=2.0):
    """Labels and calibrated scores of a model as good as `lift`; 0 knows nothing."""
    rng = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-lift * rng.normal(size=rows)))
    return (rng.random(rows) < score).astype(float), score


@pytest.mark.parametrize("name", NAMES)
def test_a_healthy_batch_is_clear(name):
    label, score = drawn()
    found = assess_performance(PerformanceSpec(metric=name), label, score, metric(name, *drawn(1)))
    assert found.status is Status.CLEAR
    assert found.value == pytest.approx(metric(name, label, score))
    assert found.interval[0] < found.value < found.interval[1]
    assert (found.rows, found.unlabelled) == (600, 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_harmed_batch_is_raised(name):
    label, score = drawn()
    found = assess_performance(PerformanceSpec(metric=name), label, 1 - score, metric(name, label, score))
    assert found.status is Status.RAISED
    assert "wholly" in found.reason


def test_threshold_lies_on_the_bad_side_of_the_champion():
    label, score = drawn()
    below = assess_performance(PerformanceSpec(metric="roc_auc", max_drop=0.05), label, score, 0.8)
    above = assess_performance(PerformanceSpec(metric="log_loss", max_drop=0.05), label, score, 0.5)
    assert (below.threshold, above.threshold) == pytest.approx((0.75, 0.55))


@pytest.mark.parametrize(("offset", "expected"), [(1e-9, Status.RAISED), (-1e-9, Status.CLEAR)])
def test_raised_exactly_when_the_whole_interval_is_below(offset, expected):
    label, score = drawn()
    spec = PerformanceSpec(metric="roc_auc", max_drop=0.05)
    champion = auc_interval(label, score, spec.confidence).high + spec.max_drop + offset
    assert assess_performance(spec, label, score, champion).status is expected


@pytest.mark.parametrize(("offset", "expected"), [(1e-9, Status.CLEAR), (-1e-9, Status.RAISED)])
def test_raised_exactly_when_the_whole_interval_of_a_loss_is_above(offset, expected):
    label, score = drawn()
    spec = PerformanceSpec(metric="log_loss", max_drop=0.05)
    champion = metric_interval("log_loss", label, score, spec.confidence).low - spec.max_drop + offset
    assert assess_performance(spec, label, score, champion).status is expected


def test_a_bad_point_estimate_within_doubt_is_not_raised():
    label, score = drawn(rows=200)
    champion = metric("roc_auc", label, score) + 0.06
    found = assess_performance(PerformanceSpec(metric="roc_auc", max_drop=0.05), label, score, champion)
    assert found.value < found.threshold
    assert found.status is Status.CLEAR


def test_unlabelled_rows_are_left_out_and_counted():
    label, score = drawn()
    later = np.r_[label, np.full(50, np.nan)]
    found = assess_performance(PerformanceSpec(), later, np.r_[score, np.full(50, 0.5)], 0.8)
    assert (found.rows, found.unlabelled) == (600, 50)
    assert found.value == pytest.approx(metric("roc_auc", label, score))
    assert "50 rows without a label were left out" in found.reason


@pytest.mark.parametrize(("labelled", "status"), [(479, Status.UNKNOWN), (480, Status.CLEAR)])
def test_a_batch_is_judged_when_enough_of_it_has_matured(labelled, status):
    label, score = drawn()
    some = np.where(np.arange(600) < labelled, label, np.nan)
    found = assess_performance(PerformanceSpec(min_matured=0.8), some, score, 0.8)
    assert found.status is status
    assert found.matured == pytest.approx(labelled / 600)
    assert ("less than the 80% required" in found.reason) is (status is Status.UNKNOWN)


def spoilt(values, value, every=1):
    result = np.array(values, dtype=float)
    result[::every] = value
    return result


LABEL, SCORE = drawn()
DOUBTS = {
    "champion missing": (LABEL, SCORE, None),
    "champion nan": (LABEL, SCORE, math.nan),
    "champion infinite": (LABEL, SCORE, math.inf),
    "too few rows": (LABEL[:199], SCORE[:199], 0.8),
    "too few labelled": (np.r_[LABEL[:199], np.full(401, np.nan)], SCORE, 0.8),
    "no rows": ([], [], 0.8),
    "nothing labelled": (spoilt(LABEL, np.nan), SCORE, 0.8),
    "only ones": (spoilt(LABEL, 1), SCORE, 0.8),
    "only zeros": (spoilt(LABEL, 0), SCORE, 0.8),
    "nine ones": (np.r_[np.ones(9), np.zeros(591)], SCORE, 0.8),
    "third class": (spoilt(LABEL, 2, every=300), SCORE, 0.8),
    "nan scores": (LABEL, spoilt(SCORE, np.nan, every=300), 0.8),
    "infinite scores": (LABEL, spoilt(SCORE, np.inf, every=300), 0.8),
    "nan score of an unlabelled row": (np.r_[LABEL, np.nan], np.r_[SCORE, np.nan], 0.8),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", DOUBTS)
def test_doubt_is_unknown_with_a_reason(name, case):
    found = assess_performance(PerformanceSpec(metric=name), *DOUBTS[case])
    assert found.status is Status.UNKNOWN
    assert found.reason
    assert found.value is None
    assert found.interval is None


def test_log_loss_of_what_is_no_probability_is_unknown():
    found = assess_performance(PerformanceSpec(metric="log_loss"), LABEL, SCORE * 10, 0.5)
    assert found.status is Status.UNKNOWN
    assert "probabilities" in found.reason


def test_same_seed_same_answer():
    spec = PerformanceSpec(metric="average_precision")
    assert assess_performance(spec, LABEL, SCORE, 0.8, seed=3) == assess_performance(spec, LABEL, SCORE, 0.8, seed=3)


def test_lengths_that_differ_are_refused():
    with pytest.raises(SelfhealError, match="same length"):
        assess_performance(PerformanceSpec(), LABEL, SCORE[1:], 0.8)


@given(st.sampled_from(NAMES), st.integers(0, 599), st.sampled_from([math.nan, math.inf, -math.inf]))
@settings(max_examples=40, deadline=None)
def test_any_broken_score_is_never_clear(name, row, broken):
    score = SCORE.copy()
    score[row] = broken
    assert assess_performance(PerformanceSpec(metric=name), LABEL, score, 0.1).status is Status.UNKNOWN


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
@settings(max_examples=40, deadline=None)
def test_a_better_champion_never_makes_a_batch_look_healthier(one, other):
    spec = PerformanceSpec(metric="roc_auc")
    low, high = sorted((one, other))
    if assess_performance(spec, LABEL, SCORE, low).status is Status.RAISED:
        assert assess_performance(spec, LABEL, SCORE, high).status is Status.RAISED


def test_false_alarms_of_an_unharmed_model_are_rare():
    spec = PerformanceSpec(metric="roc_auc", max_drop=0.001, min_rows=100)
    truth = metric("roc_auc", *drawn(999, rows=200_000))
    raised = [assess_performance(spec, *drawn(seed, rows=200), truth).status is Status.RAISED for seed in range(300)]
    assert np.mean(raised) <= 0.05
