"""Metrics against scikit-learn and by-hand examples, and the data on which there is none."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal_assets.core.errors import SelfhealError, SpecError
from selfheal_assets.core.statistics.metrics import expected_calibration_error, higher_is_better, metric, roc_auc

NAMES = ("roc_auc", "average_precision", "log_loss")
labels_and_scores = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 1), min_size=n, max_size=n).filter(lambda label: 0 < sum(label) < len(label)),
        st.lists(st.integers(0, 12).map(lambda twelfth: twelfth / 12), min_size=n, max_size=n),
    )
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("roc_auc", 0.75),
        ("average_precision", 0.5 + 0.5 * 2 / 3),
        ("log_loss", -(math.log(0.9) + math.log(0.6) + math.log(0.35) + math.log(0.8)) / 4),
    ],
)
def test_four_rows_by_hand(name, expected):
    assert metric(name, [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == pytest.approx(expected)


@given(labels_and_scores)
@settings(max_examples=60, deadline=None)
def test_metrics_equal_scikit_learn_with_ties(rows):
    from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

    label, score = rows
    assert metric("roc_auc", label, score) == pytest.approx(roc_auc_score(label, score))
    assert metric("average_precision", label, score) == pytest.approx(average_precision_score(label, score))
    assert metric("log_loss", label, score) == pytest.approx(log_loss(label, score, labels=[0, 1]))


def test_log_loss_of_single_precision_scores_equals_scikit_learn():
    from sklearn.metrics import log_loss

    score = np.array([1.0, 0.0, 0.3], dtype=np.float32)
    assert metric("log_loss", [0, 1, 1], score) == pytest.approx(log_loss([0, 1, 1], score), rel=1e-5)


@given(labels_and_scores)
@settings(max_examples=60, deadline=None)
def test_auc_ignores_monotone_transforms_and_is_mirrored_by_reversal(rows):
    label, score = np.array(rows[0]), np.array(rows[1])
    assert roc_auc(label, score) == roc_auc(label, np.exp(3 * score) - 7)
    assert roc_auc(label, -score) == pytest.approx(1 - roc_auc(label, score))
    assert roc_auc(1 - label, score) == pytest.approx(1 - roc_auc(label, score))


UNJUDGEABLE = {
    "no rows": ([], []),
    "only ones": ([1, 1], [0.2, 0.3]),
    "only zeros": ([0, 0], [0.2, 0.3]),
    "nan score": ([0, 1], [0.2, math.nan]),
    "infinite score": ([0, 1], [0.2, math.inf]),
    "nan label": ([0, 1, math.nan], [0.2, 0.3, 0.4]),
    "missing label": ([0, 1, None], [0.2, 0.3, 0.4]),
    "third class": ([0, 1, 2], [0.2, 0.3, 0.4]),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", UNJUDGEABLE)
def test_what_cannot_be_judged_is_nan(name, case):
    assert math.isnan(metric(name, *UNJUDGEABLE[case]))
    assert math.isnan(expected_calibration_error(*UNJUDGEABLE[case]))


def test_scores_that_are_no_probabilities_have_ranks_but_no_likelihood():
    assert metric("roc_auc", [0, 1], [-3.0, 8.0]) == 1.0
    assert math.isnan(metric("log_loss", [0, 1], [-3.0, 8.0]))
    assert math.isnan(expected_calibration_error([0, 1], [-3.0, 8.0]))


@pytest.mark.parametrize(
    ("label", "score", "rule"),
    [
        ([0, 1], [0.5], "same length; received 2 and 1"),
        ([0, 1], ["low", "high"], "score must be numbers"),
        ([[0], [1]], [0.5, 0.5], "label must be one column"),
    ],
)
def test_wrong_arrays_are_refused_with_the_rule(label, score, rule):
    with pytest.raises(SelfhealError, match=rule):
        metric("roc_auc", label, score)


def test_unknown_metric_is_refused():
    with pytest.raises(SpecError, match="must be one of"):
        metric("accuracy", [0, 1], [0.1, 0.9])


def test_direction_of_every_metric():
    assert {name: higher_is_better(name) for name in NAMES} == {
        "roc_auc": True,
        "average_precision": True,
        "log_loss": False,
    }


def test_calibration_error_by_definition_without_ties():
    rng = np.random.default_rng(3)
    score = rng.permutation(np.linspace(0.01, 0.99, 200))
    label = (rng.random(200) < score**2).astype(float)
    order = np.argsort(score)
    bins = zip(np.split(label[order], 10), np.split(score[order], 10), strict=True)
    expected = np.mean([abs(truth.mean() - probability.mean()) for truth, probability in bins])
    assert expected_calibration_error(label, score) == pytest.approx(expected)


def test_calibration_error_of_equal_scores_is_the_difference_of_the_means():
    assert expected_calibration_error([0, 1] * 50, [0.5] * 100) == 0.0
    assert expected_calibration_error([0, 1] * 50, [0.8] * 100) == pytest.approx(0.3)


@given(labels_and_scores, st.randoms())
@settings(max_examples=40, deadline=None)
def test_calibration_error_does_not_depend_on_the_order_of_rows(rows, random):
    shuffled = list(zip(*rows, strict=True))
    random.shuffle(shuffled)
    label, score = zip(*shuffled, strict=True)
    error = expected_calibration_error(label, score)
    assert error == pytest.approx(expected_calibration_error(*rows))
    assert 0.0 <= error <= 1.0
