"""Compare two shares: four counts to their difference with an interval. Never needs a count to be large.

Newcombe 1998 (Statistics in Medicine 17:873, method 10): from Wilson's score interval [l, u] of each share p, the
difference p2 - p1 has the bounds d - sqrt((p2 - l2)^2 + (u1 - p1)^2) and d + sqrt((u2 - p2)^2 + (p1 - l1)^2).
Example: 30 of 100 against 45 of 100 gives 0.15 with the 95 % interval 0.0159 to 0.2768.
It misleads when rows come in clusters (one customer, many rows), where it is too narrow.
"""

from statistics import NormalDist
from typing import NamedTuple

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.statistics.confidence_sequence import check_alpha


class ShareDifference(NamedTuple):
    """Second share less the first, with its interval, within [-1, 1]; nan when a side has no rows."""

    value: float
    low: float
    high: float


def newcombe_difference(
    first_ones: int, first_rows: int, second_ones: int, second_rows: int, alpha: float = 0.05
) -> ShareDifference:
    """The difference of two independent shares, with an interval that misses it with probability `alpha`.

    Raises SelfhealError for impossible counts or an alpha outside (0, 1).
    """
    for ones, rows in ((first_ones, first_rows), (second_ones, second_rows)):
        if not 0 <= ones <= rows:
            raise SelfhealError(
                f"rows with label 1 must be between 0 and all rows; received {ones} of {rows}. Count the same rows."
            )
    check_alpha(alpha)
    width = -NormalDist().inv_cdf(alpha / 2.0)
    if not first_rows or not second_rows:
        return ShareDifference(float("nan"), float("nan"), float("nan"))
    first, second = first_ones / first_rows, second_ones / second_rows
    low_1, high_1 = _wilson(first, first_rows, width)
    low_2, high_2 = _wilson(second, second_rows, width)
    value = second - first
    return ShareDifference(
        value=value,
        low=max(value - ((second - low_2) ** 2 + (high_1 - first) ** 2) ** 0.5, -1.0),
        high=min(value + ((high_2 - second) ** 2 + (first - low_1) ** 2) ** 0.5, 1.0),
    )


def _wilson(share: float, rows: int, width: float) -> tuple[float, float]:
    """Score interval of one share (Wilson 1927, J. Am. Stat. Assoc. 22:209)."""
    squared = width * width / rows
    centre = (share + squared / 2.0) / (1.0 + squared)
    half = (share * (1.0 - share) * squared + squared * squared / 4.0) ** 0.5 / (1.0 + squared)
    return max(centre - half, 0.0), min(centre + half, 1.0)
