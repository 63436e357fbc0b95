"""Estimate how certain any metric is: labels and scores to a resampled interval. Never resamples without a seed.

Bias-corrected percentile bootstrap (Efron 1981, Canadian J. Statistics 9:139), stratified: 1s and 0s are drawn apart,
so every resample has both classes. The correction matters for average precision, which resampling flatters. The
interval is conditional on the sample's share of 1s: it misleads, a little too narrow, where that share is in doubt.
Measured cover of a nominal 95 % with 60 ones and 140 zeros: average precision 92 %, log loss 94 %.
Time grows with rows x resamples; memory is bounded.
"""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.model_spec import MetricName
from selfheal_assets.core.statistics.delong import MIN_CLASS_ROWS, normal_quantile
from selfheal_assets.core.statistics.metrics import (
    Estimate,
    FloatArray,
    average_precision_of_counts,
    log_losses,
    metric,
    roc_auc_of_counts,
)

RESAMPLES = 1_000
_DRAWN_AT_ONCE = 4_000_000
"""Row numbers held in memory at a time."""

Rows = npt.NDArray[np.intp]
Statistic = Callable[[Rows, Rows], FloatArray]
"""(resamples, ones) and (resamples, zeros) row numbers -> (resamples,) values."""


def metric_interval(
    name: MetricName,
    label: npt.ArrayLike,
    score: npt.ArrayLike,
    confidence: float = 0.95,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """The metric and its interval; nan bounds below `MIN_CLASS_ROWS` rows of a class, all nan without a metric."""
    value = metric(name, label, score)
    truth = np.asarray(label, dtype=np.float64)
    if np.isnan(value):
        return Estimate(value, float("nan"), float("nan"))
    low, high = _bounds(truth, _statistic(name, truth, score), confidence, seed, resamples)
    return Estimate(value, low, high)


def metric_difference(
    name: MetricName,
    label: npt.ArrayLike,
    challenger: npt.ArrayLike,
    champion: npt.ArrayLike,
    confidence: float = 0.95,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Metric of the challenger less that of the champion: every resample scores the same rows with both."""
    value = metric(name, label, challenger) - metric(name, label, champion)
    truth = np.asarray(label, dtype=np.float64)
    if np.isnan(value):
        return Estimate(value, float("nan"), float("nan"))
    of_challenger, of_champion = _statistic(name, truth, challenger), _statistic(name, truth, champion)

    def difference(ones: Rows, zeros: Rows) -> FloatArray:
        return of_challenger(ones, zeros) - of_champion(ones, zeros)

    low, high = _bounds(truth, difference, confidence, seed, resamples)
    return Estimate(value, low, high)


def _bounds(
    label: FloatArray, statistic: Statistic, confidence: float, seed: int, resamples: int
) -> tuple[float, float]:
    """Bias-corrected percentiles over resampled row numbers: scipy draws each sample apart, hence the strata."""
    from scipy.stats import bootstrap

    ones, zeros = np.flatnonzero(label == 1.0), np.flatnonzero(label == 0.0)
    width = normal_quantile(confidence)
    if min(len(ones), len(zeros)) < MIN_CLASS_ROWS:
        return float("nan"), float("nan")
    values = bootstrap(
        (ones, zeros),
        lambda drawn_ones, drawn_zeros, **_axis: statistic(drawn_ones, drawn_zeros),
        vectorized=True,
        method="percentile",
        n_resamples=resamples,
        batch=max(1, _DRAWN_AT_ONCE // len(label)),
        rng=np.random.default_rng(seed),
    ).bootstrap_distribution
    observed = float(statistic(ones[None, :], zeros[None, :])[0])
    below = float(((values < observed) + (values == observed) / 2.0).mean())
    normal = NormalDist()
    shift = 2.0 * normal.inv_cdf(min(max(below, 0.5 / resamples), 1.0 - 0.5 / resamples))
    low, high = np.quantile(values, [normal.cdf(shift - width), normal.cdf(shift + width)])
    return float(low), float(high)


def _statistic(name: MetricName, label: FloatArray, score: npt.ArrayLike) -> Statistic:
    """The metric as a function of drawn rows: scores are sorted once, a resample only counts them anew."""
    scores = np.asarray(score)
    if name == "log_loss":
        losses = log_losses(label, scores)
        return lambda ones, zeros: (losses[ones].sum(axis=-1) + losses[zeros].sum(axis=-1)) / len(losses)
    distinct, group = np.unique(scores, return_inverse=True)
    of_counts = roc_auc_of_counts if name == "roc_auc" else average_precision_of_counts

    def counts(rows: Rows) -> FloatArray:
        drawn = group[rows] + np.arange(len(rows))[:, None] * len(distinct)
        return np.bincount(drawn.ravel(), minlength=len(rows) * len(distinct)).reshape(len(rows), -1).astype(float)

    return lambda ones, zeros: of_counts(counts(ones), counts(zeros))
