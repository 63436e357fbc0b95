"""Measure a binary classifier: labels and scores to one number. Never turns data it cannot judge into a number."""

from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.errors import SelfhealError, SpecError
from selfheal_assets.core.model_spec import MetricName

FloatArray = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A value with its confidence interval, in the metric's own units; nan where it is not defined."""

    value: float
    low: float
    high: float


def metric(name: MetricName, label: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """The named metric of `label` (n,) in {0, 1} and `score` (n,), the probability of 1.

    nan, for every metric, when the rows are none, of one class, or hold a label other than 0 and 1 or a score
    that is not finite; for `log_loss` also when a score lies outside [0, 1].
    Raises SelfhealError when the arrays are not numeric or not of one length, SpecError for another name.
    """
    if name == "roc_auc":
        return roc_auc(label, score)
    if name == "average_precision":
        return average_precision(label, score)
    if name == "log_loss":
        return log_loss(label, score)
    raise SpecError(f"metric must be one of {get_args(MetricName)}; received {name!r}. Correct performance.metric.")


def higher_is_better(name: MetricName) -> bool:
    """Whether a larger value of the metric is the better model."""
    return name != "log_loss"


def roc_auc(label: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Area under the ROC curve: P(score of a 1 > score of a 0) + P(equal) / 2 (Mann-Whitney). nan: see `metric`."""
    rows = judgeable_rows(label, score)
    return float("nan") if rows is None else float(roc_auc_of_counts(*class_counts(*rows)))


def average_precision(label: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Sum over thresholds of (gain of recall) x precision; equal scores are one threshold. nan: see `metric`.

    Misleads when compared between samples whose share of 1s differs: a random score gives that share.
    """
    rows = judgeable_rows(label, score)
    return float("nan") if rows is None else float(average_precision_of_counts(*class_counts(*rows)))


def log_loss(label: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Mean negative log-likelihood, in nats. nan: see `metric`."""
    rows = judgeable_rows(label, score, probability=True)
    return float("nan") if rows is None else float(log_losses(rows[0], np.asarray(score)).mean())


def expected_calibration_error(label: npt.ArrayLike, score: npt.ArrayLike, bins: int = 10) -> float:
    """Mean over rows of |share of 1s - mean score| of the row's bin; bins of equal mass by score.

    Equal scores share a bin, so the answer does not depend on the order of the rows. Noise alone gives about
    0.4 / sqrt(n / bins): do not read it on fewer than some hundred rows. nan: see `metric`, and outside [0, 1].
    """
    rows = judgeable_rows(label, score, probability=True)
    if rows is None:
        return float("nan")
    truth, probability = rows
    first_rank = np.searchsorted(np.sort(probability), probability, side="left")
    bin_of_row = first_rank * bins // len(probability)
    excess = np.bincount(bin_of_row, weights=truth - probability, minlength=bins)
    return float(np.abs(excess).sum() / len(probability))


def judgeable_rows(
    label: npt.ArrayLike, score: npt.ArrayLike, *, probability: bool = False
) -> tuple[FloatArray, FloatArray] | None:
    """Both as floats, or None where no metric is defined (see `metric`). Raises SelfhealError on another shape."""
    truth, scores = label_and_score(label, score)
    if not np.isin(truth, (0.0, 1.0)).all() or len(np.unique(truth)) < 2 or not np.isfinite(scores).all():
        return None
    if probability and (scores.min() < 0.0 or scores.max() > 1.0):
        return None
    return truth, scores


def label_and_score(label: npt.ArrayLike, score: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both as (n,) floats, whatever they hold. Raises SelfhealError when not numeric or not of one length."""
    truth, scores = as_floats("label", label), as_floats("score", score)
    if len(truth) != len(scores):
        raise SelfhealError(
            f"label and score must have the same length; received {len(truth)} and {len(scores)}. Score every row once."
        )
    return truth, scores


def as_floats(name: str, values: npt.ArrayLike) -> FloatArray:
    """A (n,) float array; None becomes nan. Raises SelfhealError when the values are not numbers, or not one column."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SelfhealError(
            f"{name} must be numbers; received values that are not ({error}). Convert the column before it is judged."
        ) from error
    if array.ndim != 1:
        raise SelfhealError(f"{name} must be one column; received shape {array.shape}. Pass a one-dimensional array.")
    return array


def log_losses(label: FloatArray, score: npt.NDArray[np.generic]) -> FloatArray:
    """Loss of every row (n,), in nats; scores are kept the resolution of their own dtype away from 0 and 1."""
    resolution = float(np.finfo(np.float32 if score.dtype == np.float32 else np.float64).eps)
    probability = np.clip(score.astype(np.float64), resolution, 1.0 - resolution)
    return np.asarray(-np.log(np.where(label == 1.0, probability, 1.0 - probability)))


def class_counts(label: FloatArray, score: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How many 1s and 0s have each distinct score, scores ascending: two (distinct,) arrays."""
    distinct, group = np.unique(score, return_inverse=True)
    ones = np.bincount(group, weights=label, minlength=len(distinct))
    zeros = np.bincount(group, weights=1.0 - label, minlength=len(distinct))
    return ones.astype(np.float64), zeros.astype(np.float64)


def roc_auc_of_counts(ones: FloatArray, zeros: FloatArray) -> FloatArray:
    """`roc_auc` of (..., distinct) counts as `class_counts` gives them."""
    zeros_below = np.cumsum(zeros, axis=-1) - zeros / 2.0
    return np.asarray((ones * zeros_below).sum(axis=-1) / (ones.sum(axis=-1) * zeros.sum(axis=-1)))


def average_precision_of_counts(ones: FloatArray, zeros: FloatArray) -> FloatArray:
    """`average_precision` of (..., distinct) counts as `class_counts` gives them; scores without rows count nothing."""
    descending = ones[..., ::-1]
    found = np.cumsum(descending, axis=-1)
    called = np.cumsum((ones + zeros)[..., ::-1], axis=-1)
    return np.asarray((descending * found / np.maximum(called, 1.0)).sum(axis=-1) / found[..., -1])
