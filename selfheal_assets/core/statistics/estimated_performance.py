"""Estimate a metric before labels come: calibrated probabilities and scores to an interval. Never sees a new concept.

Confidence-based performance estimation (CBPE; NannyML; Bialek et al. 2025, NeurIPS, arXiv:2401.08348): if row i has
label 1 with probability p_i, independently, the metric's expectation over such labels is what will be realised, and
its spread is the sampling error of a batch of this size. Both are taken from seeded draws of the labels (a parametric
bootstrap); the expectation of log loss is exact: mean of p_i loss(1, s_i) + (1 - p_i) loss(0, s_i).
Example: 20 rows with score 0.9 and probability 0.8, and 20 with 0.5 and 0.4, have an expected log loss of 0.6190.
It is blind to a change of the concept: while P(label | score) moves and the scores stay, the estimate does not move.
It sees a change of the inputs only as far as the calibration still holds there. The interval leaves out the error of
the calibration, which counts when it was fitted on fewer rows than the batch has.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.model_spec import MetricName
from selfheal_assets.core.statistics.confidence_sequence import unit_values
from selfheal_assets.core.statistics.delong import MIN_CLASS_ROWS, normal_quantile
from selfheal_assets.core.statistics.metrics import (
    FloatArray,
    as_floats,
    average_precision_of_counts,
    log_losses,
    metric,
    roc_auc_of_counts,
)

REPEATS = 400
_DRAWN_AT_ONCE = 2_000_000
"""Labels held in memory at a time."""


@dataclass(frozen=True, kw_only=True)
class EstimatedMetric:
    """What the metric will be if the calibration holds; nan where it is not defined."""

    value: float
    low: float
    high: float
    """The central part of the drawn metrics."""
    standard_error: float
    rows: int
    expected_ones: float


def estimate_metric(
    name: MetricName,
    probability: npt.ArrayLike,
    score: npt.ArrayLike,
    confidence: float = 0.95,
    *,
    seed: int = 0,
    repeats: int = REPEATS,
) -> EstimatedMetric:
    """The named metric of `score` (n,) under labels that are 1 with the calibrated `probability` (n,).

    All nan when fewer than `MIN_CLASS_ROWS` rows of either class are expected, a score is not finite or, for log_loss,
    outside [0, 1]. Time grows with n x `repeats`; memory is bounded. Raises SelfhealError for a probability missing or
    outside [0, 1], arrays of unequal length, and fewer than two repeats; SpecError for another metric.
    """
    chances, scores = unit_values("probability", probability), as_floats("score", score)
    _check(name, chances, scores, confidence, repeats)
    ones = float(chances.sum())
    if not _estimable(name, ones, scores):
        nan = float("nan")
        return EstimatedMetric(value=nan, low=nan, high=nan, standard_error=nan, rows=len(scores), expected_ones=ones)
    drawn = _drawn(name, chances, np.asarray(score), np.random.default_rng(seed), repeats)
    low, high = np.quantile(drawn, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return EstimatedMetric(
        value=_expected_log_loss(chances, np.asarray(score)) if name == "log_loss" else float(drawn.mean()),
        low=float(low),
        high=float(high),
        standard_error=float(drawn.std(ddof=1)),
        rows=len(scores),
        expected_ones=ones,
    )


def _check(name: MetricName, probability: FloatArray, score: FloatArray, confidence: float, repeats: int) -> None:
    metric(name, (), ())  # Refuses another name.
    normal_quantile(confidence)  # Refuses what is no confidence.
    if len(probability) != len(score):
        raise SelfhealError(
            "probability and score must have the same length; "
            f"received {len(probability)} and {len(score)}. Calibrate every score once."
        )
    if repeats < 2:
        raise SelfhealError(f"repeats must be at least 2; received {repeats}. Use for example {REPEATS}.")


def _estimable(name: MetricName, expected_ones: float, score: FloatArray) -> bool:
    if min(expected_ones, len(score) - expected_ones) < MIN_CLASS_ROWS or not np.isfinite(score).all():
        return False
    return name != "log_loss" or bool(score.min() >= 0.0 and score.max() <= 1.0)


def _expected_log_loss(probability: FloatArray, score: npt.NDArray[np.generic]) -> float:
    of_ones, of_zeros = (log_losses(np.full(len(score), label), score) for label in (1.0, 0.0))
    return float((probability * of_ones + (1.0 - probability) * of_zeros).mean())


def _drawn(
    name: MetricName,
    probability: FloatArray,
    score: npt.NDArray[np.generic],
    rng: np.random.Generator,
    repeats: int,
) -> FloatArray:
    """The metric of each draw of the labels that has both classes: rows sorted by score once, then only counted."""
    order = np.argsort(score, kind="stable")
    chances, scores = probability[order], score[order]
    _, starts, rows = np.unique(scores, return_index=True, return_counts=True)
    of_ones, of_zeros = (log_losses(np.full(len(scores), label), scores) for label in (1.0, 0.0))
    of_counts = roc_auc_of_counts if name == "roc_auc" else average_precision_of_counts
    values: list[FloatArray] = []
    left = repeats
    while left > 0:
        some = min(left, max(1, _DRAWN_AT_ONCE // len(scores)))
        left -= some
        labels = rng.random((some, len(scores))) < chances
        labels = labels[labels.any(axis=1) & ~labels.all(axis=1)]
        if name == "log_loss":
            values.append((of_zeros.sum() + labels @ (of_ones - of_zeros)) / len(scores))
        else:
            ones = np.add.reduceat(labels, starts, axis=1, dtype=np.float64)
            values.append(of_counts(ones, rows - ones))
    return np.concatenate(values)
