"""Effect size, missingness and multiplicity against hand-worked figures, SciPy and statsmodels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.statistics.effect_size import psi_of_categories, psi_of_numbers
from selfheal_assets.core.statistics.multiplicity import benjamini_hochberg
from selfheal_assets.core.statistics.two_sample import missingness_p_value

numbers = st.lists(st.one_of(st.integers(-5, 5).map(float), st.floats(allow_nan=True)), min_size=1, max_size=60)
categories = st.lists(st.sampled_from(["a", "b", "c", None, math.nan, 7]), min_size=1, max_size=60)
p_values = st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=30)


def test_psi_of_categories_by_hand():
    expected = (0.5 - 0.8) * math.log(0.5 / 0.8) + (0.5 - 0.2) * math.log(0.5 / 0.2)
    assert psi_of_categories(["a"] * 80 + ["b"] * 20, ["a"] * 50 + ["b"] * 50) == pytest.approx(expected)


def test_psi_of_an_unseen_category_counts_half_a_row_in_the_reference():
    expected = (0.9 - 1.0) * math.log(0.9) + (0.1 - 0.005) * math.log(0.1 / 0.005)
    assert psi_of_categories(["a"] * 100, ["a"] * 90 + ["new"] * 10) == pytest.approx(expected)
    assert psi_of_categories(["a"] * 100, ["a"] * 90 + [None] * 10) == pytest.approx(expected)


def test_psi_of_numbers_by_definition():
    reference, batch = np.arange(1_000.0), np.arange(0.0, 1_000.0, 2.0) ** 2 / 1_000.0
    edges = np.quantile(reference, np.linspace(0, 1, 11), method="inverted_cdf")[1:-1]
    p, q = (np.bincount(np.searchsorted(edges, side, side="right")) / len(side) for side in (reference, batch))
    assert psi_of_numbers(reference, batch) == pytest.approx(float(((q - p) * np.log(q / p)).sum()), abs=1e-4)


def test_psi_is_small_for_the_same_world_and_large_for_a_moved_one():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=5_000)
    assert psi_of_numbers(reference, rng.normal(size=2_000)) < 0.02
    assert psi_of_numbers(reference, rng.normal(size=2_000) + 0.5) == pytest.approx(0.25, abs=0.06)
    assert psi_of_numbers(reference, 100 * rng.normal(size=2_000)) > 1.0


@pytest.mark.parametrize("value", [0.0, -3.5, 1e300, math.inf])
def test_constant_column_equal_is_zero(value):
    assert psi_of_numbers([value] * 100, [value] * 37) == 0.0


@pytest.mark.parametrize("moved", [3.0000001, 2.9999999, 300.0, -300.0, math.inf, -math.inf])
def test_constant_column_moved_is_large_and_finite(moved):
    assert 5.0 < psi_of_numbers([3.0] * 100, [moved] * 100) < 20.0


def test_leaving_a_frequent_value_for_others_inside_the_range_shows():
    rng = np.random.default_rng(1)
    mostly_zero = np.where(rng.random(5_000) < 0.95, 0.0, rng.random(5_000))
    assert psi_of_numbers(mostly_zero, np.full(500, 0.3)) > 5.0


@pytest.mark.parametrize(("reference", "batch"), [([], [1.0]), ([1.0], []), ([math.nan], [1.0]), ([1.0], [math.nan])])
def test_psi_without_rows_is_nan(reference, batch):
    assert math.isnan(psi_of_numbers(reference, batch))


def test_psi_of_no_categories_is_nan():
    assert math.isnan(psi_of_categories([], ["a"]))
    assert math.isnan(psi_of_categories(["a"], []))


def test_psi_leaves_nan_out():
    assert psi_of_numbers([1, 2, 3, math.nan], [1, 2, math.nan]) == psi_of_numbers([1, 2, 3], [1, 2])


@given(numbers, numbers)
@settings(max_examples=100, deadline=None)
def test_psi_of_numbers_is_never_negative_nor_infinite(reference, batch):
    value = psi_of_numbers(reference, batch)
    no_rows = all(map(math.isnan, reference)) or all(map(math.isnan, batch))
    assert math.isnan(value) if no_rows else 0.0 <= value < math.inf
    if not all(map(math.isnan, reference)):
        assert psi_of_numbers(reference, reference) == 0.0


@given(categories, categories)
@settings(max_examples=100, deadline=None)
def test_psi_of_categories_is_symmetric_and_zero_on_itself(reference, batch):
    value = psi_of_categories(reference, batch)
    assert 0.0 <= value < math.inf
    assert psi_of_categories(batch, reference) == pytest.approx(value)
    assert psi_of_categories(reference, reference) == 0.0


def test_missingness_of_large_samples_is_the_two_proportions_z_test():
    from statsmodels.stats.proportion import proportions_ztest

    expected = proportions_ztest([100, 70], [5_000, 2_000])[1]
    assert missingness_p_value(100, 5_000, 70, 2_000) == pytest.approx(expected)


def test_missingness_of_rare_values_is_fishers_exact_test():
    from scipy.stats import fisher_exact

    assert missingness_p_value(0, 500, 4, 200) == pytest.approx(fisher_exact([[0, 500], [4, 196]]).pvalue)
    assert missingness_p_value(1, 4, 3, 4) == pytest.approx(34 / 70)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((0, 100, 0, 50), 1.0), ((100, 100, 50, 50), 1.0), ((0, 0, 1, 5), math.nan), ((1, 5, 0, 0), math.nan)],
)
def test_missingness_at_the_edges(counts, expected):
    assert missingness_p_value(*counts) == pytest.approx(expected, nan_ok=True)


def test_a_column_gone_missing_is_seen():
    assert missingness_p_value(0, 5_000, 2_000, 2_000) < 1e-100


@pytest.mark.parametrize("counts", [(-1, 5, 0, 5), (6, 5, 0, 5), (0, 5, 6, 5), (0, 5, 0, -1)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(SelfhealError, match="between 0 and its rows"):
        missingness_p_value(*counts)


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_missingness_is_a_probability_and_symmetric(missing, present, batch_missing, batch_present):
    reference, batch = (missing, missing + present), (batch_missing, batch_missing + batch_present)
    value = missingness_p_value(*reference, *batch)
    assert 0.0 <= value <= 1.0
    assert missingness_p_value(*batch, *reference) == pytest.approx(value)


def test_benjamini_hochberg_example_of_the_docstring():
    adjusted = benjamini_hochberg([0.01, math.nan, 0.04, 0.03])
    assert adjusted == pytest.approx([0.03, math.nan, 0.04, 0.04], nan_ok=True)


@pytest.mark.parametrize("given_values", [[], [math.nan], [math.nan, 0.3], [1.0], [0.0, 0.0]])
def test_benjamini_hochberg_of_one_or_none_changes_nothing(given_values):
    np.testing.assert_array_equal(benjamini_hochberg(given_values), given_values)


@given(p_values)
@settings(max_examples=100, deadline=None)
def test_benjamini_hochberg_is_monotone_never_smaller_and_blind_to_nan(values):
    from statsmodels.stats.multitest import multipletests

    raw, adjusted = np.array(values, dtype=float), benjamini_hochberg(values)
    run = ~np.isnan(raw)
    np.testing.assert_array_equal(np.isnan(adjusted), ~run)
    assert (adjusted[run] >= raw[run]).all()
    assert (adjusted[run] <= 1.0).all()
    assert (np.diff(adjusted[run][np.argsort(raw[run], kind="stable")]) >= 0.0).all()
    if run.any():
        np.testing.assert_allclose(adjusted[run], multipletests(raw[run], method="fdr_bh")[1], atol=1e-12)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.inf])
def test_what_is_no_p_value_is_refused(wrong):
    with pytest.raises(SelfhealError, match="between 0 and 1"):
        benjamini_hochberg([0.5, wrong, math.nan])


def test_false_discovery_rate_is_kept_when_nothing_moved():
    rng = np.random.default_rng(5)
    alarms = [(benjamini_hochberg(rng.random(20)) <= 0.05).any() for _ in range(600)]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.025)
