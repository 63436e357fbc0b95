"""Where a series shifted: exact places, and what holds for any series."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.statistics.change_point import MIN_VALUES, mean_shift_index

series = st.lists(st.integers(-50, 50).map(float), min_size=MIN_VALUES, max_size=20)


def by_definition(values):
    """The split with the smallest squares within its two parts; of equal ones the earliest."""
    squares = [
        sum(((part - part.mean()) ** 2).sum() for part in np.split(np.array(values), [k]))
        for k in range(1, len(values))
    ]
    return 1 + next(i for i, each in enumerate(squares) if each <= min(squares) + 1e-7)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.80, 0.82, 0.81, 0.70, 0.71], 3),
        ([0, 0, 0, 1], 3),
        ([1, 0, 0, 0], 1),
        ([0, 0, 1, 1], 2),
        ([5, 5, 5, 5, 9, 9], 4),
        ([0.1, 0.1, None, 0.9, 0.9], 3),
        ([math.nan, 0.1, 0.1, 0.1, math.inf, 0.9], 5),
        ([0, 1, 1, 0], 1),
        ([1e300, 1e300, -1e300, -1e300], 2),
        ([1e-300, 1e-300, 1e-300, 2e-300], 3),
    ],
)
def test_exact_places(values, expected):
    assert mean_shift_index(values) == expected


@pytest.mark.parametrize(
    "values", [[], [1, 2, 3], [1, 2, 3, None], [7.0] * 10, [math.nan] * 10, [3, 3, math.nan, 3, 3, math.inf]]
)
def test_too_short_or_constant_has_no_place(values):
    assert mean_shift_index(values) is None


def test_words_are_refused():
    with pytest.raises(SelfhealError, match="numbers"):
        mean_shift_index(["low", "high", "low", "high"])


@given(series)
@settings(max_examples=200, deadline=None)
def test_the_place_leaves_the_smallest_squares(values):
    assume(len(set(values)) > 1)
    assert mean_shift_index(values) == by_definition(values)


@given(series, st.sampled_from([-3.0, 0.5, 100.0]), st.integers(-1_000, 1_000))
@settings(max_examples=100, deadline=None)
def test_the_place_does_not_hang_on_units(values, scale, offset):
    assert mean_shift_index(np.array(values) * scale + offset) == mean_shift_index(values)


def test_a_shift_of_two_standard_deviations_is_found_to_a_batch_or_so():
    errors = []
    for seed in range(200):
        values = np.random.default_rng(seed).normal(size=20)
        values[12:] += 2.0
        errors.append(abs(mean_shift_index(values) - 12))
    assert np.quantile(errors, 0.8) <= 1
