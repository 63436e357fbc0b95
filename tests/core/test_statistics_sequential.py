"""Confidence sequences and the risk monitor: the definition by hand, and what they promise at every look."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.statistics.confidence_sequence import (
    fixed_sample_upper_bound,
    lower_sequence,
    upper_sequence,
)
from selfheal_assets.core.statistics.risk_monitor import RESTART_EVERY, brier_losses, monitor_risk

unit = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60)
STREAMS = {
    "rare": (lambda rng, n: (rng.random(n) < 0.05).astype(float), 0.05),
    "fair": (lambda rng, n: (rng.random(n) < 0.5).astype(float), 0.5),
    "skewed": (lambda rng, n: rng.beta(2.0, 8.0, n), 0.2),
    "at the ends": (lambda rng, n: rng.beta(0.3, 0.3, n), 0.5),
    "narrow": (lambda rng, n: rng.beta(90.0, 10.0, n), 0.9),
}


def by_definition(x, alpha):
    """Theorem 2, one-sided, one term at a time."""
    needed, total, weight, spread, bounds = math.log(1 / alpha), 0.0, 0.0, 0.0, []
    mean, variance, seen, squares = 0.5, 0.25, 0.5, 0.25
    for t, value in enumerate(x, start=1):
        bet = min(0.5, math.sqrt(2 * needed / (variance * t * math.log(1 + t))))
        total, weight = total + bet * value, weight + bet
        # v_t psi_E(bet) of the paper: 4 (x - m)^2 times (-ln(1 - bet) - bet) / 4.
        spread += 4 * (value - mean) ** 2 * (-math.log(1 - bet) - bet) / 4
        seen += value
        mean = seen / (t + 1)
        squares += (value - mean) ** 2
        variance = squares / (t + 1)
        bounds.append(min(1.0, max(0.0, (total - needed - spread) / weight)))
    return bounds


def test_the_example_of_the_docstring_is_exact():
    # All bets are 1/2 here, and the mean before the i-th 1 is 1 - 1 / (2 i).
    per_square = math.log(2) - 0.5
    expected = [1 - (math.log(2) + per_square * sum(0.25 / i**2 for i in range(1, t + 1))) / (t / 2) for t in (2, 3, 4)]
    found = lower_sequence([1, 1, 1, 1], 0.5)
    assert found == pytest.approx([0.0, *expected])
    assert found == pytest.approx([0.0, 0.2465, 0.4941, 0.6191], abs=1e-4)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.5])
def test_bounds_are_those_of_the_definition(name, alpha):
    x = STREAMS[name][0](np.random.default_rng(1), 400)
    assert lower_sequence(x, alpha) == pytest.approx(by_definition(x, alpha), abs=1e-12)
    assert upper_sequence(x, alpha) == pytest.approx([1 - b for b in by_definition(1 - x, alpha)], abs=1e-12)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("horizon", [None, 300])
def test_the_mean_is_left_at_any_time_at_most_as_often_as_promised(name, horizon):
    draw, mean = STREAMS[name]
    rng = np.random.default_rng(2)
    streams = [draw(rng, 1_000) for _ in range(300)]
    alpha = 0.1
    for missed in (
        np.mean([(lower_sequence(x, alpha, horizon) > mean).any() for x in streams]),
        np.mean([(upper_sequence(x, alpha, horizon) < mean).any() for x in streams]),
    ):
        assert missed <= alpha


@pytest.mark.parametrize("name", STREAMS)
def test_bounds_close_in_on_the_mean(name):
    draw, mean = STREAMS[name]
    x = draw(np.random.default_rng(3), 20_000)
    assert lower_sequence(x, 0.05)[-1] == pytest.approx(mean, abs=0.03)
    assert upper_sequence(x, 0.05)[-1] == pytest.approx(mean, abs=0.03)


def test_a_horizon_is_tighter_there():
    x = np.random.default_rng(4).beta(2.0, 8.0, 1_000)
    assert lower_sequence(x, 0.05, horizon=1_000)[-1] > lower_sequence(x, 0.05)[-1]


@given(unit, st.floats(0.001, 0.999), st.floats(0.001, 0.999))
@settings(max_examples=80, deadline=None)
def test_bounds_stay_in_range_look_at_no_later_value_and_widen_with_certainty(x, one, other):
    lower, upper = lower_sequence(x, one), upper_sequence(x, one)
    assert ((lower >= 0.0) & (lower <= 1.0) & (upper >= 0.0) & (upper <= 1.0)).all()
    np.testing.assert_array_equal(lower[: len(x) // 2], lower_sequence(x[: len(x) // 2], one))
    assert upper == pytest.approx(1.0 - lower_sequence(1.0 - np.array(x), one))
    assert fixed_sample_upper_bound(x, min(one, other)) >= fixed_sample_upper_bound(x, max(one, other)) - 1e-9


def test_the_fixed_bound_covers_and_does_not_mind_a_sorted_sample():
    rng = np.random.default_rng(5)
    samples = [np.sort(rng.beta(2.0, 8.0, 300)) for _ in range(400)]
    bounds = np.array([fixed_sample_upper_bound(x, 0.1) for x in samples])
    assert (bounds < 0.2).mean() <= 0.1
    assert np.median(bounds) < 0.225


def test_no_values_bound_nothing():
    assert len(lower_sequence([], 0.05)) == 0
    assert fixed_sample_upper_bound([], 0.05) == 1.0


@pytest.mark.parametrize("wrong", [-0.01, 1.01, math.nan, math.inf, None])
def test_a_value_that_is_not_in_the_unit_interval_is_refused(wrong):
    with pytest.raises(SelfhealError, match="between 0 and 1"):
        lower_sequence([0.5, wrong], 0.05)
    with pytest.raises(SelfhealError, match="target losses"):
        monitor_risk([wrong], [0.1], tolerance=0.0)
    with pytest.raises(SelfhealError, match="source losses"):
        monitor_risk([0.1], [wrong], tolerance=0.0)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5, -1.0, math.nan])
def test_an_alpha_that_is_no_probability_is_refused(alpha):
    with pytest.raises(SelfhealError, match="alpha"):
        lower_sequence([0.5], alpha)
    with pytest.raises(SelfhealError, match="alpha"):
        monitor_risk([0.5], [0.5], tolerance=0.0, alpha=alpha)


@pytest.mark.parametrize(
    "settings_", [{"tolerance": -0.1}, {"tolerance": math.nan}, {"tolerance": 0.0, "restart_every": 0}]
)
def test_settings_that_mean_nothing_are_refused(settings_):
    with pytest.raises(SelfhealError, match="must be at least"):
        monitor_risk([0.5], [0.5], **settings_)
    with pytest.raises(SelfhealError, match="horizon"):
        lower_sequence([0.5], 0.05, horizon=0)


def test_the_monitors_example_is_exact():
    found = monitor_risk(np.ones(40), np.zeros(500), tolerance=0.05, alpha=0.05)
    assert found.threshold == pytest.approx(0.0649, abs=5e-5)
    assert found.threshold == pytest.approx(fixed_sample_upper_bound(np.zeros(500), 0.025) + 0.05)
    assert (found.alarm, found.alarm_index) == (True, 9)
    # The first of the sequences has half of the half of alpha.
    lower = by_definition(np.ones(40), 0.0125)
    assert lower[8] <= found.threshold < lower[9]
    assert found.lower == pytest.approx(max(lower))


@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_false_alarms_over_whole_streams_at_the_border_of_the_null(alpha):
    """The risk is exactly source + tolerance, in the least variable and in the most variable way."""
    rng = np.random.default_rng(6)
    for target in (
        lambda n: rng.beta(2.0, 8.0, n) + 0.02,
        lambda n: (rng.random(n) < 0.22).astype(float),
    ):
        alarms = [
            monitor_risk(
                np.minimum(target(3_000), 1.0), rng.beta(2.0, 8.0, 500), tolerance=0.02, alpha=alpha, seed=seed
            ).alarm
            for seed in range(300)
        ]
        assert np.mean(alarms) <= alpha


@pytest.mark.parametrize(("good", "within"), [(0, 500), (1_000, 900), (5_000, 1_100)])
def test_a_real_rise_is_found_soon_even_after_a_long_good_time(good, within):
    rng = np.random.default_rng(7)
    delays = []
    for _ in range(20):
        stream = np.r_[rng.beta(2.0, 16.0, good), rng.beta(2.0, 6.0, 4_000)]
        found = monitor_risk(stream, rng.beta(2.0, 16.0, 1_000), tolerance=0.02)
        delays.append(found.alarm_index - good)
    assert min(delays) > 0
    assert np.quantile(delays, 0.95) <= within


def test_without_restarts_the_good_time_weighs():
    rng = np.random.default_rng(8)
    stream = np.r_[rng.beta(2.0, 16.0, 5_000), rng.beta(2.0, 6.0, 5_000)]
    source = rng.beta(2.0, 16.0, 1_000)
    often = monitor_risk(stream, source, tolerance=0.02).alarm_index
    never = monitor_risk(stream, source, tolerance=0.02, restart_every=len(stream)).alarm_index
    assert often is not None
    assert never is None or never > often + RESTART_EVERY


def test_the_tolerance_is_borne():
    rng = np.random.default_rng(9)
    stream, source = rng.beta(2.0, 6.0, 3_000), rng.beta(2.0, 8.0, 2_000)
    assert monitor_risk(stream, source, tolerance=0.0).alarm
    assert not monitor_risk(stream, source, tolerance=0.1).alarm


@pytest.mark.parametrize(
    ("target", "source"), [([], [0.1] * 500), ([1.0] * 5, [0.1] * 500), ([1.0] * 500, []), ([1.0] * 500, [0.0] * 3)]
)
def test_what_could_never_have_alarmed_says_so(target, source):
    found = monitor_risk(target, source, tolerance=0.02)
    assert not found.alarm
    assert not found.can_alarm


@given(unit, unit, st.integers(1, 30), st.floats(0.0, 0.3))
@settings(max_examples=80, deadline=None)
def test_an_alarm_is_a_proven_risk_above_the_threshold_and_stays(target, source, restart_every, tolerance):
    found = monitor_risk(target, source, tolerance=tolerance, alpha=0.5, restart_every=restart_every)
    assert found.alarm == (found.lower > found.threshold) == (found.alarm_index is not None)
    assert found.mean == pytest.approx(np.mean(target))
    assert found.can_alarm or not found.alarm
    if found.alarm:
        until = target[: found.alarm_index + 1]
        for stream in (until, [*target, 0.0, 0.0]):
            again = monitor_risk(stream, source, tolerance=tolerance, alpha=0.5, restart_every=restart_every)
            assert again.alarm_index == found.alarm_index
        before = monitor_risk(until[:-1], source, tolerance=tolerance, alpha=0.5, restart_every=restart_every)
        assert not before.alarm


def test_brier_losses_by_hand():
    assert brier_losses([1, 0, 1], [0.9, 0.3, 0.0]) == pytest.approx([0.01, 0.09, 1.0])


@pytest.mark.parametrize(
    ("label", "score"), [([2], [0.5]), ([math.nan], [0.5]), ([1], [1.5]), ([1], [math.nan]), ([1, 0], [0.5])]
)
def test_rows_without_a_brier_loss_are_refused(label, score):
    with pytest.raises(SelfhealError):
        brier_losses(label, score)
