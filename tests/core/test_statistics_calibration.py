"""Isotonic calibration and estimated performance: against scikit-learn, by hand, and the cover they promise."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal_assets.core.errors import SelfhealError, SpecError
from selfheal_assets.core.statistics.calibration import (
    IsotonicCalibration,
    cross_validated_calibration_error,
    fit_calibration,
)
from selfheal_assets.core.statistics.estimated_performance import estimate_metric
from selfheal_assets.core.statistics.metrics import expected_calibration_error, metric

NAMES = ("roc_auc", "average_precision", "log_loss")
FEW_KNOTS = IsotonicCalibration(score=(0.2, 0.4), probability=(0.1, 0.9))


def drawn(seed, rows=1_000, digits=None):
    """Labels from their true probability, and an overconfident score."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(-1.0, 1.0, rows)
    probability, score = 1 / (1 + np.exp(-margin)), 1 / (1 + np.exp(-2 * margin))
    score = score if digits is None else np.round(score, digits)
    return (rng.random(rows) < probability).astype(float), probability, score


def test_the_example_of_the_docstring_is_exact():
    found = fit_calibration([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
    assert found == IsotonicCalibration(score=(0.1, 0.2, 0.3, 0.4), probability=(0.0, 0.5, 0.5, 1.0))
    assert found.apply([-5, 0.1, 0.15, 0.25, 0.35, 9]) == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize("digits", [None, 2, 1])
@pytest.mark.parametrize("seed", range(4))
def test_probabilities_are_those_of_scikit_learn(seed, digits):
    from sklearn.isotonic import IsotonicRegression

    label, _, score = drawn(seed, 700, digits)
    found = fit_calibration(label, score)
    theirs = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, label)
    at = np.r_[score, np.linspace(-0.5, 1.5, 501)]
    assert found.apply(at) == pytest.approx(theirs.predict(at), abs=1e-9)
    assert found.support == (score.min(), score.max())
    assert len(found.score) < 100


def test_an_overconfident_score_is_mended_on_rows_it_has_not_seen():
    label, _, score = drawn(1, 5_000)
    other_label, probability, other_score = drawn(2, 5_000)
    calibrated = fit_calibration(label, score).apply(other_score)
    assert expected_calibration_error(other_label, other_score) > 0.06
    assert expected_calibration_error(other_label, calibrated) < 0.03
    assert np.abs(calibrated - probability).mean() < 0.03


def test_cross_validated_error_is_that_of_rows_not_fitted_on():
    label, _, score = drawn(3, 2_000)
    found = cross_validated_calibration_error(label, score)
    assert found < 0.04
    fitted = fit_calibration(label, score).apply(score)
    assert expected_calibration_error(label, fitted) == pytest.approx(0.0, abs=0.02)
    assert found == cross_validated_calibration_error(label, score)
    assert found != cross_validated_calibration_error(label, score, seed=1)


def test_cross_validated_error_of_few_rows_is_mostly_noise():
    label, _, score = drawn(4, 20_000)
    assert cross_validated_calibration_error(label, score) < 0.015
    few = [cross_validated_calibration_error(label[i : i + 60], score[i : i + 60]) for i in range(0, 600, 60)]
    assert np.mean(few) > 0.05


UNJUDGEABLE = [
    ([], []),
    ([1, 1, 1], [0.1, 0.2, 0.3]),
    ([0, 1, 2], [0.1, 0.2, 0.3]),
    ([0, 1, math.nan], [0.1, 0.2, 0.3]),
    ([0, 1, 1], [0.1, math.inf, 0.3]),
]


@pytest.mark.parametrize(("label", "score"), UNJUDGEABLE)
def test_rows_that_cannot_be_judged_have_no_calibration(label, score):
    assert fit_calibration(label, score) is None
    assert math.isnan(cross_validated_calibration_error(label, score))


def test_fewer_rows_of_a_class_than_folds_have_no_cross_validated_error():
    label, score = [1] * 4 + [0] * 50, np.linspace(0, 1, 54)
    assert math.isnan(cross_validated_calibration_error(label, score))
    assert 0.0 <= cross_validated_calibration_error(label, score, folds=4) <= 1.0
    with pytest.raises(SelfhealError, match="folds"):
        cross_validated_calibration_error(label, score, folds=1)


def test_share_outside_counts_what_is_missing():
    assert FEW_KNOTS.share_outside([0.2, 0.3, 0.4]) == 0.0
    assert FEW_KNOTS.share_outside([0.1, 0.3, 0.5, math.nan]) == 0.75
    assert math.isnan(FEW_KNOTS.share_outside([]))
    assert np.isnan(FEW_KNOTS.apply([math.nan])).all()


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"score": [0.1]},
        {"score": [], "probability": []},
        {"score": [0.1, 0.1], "probability": [0.1, 0.2]},
        {"score": [0.1, 0.2], "probability": [0.2, 0.1]},
        {"score": [0.1, 0.2], "probability": [0.2]},
        {"score": [0.1], "probability": [1.2]},
        {"score": [0.1], "probability": [math.nan]},
        {"score": [math.nan], "probability": [0.5]},
        {"score": ["low"], "probability": [0.5]},
        {"score": None, "probability": None},
    ],
)
def test_a_stored_calibration_that_is_none_is_refused(stored):
    with pytest.raises(SelfhealError):
        IsotonicCalibration.from_dict(stored)


rows = st.lists(st.tuples(st.integers(0, 1), st.floats(-1e6, 1e6)), min_size=2, max_size=60)


@given(rows)
@settings(max_examples=150, deadline=None)
def test_a_calibration_never_falls_keeps_the_mean_and_survives_json(pairs):
    label, score = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    found = fit_calibration(label, score)
    if found is None:
        assert len(set(label)) == 1
        return
    assert IsotonicCalibration.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found
    calibrated = found.apply(score)
    assert calibrated.mean() == pytest.approx(label.mean())
    assert (np.diff(calibrated[np.argsort(score)]) >= -1e-12).all()
    assert found.share_outside(score) == 0.0


def test_expected_log_loss_by_hand():
    found = estimate_metric("log_loss", [0.8] * 20 + [0.4] * 20, [0.9] * 20 + [0.5] * 20)
    first = -0.8 * math.log(0.9) - 0.2 * math.log(0.1)
    assert found.value == pytest.approx((first + math.log(2)) / 2)
    assert found.value == pytest.approx(0.6190, abs=5e-5)
    # Only the first twenty rows vary: the loss of each is a coin of 0.8 between two values.
    spread = math.sqrt(20 * 0.8 * 0.2) * math.log(0.9 / 0.1) / 40
    assert found.standard_error == pytest.approx(spread, rel=0.15)
    assert (found.rows, found.expected_ones) == (40, pytest.approx(24.0))


def test_certain_labels_have_the_realised_metric_and_no_spread():
    label, _, score = drawn(5, 300, digits=1)
    for name in NAMES:
        found = estimate_metric(name, label, score)
        assert found.value == pytest.approx(metric(name, label, score))
        assert (found.low, found.high) == pytest.approx((found.value, found.value))
        assert found.standard_error == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_band_holds_the_realised_metric_as_often_as_it_says(name):
    inside, errors = [], []
    for seed in range(250):
        label, probability, score = drawn(seed, 300, digits=2)
        found = estimate_metric(name, probability, score, confidence=0.8, seed=seed, repeats=200)
        realised = metric(name, label, score)
        inside.append(found.low <= realised <= found.high)
        errors.append((realised - found.value) / found.standard_error)
    assert np.mean(inside) == pytest.approx(0.8, abs=0.07)
    assert np.mean(errors) == pytest.approx(0.0, abs=0.2)
    assert np.std(errors) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("name", NAMES)
def test_harm_by_a_change_of_the_inputs_is_estimated(name):
    """Fewer clear cases: the calibration of the reference still holds, and the metric falls with it."""
    label, _, score = drawn(6, 8_000)
    calibration = fit_calibration(label, score)
    rng = np.random.default_rng(7)
    margin = rng.normal(-1.0, 0.4, 3_000)
    truth = (rng.random(3_000) < 1 / (1 + np.exp(-margin))).astype(float)
    blurred = 1 / (1 + np.exp(-2 * margin))
    found = estimate_metric(name, calibration.apply(blurred), blurred)
    assert found.value == pytest.approx(metric(name, truth, blurred), abs=0.03)
    assert found.value != pytest.approx(metric(name, label, score), abs=0.03)


def test_it_is_blind_to_a_changed_concept():
    label, _, score = drawn(8, 4_000)
    calibration = fit_calibration(label, score)
    _, _, later = drawn(9, 4_000)
    inverted = (np.random.default_rng(10).random(4_000) < 1 - later).astype(float)
    found = estimate_metric("roc_auc", calibration.apply(later), later)
    assert found.low > 0.7
    assert metric("roc_auc", inverted, later) < 0.3


def test_estimates_repeat_and_do_not_hang_on_the_order_of_memory(monkeypatch):
    _, probability, score = drawn(11, 300)
    whole = estimate_metric("average_precision", probability, score)
    assert whole == estimate_metric("average_precision", probability, score)
    monkeypatch.setattr("selfheal_assets.core.statistics.estimated_performance._DRAWN_AT_ONCE", 1_000)
    assert whole == estimate_metric("average_precision", probability, score)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("probability", "score"),
    [
        ([], []),
        ([0.5] * 19, [0.5] * 19),
        ([0.001] * 5_000, [0.5] * 5_000),
        ([0.999] * 5_000, [0.5] * 5_000),
        ([0.5] * 50, [math.nan] + [0.5] * 49),
        ([0.5] * 50, [math.inf] + [0.5] * 49),
    ],
)
def test_what_cannot_be_estimated_is_nan(name, probability, score):
    found = estimate_metric(name, probability, score)
    assert all(math.isnan(value) for value in (found.value, found.low, found.high, found.standard_error))
    assert found.rows == len(score)


def test_a_ranking_needs_no_probability_as_score_and_a_loss_does():
    margins = np.linspace(-4.0, 4.0, 200)
    probability = 1 / (1 + np.exp(-margins))
    assert 0.5 < estimate_metric("roc_auc", probability, margins).value < 1.0
    assert math.isnan(estimate_metric("log_loss", probability, margins).value)


def test_calls_that_mean_nothing_are_refused():
    half = [0.5] * 40
    with pytest.raises(SelfhealError, match="between 0 and 1"):
        estimate_metric("roc_auc", [math.nan] * 40, half)
    with pytest.raises(SelfhealError, match="same length"):
        estimate_metric("roc_auc", half, half[1:])
    with pytest.raises(SelfhealError, match="repeats"):
        estimate_metric("roc_auc", half, half, repeats=1)
    with pytest.raises(SelfhealError, match="confidence"):
        estimate_metric("roc_auc", half, half, 1.0)
    with pytest.raises(SpecError, match="metric"):
        estimate_metric("accuracy", half, half)
