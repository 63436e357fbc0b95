"""Estimate how certain an AUC is: labels and scores to an interval, without resampling. Never assumes a distribution.

DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; fast by midranks: Sun & Xu 2014, IEEE Signal Processing
Letters 21:1389. With V10[i] the share of 0s ranked below the i-th 1, and V01[j] the share of 1s above the j-th 0,
AUC = mean(V10) and Var(AUC) = var(V10) / ones + var(V01) / zeros. The interval is normal, cut to the possible range.
It misleads near 0 and 1 and with few rows of a class, where it is too narrow: below `MIN_CLASS_ROWS` there is none.
"""

from statistics import NormalDist

import numpy.typing as npt

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.statistics.metrics import Estimate, FloatArray, judgeable_rows

MIN_CLASS_ROWS = 10
"""With fewer rows of either class no interval is given: at 5, a nominal 95 % for an AUC of 0.8 covers 84 %."""


def auc_interval(label: npt.ArrayLike, score: npt.ArrayLike, confidence: float = 0.95) -> Estimate:
    """AUC and its two-sided interval within [0, 1]; nan bounds below `MIN_CLASS_ROWS`, all nan without an AUC."""
    rows = judgeable_rows(label, score)
    if rows is None:
        return Estimate(float("nan"), float("nan"), float("nan"))
    return _estimate(*_components(*rows), confidence, lowest=0.0)


def auc_difference(
    label: npt.ArrayLike, challenger: npt.ArrayLike, champion: npt.ArrayLike, confidence: float = 0.95
) -> Estimate:
    """AUC of the challenger less that of the champion on the same rows, with the interval of the paired difference."""
    one, other = judgeable_rows(label, challenger), judgeable_rows(label, champion)
    if one is None or other is None:
        return Estimate(float("nan"), float("nan"), float("nan"))
    # The variance of the paired difference is that of the differences of the components: never negative by rounding.
    of_ones, of_zeros = (a - b for a, b in zip(_components(*one), _components(*other), strict=True))
    return _estimate(of_ones, of_zeros, confidence, lowest=-1.0)


def normal_quantile(confidence: float) -> float:
    """Half-width in standard deviations of a two-sided interval. Raises SelfhealError outside (0, 1)."""
    if not 0.0 < confidence < 1.0:
        raise SelfhealError(f"confidence must lie between 0 and 1; received {confidence}. Use for example 0.95.")
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)


def _components(label: FloatArray, score: FloatArray) -> tuple[FloatArray, FloatArray]:
    """V10 (ones,) and V01 (zeros,) of the module's docstring, from midranks."""
    # Here and not above: scipy.stats takes most of a second to import, which every code location would pay.
    from scipy.stats import rankdata

    one = label == 1.0
    ranks = rankdata(score)
    zeros_below = ranks[one] - rankdata(score[one])
    ones_below = ranks[~one] - rankdata(score[~one])
    return zeros_below / (~one).sum(), 1.0 - ones_below / one.sum()


def _estimate(of_ones: FloatArray, of_zeros: FloatArray, confidence: float, *, lowest: float) -> Estimate:
    value = float(of_ones.mean())
    if min(len(of_ones), len(of_zeros)) < MIN_CLASS_ROWS:
        return Estimate(value, float("nan"), float("nan"))
    variance = float(of_ones.var(ddof=1) / len(of_ones) + of_zeros.var(ddof=1) / len(of_zeros))
    half_width = normal_quantile(confidence) * variance**0.5
    return Estimate(value, float(max(value - half_width, lowest)), float(min(value + half_width, 1.0)))
