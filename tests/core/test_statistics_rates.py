"""Rates, their difference and distributions while they are watched: published values, and what any look promises."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.statistics.distribution_sequence import band, bucket_distance
from selfheal_assets.core.statistics.rate_sequence import EVEN, RARE, Rate, lower_rate, rate_difference, upper_rate

LOOKS = np.unique(np.geomspace(1, 3_000, 50).astype(int))
STREAMS = {
    "rare": (lambda rng, n: (rng.random(n) < 0.02).astype(float), 0.02),
    "fair": (lambda rng, n: (rng.random(n) < 0.5).astype(float), 0.5),
    "sure": (lambda _, n: np.ones(n), 1.0),
    "values between": (lambda rng, n: rng.beta(0.3, 0.6, n), 1.0 / 3.0),
}
HOWARD = (12.44056 / 0.8, 12.44056 / 0.2)
"""confseq's BetaBinomialMixture(v_opt=100, alpha_opt=0.05, g=0.2, h=0.8, two-sided) as a prior: r = 12.60056 - g h."""


def log_mixture(rate, p, prior):
    a, b = rate.total + prior[0], rate.rows - rate.total + prior[1]
    return betaln(a, b) - betaln(*prior) - xlogy(rate.total, p) - xlog1py(rate.rows - rate.total, -p)


def test_the_examples_of_the_docstrings():
    ten = Rate(10, 100)
    assert (lower_rate(ten, 0.05), upper_rate(ten, 0.05)) == pytest.approx((0.0291, 0.2275), abs=5e-5)
    assert band(1_000, 0.05) == pytest.approx(0.0820, abs=5e-5)


def test_published_values_of_the_mixture():
    """The unit tests of confseq (Howard et al.), from a reference implementation in R: at s = 10 and v = 100 the log
    mixture is -0.6941012, and the bound at alpha 0.05 is s = 31.4308. There v = 0.16 n and s is the sum less 0.2 n."""
    assert log_mixture(Rate(135, 625), 0.2, HOWARD) == pytest.approx(-0.6941012, abs=1e-5)
    assert lower_rate(Rate(125 + 31.4308, 625), 0.05, HOWARD) == pytest.approx(0.2, abs=1e-6)


def test_published_value_of_the_band():
    """confseq: empirical_process_lil_bound(1000, 0.05, 100, 0.85) = 0.08204769."""
    assert band(1_000, 0.05) == pytest.approx(0.08204769, abs=1e-6)
    assert band(1_000, 0.05) >= 0.08204769


@pytest.mark.parametrize("rate", [Rate(1, 40), Rate(20, 40), Rate(0.37, 55), Rate(390, 400), Rate(3_000, 10**6)])
@pytest.mark.parametrize("prior", [EVEN, RARE])
@pytest.mark.parametrize("alpha", [0.3, 0.05, 1e-4])
def test_bounds_are_where_the_mixture_reaches_its_limit(rate, prior, alpha):
    def excess(p):
        return log_mixture(rate, p, prior) + math.log(alpha)

    mean = rate.total / rate.rows
    assert lower_rate(rate, alpha, prior) == pytest.approx(brentq(excess, 1e-300, mean), abs=1e-10)
    assert upper_rate(rate, alpha, prior) == pytest.approx(brentq(excess, mean, 1.0 - 1e-16), abs=1e-10)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("prior", [EVEN, RARE])
def test_the_mean_is_left_at_any_look_at_most_as_often_as_promised(name, prior):
    draw, mean = STREAMS[name]
    rng, alpha, missed = np.random.default_rng(1), 0.1, 0
    for _ in range(200):
        sums = np.minimum(np.cumsum(draw(rng, LOOKS[-1])), np.arange(1, LOOKS[-1] + 1))
        looks = [Rate(float(sums[n - 1]), int(n)) for n in LOOKS]
        missed += any(not lower_rate(one, alpha, prior) <= mean <= upper_rate(one, alpha, prior) for one in looks)
    assert missed / 200 <= alpha


@pytest.mark.parametrize("together", [False, True])
def test_an_equal_pair_is_found_different_at_any_look_at_most_as_often_as_promised(together):
    """Also where both fail on the same rows, and where one fails exactly where the other does not."""
    rng, alpha = np.random.default_rng(2), 0.2
    wrong = 0
    for _ in range(200):
        one = rng.random(LOOKS[-1])
        other = 1.0 - one if together else rng.random(LOOKS[-1])
        first, second = np.cumsum(one < 0.3), np.cumsum(other < 0.3)
        found = [
            rate_difference(Rate(int(first[n - 1]), int(n)), Rate(int(second[n - 1]), int(n)), alpha, alpha)
            for n in LOOKS
        ]
        wrong += any(difference.low > 0.0 or difference.high < 0.0 for difference in found)
    assert wrong / 200 <= alpha


def test_a_difference_is_found():
    found = rate_difference(Rate(40, 2_000), Rate(140, 2_000), 0.001, 0.01, RARE)
    assert found.value == pytest.approx(0.05)
    assert 0.0 < found.low < 0.05 < found.high < 0.1
    assert math.isnan(rate_difference(Rate(0, 0), Rate(1, 9), 0.01, 0.01).value)
    assert rate_difference(Rate(0, 0), Rate(0, 0), 0.01, 0.01)[1:] == (-1.0, 1.0)


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.001, 0.9), st.floats(0.001, 0.9))
@settings(max_examples=80, deadline=None)
def test_bounds_hold_the_mean_mirror_each_other_and_widen_with_certainty(ones, rest, alpha, other):
    rate = Rate(ones, ones + rest)
    low, high = lower_rate(rate, alpha), upper_rate(rate, alpha)
    assert 0.0 <= low <= high <= 1.0
    assert low == pytest.approx(1.0 - upper_rate(Rate(rest, ones + rest), alpha), abs=1e-9)
    if rate.rows:
        assert low <= ones / rate.rows <= high
    assert (lower_rate(rate, max(alpha, other)) >= lower_rate(rate, min(alpha, other))) or not ones


@pytest.mark.parametrize("wrong", [Rate(5, 4), Rate(-1, 4), Rate(math.nan, 4), Rate(0, -1), Rate(math.inf, 4)])
def test_sums_that_cannot_be_are_refused(wrong):
    for bound in (lower_rate, upper_rate):
        with pytest.raises(SelfhealError, match="between 0 and their number"):
            bound(wrong, 0.05)


@pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan, -1.0])
def test_an_alpha_that_is_no_probability_is_refused(alpha):
    for bound in (lambda: lower_rate(Rate(1, 2), alpha), lambda: band(1_000, alpha)):
        with pytest.raises(SelfhealError, match="alpha"):
            bound()


def test_the_distribution_is_left_at_any_look_at_most_as_often_as_promised():
    rng, alpha, missed = np.random.default_rng(3), 0.3, 0
    looks = np.unique(np.geomspace(100, 5_000, 60).astype(int))
    for _ in range(300):
        x = rng.random(looks[-1])
        for n in looks:
            part = np.sort(x[:n])
            furthest = max((np.arange(1, n + 1) / n - part).max(), (part - np.arange(n) / n).max())
            if furthest > band(int(n), alpha):
                missed += 1
                break
    assert missed / 300 <= alpha


def test_the_band_narrows_and_says_nothing_of_few():
    widths = [band(rows, 0.01) for rows in (0, 99, 100, 1_000, 10_000, 10**6)]
    assert widths[:2] == [1.0, 1.0]
    assert widths[2:] == sorted(widths[2:], reverse=True)
    assert band(1_000, 0.001) > band(1_000, 0.1)
    assert widths[-1] < 0.005


def test_the_distance_of_histograms():
    assert bucket_distance([10, 0, 0, 10], [0, 10, 10, 0]) == pytest.approx(0.5)
    assert bucket_distance([1, 2, 3], [10, 20, 30]) == 0.0
    assert bucket_distance([5, 0], [0, 5]) == 1.0
    assert math.isnan(bucket_distance([0, 0], [1, 1]))
    for wrong in ([1], [1, -1], []):
        with pytest.raises(SelfhealError, match="same buckets"):
            bucket_distance([1, 1], wrong)
