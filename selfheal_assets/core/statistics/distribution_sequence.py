"""Bound the distance of two distributions while they are watched: counts by bucket to a distance and its error.

Time-uniform Dvoretzky-Kiefer-Wolfowitz inequality (Howard & Ramdas 2022, Bernoulli 28:1704, Theorem 2): with
probability 1 - alpha the empirical distribution function of n values is at no n >= m and nowhere further from the true
one than A sqrt((ln(1 + ln(n / m)) + C) / n), where alpha = min over eta of 4 e^(-g C) (1 + 1 / ((g - 1) ln eta)), with
g = 2 (A - sqrt(2 (eta - 1) / C))^2 / eta > 1. Here A = 0.85 and m = 100. Two samples have alpha / 2 each, which holds
also for two scores of the same rows.
Example: 1,000 values at alpha 0.05 are within 0.0820.
It misleads where a difference lies within one bucket: only the edges of the buckets are compared, so the distance is
never above the true one. A distribution that moves is averaged.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.statistics.confidence_sequence import check_alpha

A = 0.85
FIRST_ROWS = 100
"""With fewer values nothing is said."""
HALVINGS = 50


def band(rows: int, alpha: float) -> float:
    """How far the empirical distribution function of so many values may be from the true one; 1 with too few.

    Raises SelfhealError for an alpha outside (0, 1).
    """
    constant = _constant(alpha)
    if rows < FIRST_ROWS:
        return 1.0
    return float(min(A * np.sqrt((np.log1p(np.log(rows / FIRST_ROWS)) + constant) / rows), 1.0))


def bucket_distance(first: Sequence[int], second: Sequence[int]) -> float:
    """Kolmogorov distance of two histograms of the same buckets, at their edges; nan when one is empty.

    Raises SelfhealError when the buckets differ or a count is negative.
    """
    if len(first) != len(second) or not first or min(*first, *second) < 0:
        raise SelfhealError(
            f"two histograms must have the same buckets and no negative count; received {list(first)} and "
            f"{list(second)}. Count both by the same edges."
        )
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not one.any() or not other.any():
        return float("nan")
    return float(np.abs(np.cumsum(one) / one.sum() - np.cumsum(other) / other.sum()).max())


@lru_cache(maxsize=256)
def _constant(alpha: float) -> float:
    """The smallest C with an error of at most alpha. A grid of eta in place of the minimum makes it larger at most."""
    check_alpha(alpha)
    low, high = 1.0, 1_000.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if _error(middle) <= alpha else (middle, high)
    return high


def _error(constant: float) -> float:
    eta = 1.0 + np.geomspace(1e-4, 2.0 * A * A - 1.0, 4_000)
    slack = A - np.sqrt(2.0 * (eta - 1.0) / constant)
    g = 2.0 / eta * slack**2
    possible = (slack > 0.0) & (g > 1.0)
    if not possible.any():
        return float("inf")
    g, eta = g[possible], eta[possible]
    return float((4.0 * np.exp(-g * constant) * (1.0 + 1.0 / ((g - 1.0) * np.log(eta)))).min())
