"""Bound a rate, and the difference of two, while they are watched: sums and counts to bounds. Never needs the order.

Two-sided beta-binomial mixture (Robbins 1970, Ann. Math. Stat. 41:1397; Howard et al. 2021, Ann. Stat. 49:1055): with
s the sum of n values and B the beta function, M(p) = B(s + a, n - s + b) / (B(a, b) p^s (1 - p)^(n - s)) is a
nonnegative supermartingale at the true mean p, so with probability 1 - alpha no p with M(p) >= 1 / alpha is ever the
true one. It holds for values in [0, 1] as for 0 and 1: p^-x (1 - p)^(x - 1) q^x (1 - q)^(1 - x) is convex in x.
The difference is bounded by the union bound, each side having alpha / 2: it holds also where both sides are counted on
the same rows, whose values are not independent.
Example: 10 of 100 with the prior (1/2, 1/2) at alpha 0.05 is bounded by 0.0291 and 0.2275.
It misleads where a rate moves: it bounds the mean over all of its rows. Rows that come in clusters make it too narrow.
Values that vary less than 0 and 1 do make it wide.
"""

from math import exp, isfinite, lgamma, log, log1p
from typing import NamedTuple

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.statistics.confidence_sequence import check_alpha
from selfheal_assets.core.statistics.proportions import ShareDifference

EVEN = (0.5, 0.5)
"""a and b where nothing is known of the rate."""
RARE = (0.5, 20.0)
"""a and b for shares of failures: of 1 % it needs a fifth fewer rows, of 10 % as many, of 30 % half as many again."""
STEPS, PRECISION = 60, 1e-10
"""Of Newton's method; usually some ten are needed. Relative."""


class Rate(NamedTuple):
    """`total` is the sum of `rows` values in [0, 1]: of 0 and 1, how many are 1."""

    total: float
    rows: int


def lower_rate(rate: Rate, alpha: float, prior: tuple[float, float] = EVEN) -> float:
    """The lower bound of the mean; it and `upper_rate` hold together with probability 1 - `alpha`, at all times.

    Raises SelfhealError for an impossible sum or an alpha outside (0, 1).
    """
    check_alpha(alpha)
    total, rows = rate
    if not (isfinite(total) and 0.0 <= total <= rows):
        raise SelfhealError(
            f"a sum of values between 0 and 1 must lie between 0 and their number; received {total} of {rows}. "
            "Count the same rows."
        )
    if total == 0.0:
        return 0.0
    rest, (a, b) = rows - total, prior
    constant = _log_beta(total + a, rest + b) - _log_beta(a, b) + log(alpha)
    # ln M(p) + ln(alpha) is convex in ln p: from a p that is ruled out, Newton's method never passes the bound.
    exponent = constant / total
    for _ in range(STEPS):
        p = exp(exponent)
        excess = constant - total * exponent - rest * log1p(-p)
        move = excess / (total - rest * p / (1.0 - p))
        if not move > PRECISION:
            break
        exponent += move
    return exp(exponent)


def upper_rate(rate: Rate, alpha: float, prior: tuple[float, float] = EVEN) -> float:
    """The upper bound of the mean: see `lower_rate`."""
    return 1.0 - lower_rate(Rate(rate.rows - rate.total, rate.rows), alpha, prior[::-1])


def rate_difference(
    first: Rate, second: Rate, alpha_low: float, alpha_high: float, prior: tuple[float, float] = EVEN
) -> ShareDifference:
    """Second mean less the first; its bounds hold at all times with probability 1 - `alpha_low` and 1 - `alpha_high`.

    nan for the value when a side has no rows. Raises SelfhealError: see `lower_rate`.
    """
    low = lower_rate(second, alpha_low / 2.0, prior) - upper_rate(first, alpha_low / 2.0, prior)
    high = upper_rate(second, alpha_high / 2.0, prior) - lower_rate(first, alpha_high / 2.0, prior)
    measured = first.rows and second.rows
    value = second.total / second.rows - first.total / first.rows if measured else float("nan")
    return ShareDifference(value, low, high)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
