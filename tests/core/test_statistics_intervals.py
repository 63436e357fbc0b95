"""DeLong and the bootstrap against their definitions, each other, and the cover they promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.statistics.bootstrap import metric_difference, metric_interval
from selfheal_assets.core.statistics.delong import MIN_CLASS_ROWS, auc_difference, auc_interval
from selfheal_assets.core.statistics.metrics import metric, roc_auc

NAMES = ("roc_auc", "average_precision", "log_loss")


def drawn(seed, ones=60, zeros=140, lift=1.0):
    """Labels and probabilities of a model as good as `lift`, with ties."""
    rng = np.random.default_rng(seed)
    label = np.repeat([1.0, 0.0], [ones, zeros])
    return label, np.round(1 / (1 + np.exp(-(rng.normal(size=len(label)) + lift * label))), 2)


def brute_force_components(label, score):
    """V10 and V01 of DeLong 1988 from every pair."""
    ones, zeros = score[label == 1], score[label == 0]
    wins = (ones[:, None] > zeros[None, :]) + 0.5 * (ones[:, None] == zeros[None, :])
    return wins.mean(axis=1), wins.mean(axis=0)


@pytest.mark.parametrize("seed", range(5))
def test_delong_variance_equals_the_brute_force_definition(seed):
    label, score = drawn(seed)
    v10, v01 = brute_force_components(label, score)
    found = auc_interval(label, score, 0.9)
    half_width = 1.6448536 * math.sqrt(v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01))
    assert found.value == pytest.approx(roc_auc(label, score))
    slope = found.value * (1.0 - found.value)
    ends = logit(found.value) + np.array([-1.0, 1.0]) * half_width / slope
    assert (found.low, found.high) == pytest.approx(tuple(expit(ends)))


@pytest.mark.parametrize("seed", range(5))
def test_delong_difference_equals_the_covariance_form(seed):
    label, champion = drawn(seed)
    challenger = np.round((champion + drawn(seed + 100)[1]) / 2, 2)
    (a10, a01), (b10, b01) = brute_force_components(label, challenger), brute_force_components(label, champion)
    covariance = np.cov(a10, b10) / len(a10) + np.cov(a01, b01) / len(a01)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    found = auc_difference(label, challenger, champion)
    assert found.value == pytest.approx(roc_auc(label, challenger) - roc_auc(label, champion))
    assert found.high - found.value == pytest.approx(1.959964 * math.sqrt(variance))


def test_delong_interval_stays_within_the_possible_range():
    label, score = np.repeat([1.0, 0.0], [12, 12]), np.r_[np.linspace(0.5, 0.9, 12), np.linspace(0.0, 0.52, 12)]
    assert auc_interval(label, score, 0.99).low < auc_interval(label, score, 0.9).low < roc_auc(label, score)
    assert roc_auc(label, score) < auc_interval(label, score, 0.9).high < auc_interval(label, score, 0.99).high < 1.0
    perfect = auc_interval(label, label)
    assert perfect == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_bootstrap_interval_holds_the_value_and_repeats_with_its_seed(name):
    label, score = drawn(1)
    found = metric_interval(name, label, score, seed=4)
    assert found.low < found.value < found.high
    assert found.value == metric(name, label, score)
    assert found == metric_interval(name, label, score, seed=4)
    assert found != metric_interval(name, label, score, seed=5)


@pytest.mark.parametrize("name", NAMES)
def test_bootstrap_counts_equal_the_metric_of_resampled_rows(name):
    """The counted statistic is the metric itself, on the very rows that were drawn."""
    from selfheal_assets.core.statistics.bootstrap import _statistic

    label, score = drawn(2)
    rng = np.random.default_rng(0)
    ones, zeros = rng.integers(0, 60, (4, 60)), rng.integers(60, 200, (4, 140))
    rows = np.hstack([ones, zeros])
    expected = [metric(name, label[row], score[row]) for row in rows]
    assert _statistic(name, label, score)(ones, zeros) == pytest.approx(expected)


def test_bootstrap_of_auc_agrees_with_delong():
    label, score = drawn(7, ones=150, zeros=350)
    by_delong, by_bootstrap = auc_interval(label, score), metric_interval("roc_auc", label, score)
    assert by_bootstrap == pytest.approx(by_delong, abs=0.01)
    other = drawn(8, ones=150, zeros=350)[1]
    by_bootstrap = metric_difference("roc_auc", label, other, score)
    assert by_bootstrap == pytest.approx(auc_difference(label, other, score), abs=0.015)


def test_bootstrap_does_not_depend_on_how_much_fits_in_memory(monkeypatch):
    label, score = drawn(9)
    whole = metric_interval("average_precision", label, score, resamples=200)
    monkeypatch.setattr("selfheal_assets.core.statistics.bootstrap._DRAWN_AT_ONCE", 1)
    row_by_row = metric_interval("average_precision", label, score, resamples=200)
    assert row_by_row == pytest.approx(whole, abs=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_paired_difference_is_narrower_than_the_two_intervals(name):
    label, champion = drawn(3)
    challenger = champion * 0.98
    paired = metric_difference(name, label, challenger, champion)
    single = metric_interval(name, label, champion)
    assert paired.high - paired.low < single.high - single.low


@pytest.mark.parametrize("name", NAMES)
def test_a_model_against_itself_differs_by_exactly_nothing(name):
    label, score = drawn(6)
    assert metric_difference(name, label, score, score) == (0.0, 0.0, 0.0)
    assert auc_difference(label, score, score) == (0.0, 0.0, 0.0)


@given(st.integers(0, 1_000), st.integers(0, 1_000))
@settings(max_examples=40, deadline=None)
def test_swapping_the_two_models_flips_the_difference(seed, other_seed):
    label, one = drawn(seed, 20, 30)
    _, other = drawn(other_seed, 20, 30)
    forth, back = auc_difference(label, one, other), auc_difference(label, other, one)
    assert forth == pytest.approx((-back.value, -back.high, -back.low))


@pytest.mark.parametrize("ones", [1, 2, MIN_CLASS_ROWS - 1])
def test_too_few_rows_of_a_class_have_a_value_and_no_interval(ones):
    label, score = drawn(0, ones=ones, zeros=50)
    for found in (
        auc_interval(label, score),
        auc_difference(label, score, score**2),
        metric_interval("log_loss", label, score),
        metric_difference("average_precision", label, score, score**2),
    ):
        assert not math.isnan(found.value)
        assert math.isnan(found.low)
        assert math.isnan(found.high)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_broken_score_leaves_no_number(broken):
    label, score = drawn(0)
    spoilt = score.copy()
    spoilt[17] = broken
    for found in (
        auc_interval(label, spoilt),
        auc_difference(label, spoilt, score),
        auc_difference(label, score, spoilt),
        metric_interval("log_loss", label, spoilt),
        metric_difference("log_loss", label, score, spoilt),
    ):
        assert np.isnan(found).all()


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, math.nan])
def test_impossible_confidence_is_refused(confidence):
    label, score = drawn(0)
    with pytest.raises(SelfhealError, match="confidence must lie between 0 and 1"):
        auc_interval(label, score, confidence)
    with pytest.raises(SelfhealError, match="confidence must lie between 0 and 1"):
        metric_interval("log_loss", label, score, confidence)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    bounds = {"average_precision": [], "log_loss": [], "roc_auc": []}
    for seed in range(300):
        label, score = drawn(seed)
        bounds["roc_auc"].append(auc_interval(label, score))
        for name in ("average_precision", "log_loss"):
            bounds[name].append(metric_interval(name, label, score, resamples=300, seed=seed))
    world = drawn(123, 300_000, 700_000)
    for name, found in bounds.items():
        truth = metric(name, *world)
        assert 0.90 <= np.mean([low <= truth <= high for _, low, high in found]) <= 0.98


def test_an_auc_lies_beyond_either_end_about_as_often():
    """On the scale of the AUC itself the truth is above the interval half as often as below it."""
    truth, below, above, draws = roc_auc(*drawn(99, 300_000, 700_000)), 0, 0, 4_000
    for seed in range(draws):
        found = auc_interval(*drawn(seed, 50, 150), 0.9)
        below, above = below + (truth < found.low), above + (truth > found.high)
    assert 0.04 <= below / draws <= 0.065
    assert 0.04 <= above / draws <= 0.065
