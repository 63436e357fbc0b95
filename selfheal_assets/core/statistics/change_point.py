"""Find where a short series shifted: one value a batch to the place of the first after. Never says that it did shift.

Least squares (Bai 1997, Review of Economics and Statistics 79:551): the split k of n values that leaves the smallest
squares within both parts, that is the maximum of k (n - k) / n x (mean of the first k - mean of the rest)^2, which is
the peak of the CUSUM weighted for its place. Example: [0.80, 0.82, 0.81, 0.70, 0.71] gives 3.
It misleads on a series that never shifted, or drifts slowly, or shifted twice: it names a place all the same. Ask it
only once something else has shown that there was a shift; a single outlier at either end is a shift to it.
"""

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.statistics.metrics import as_floats

MIN_VALUES = 4
_SAME = 1e-9
"""Splits whose gains differ by less than this share are equal, whatever the rounding: the earliest is taken."""


def mean_shift_index(values: npt.ArrayLike) -> int | None:
    """0-based place in `values` (n,), oldest first, of the first value after the most likely shift of the mean.

    A value that is missing (None, nan) or infinite is left out; the place counts it all the same. None with fewer than
    `MIN_VALUES` values that are there, and when these are all equal. Raises SelfhealError when they are not numbers.
    """
    given = as_floats("values", values)
    present = np.flatnonzero(np.isfinite(given))
    series = given[present]
    if len(series) < MIN_VALUES or np.ptp(series) == 0.0:
        return None
    series = (series - series.min()) / np.ptp(series)
    first = np.arange(1, len(series))
    cusum = np.cumsum(series - series.mean())[:-1]
    gain = cusum**2 / (first * (len(series) - first))
    earliest = int(np.flatnonzero(gain >= gain.max() * (1.0 - _SAME))[0])
    return int(present[earliest + 1])
