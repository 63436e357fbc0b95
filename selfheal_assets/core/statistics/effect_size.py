"""Measure how far a column moved: reference and batch values to a population stability index. Never says how likely.

PSI = sum over bins of (q - p) ln(q / p), p and q the shares of reference and batch in the bin: 0 when equal, by custom
small below 0.1 and large above 0.25. A bin that is empty on one side counts half a row there, so the answer is finite.
It misleads with many bins on few rows, where chance alone gives about (bins - 1) (1 / reference + 1 / batch rows):
with columns of hundreds of categories most of all. Always read it beside a test.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.statistics.metrics import FloatArray, as_floats


def psi_of_numbers(reference: npt.ArrayLike, batch: npt.ArrayLike, bins: int = 10) -> float:
    """PSI over bins of equal mass in the reference, with bins of their own below and above its range.

    A value that holds more than a bin's mass (a zero, a constant column) has its own bin, so moving away from it
    shows. nan values are left out (their share is for `two_sample`); nan when either side then has no rows.
    """
    before, after = (
        values[~np.isnan(values)] for values in (as_floats("reference", reference), as_floats("batch", batch))
    )
    if not len(before) or not len(after):
        return float("nan")
    breaks = _breaks(before, bins)
    counts = [
        np.bincount(np.searchsorted(breaks, side, side="right"), minlength=len(breaks) + 1) for side in (before, after)
    ]
    return psi_of_counts(*counts)


def psi_of_categories(reference: Iterable[object], batch: Iterable[object]) -> float:
    """PSI over the categories of both sides, compared as text; a new, vanished or missing one is one like any other.

    nan when either side has no rows.
    """
    before, after = Counter(map(str, reference)), Counter(map(str, batch))
    if not before or not after:
        return float("nan")
    categories = sorted(before.keys() | after.keys())
    return psi_of_counts(*([side[category] for category in categories] for side in (before, after)))


def _breaks(reference: FloatArray, bins: int) -> FloatArray:
    """Ascending starts of the bins: quantiles that are values of the reference, and what follows a repeated one.

    The first bin, below them all, and the last are for values outside the range of the reference.
    """
    quantiles = np.quantile(reference, np.linspace(0.0, 1.0, bins + 1), method="inverted_cdf")
    starts, repeats = np.unique(quantiles, return_counts=True)
    with np.errstate(over="ignore"):  # After the largest finite number comes infinity, as it should here.
        ends = np.nextafter(np.append(starts[repeats > 1], starts[-1]), np.inf)
    # The largest value of the reference closes the bin of the last quantile, unless it is frequent enough for its own.
    return np.unique(np.concatenate([starts if repeats[-1] > 1 else starts[:-1], ends]))


def psi_of_counts(reference: npt.ArrayLike, batch: npt.ArrayLike) -> float:
    """PSI of two histograms of the same bins, counts (bins,) each; nan when either side has none.

    Raises SelfhealError when the bins differ in number or a count is negative.
    """
    before, after = as_floats("reference", reference), as_floats("batch", batch)
    if len(before) != len(after) or not (before >= 0).all() or not (after >= 0).all():
        raise SelfhealError(
            f"two histograms must have the same bins and no negative count; received {before.tolist()} and "
            f"{after.tolist()}. Count both by the same edges."
        )
    if not before.any() or not after.any():
        return float("nan")
    used = (before > 0) | (after > 0)
    p = np.maximum(before[used], 0.5) / before.sum()
    q = np.maximum(after[used], 0.5) / after.sum()
    return float(((q - p) * np.log(q / p)).sum())
