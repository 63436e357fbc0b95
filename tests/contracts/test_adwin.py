"""River's ADWIN as we rely on it: quiet on a steady stream, quick at a step, and deaf to a fall."""

import math
import sys

import numpy as np
import pytest

from selfheal_assets.adapters.adwin import COMPARED_EVERY, detect_rise
from selfheal_assets.core.errors import DetectorError, SelfhealError


def losses(seed, *stretches):
    """Beta losses: (rows, mean) after each other."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.beta(10 * mean, 10 * (1 - mean), rows) for rows, mean in stretches])


def test_a_steady_stream_rarely_alarms():
    streams = [losses(seed, (3_000, 0.15)) for seed in range(100)]
    rng = np.random.default_rng(0)
    streams += [(rng.random(3_000) < 0.1).astype(float) for _ in range(100)]
    assert np.mean([detect_rise(stream).alarm for stream in streams]) <= 0.02


@pytest.mark.parametrize("good", [500, 3_000, 10_000])
def test_a_step_is_found_soon_and_dated(good):
    for seed in range(10):
        stream = losses(seed, (good, 0.1), (1_000, 0.25))
        found = detect_rise(stream)
        assert found.alarm
        assert good < found.index <= good + 300
        assert found.since_index == pytest.approx(good, abs=40)
        assert found.mean_before == pytest.approx(0.1, abs=0.03)
        assert found.mean_after == pytest.approx(0.25, abs=0.06)
        assert found.mean_before == pytest.approx(stream[: found.since_index].mean())


def test_a_fall_is_no_alarm_and_a_rise_after_it_is_dated_in_the_stream():
    assert not detect_rise(losses(1, (2_000, 0.3), (2_000, 0.1))).alarm
    found = detect_rise(losses(1, (2_000, 0.3), (2_000, 0.1), (1_000, 0.3)))
    assert found.alarm
    assert found.since_index == pytest.approx(4_000, abs=40)


def test_the_first_alarm_stands_whatever_comes_after():
    short = losses(2, (1_000, 0.1), (500, 0.3))
    assert detect_rise(short) == detect_rise(np.r_[short, losses(3, (2_000, 0.05))])


def test_without_an_alarm_the_mean_is_that_of_the_window():
    stream = losses(4, (1_000, 0.2))
    found = detect_rise(stream)
    assert (found.alarm, found.index, found.since_index, found.mean_before) == (False, None, None, None)
    assert found.mean_after == pytest.approx(stream.mean())


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_constant_stream_is_no_change(value):
    assert not detect_rise(np.full(2_000, value)).alarm


@pytest.mark.parametrize("rows", [0, 1, COMPARED_EVERY - 1])
def test_too_few_losses_have_no_answer(rows):
    assert detect_rise([1.0] * rows) is None


def test_the_first_look_is_an_answer():
    assert detect_rise([0.5] * COMPARED_EVERY) is not None


@pytest.mark.parametrize("wrong", [math.nan, -0.1, 1.1, None])
def test_what_is_no_loss_is_refused(wrong):
    with pytest.raises(SelfhealError, match="losses"):
        detect_rise([0.1] * 50 + [wrong])


@pytest.mark.parametrize("delta", [0.0, 1.0, math.nan])
def test_a_delta_that_is_no_probability_is_refused(delta):
    with pytest.raises(DetectorError, match="delta"):
        detect_rise([0.1] * 50, delta)


def test_a_smaller_delta_is_slower():
    stream = losses(5, (1_000, 0.1), (1_000, 0.2))
    assert detect_rise(stream, 0.2).index < detect_rise(stream, 1e-12).index


def test_river_is_not_imported_with_the_module():
    import subprocess

    code = "import sys, selfheal_assets.adapters.adwin; sys.exit('river' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
