"""One assessment for both detectors: its status, its sentence, and where the harm began."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.sequential_harm import LossChange, assess_change, assess_risk

RNG = np.random.default_rng(0)
SOURCE = RNG.beta(2.0, 16.0, 1_000)


def stream(good, bad, seed=1):
    rng = np.random.default_rng(seed)
    return np.r_[rng.beta(2.0, 16.0, good), rng.beta(2.0, 6.0, bad)]


def test_harm_is_raised_with_where_it_began():
    losses = stream(2_000, 2_000)
    found = assess_risk(losses, SOURCE, tolerance=0.02)
    assert (found.status, found.alarm, found.detector) == (Status.RAISED, True, "sequential_risk")
    assert found.since_index == pytest.approx(2_000, abs=50)
    assert 2_000 < found.alarm_index < 3_000
    assert found.lower > found.threshold
    assert found.mean == pytest.approx(losses[found.since_index :].mean())
    for words in (f"row {found.alarm_index} of 4000", f"row {found.since_index} on", "tolerance 0.02", "at most"):
        assert words in found.reason


def test_a_model_that_was_bad_from_the_start_is_dated_there():
    found = assess_risk(stream(0, 1_000), SOURCE, tolerance=0.02)
    assert found.alarm
    assert found.since_index <= 20


def test_no_harm_is_clear_with_figures():
    losses = stream(3_000, 0)
    found = assess_risk(losses, SOURCE, tolerance=0.02)
    assert (found.status, found.alarm, found.alarm_index, found.since_index) == (Status.CLEAR, False, None, None)
    assert found.mean == pytest.approx(losses.mean())
    assert "not proven" in found.reason


@pytest.mark.parametrize(("losses", "source"), [([], SOURCE), ([1.0] * 5, SOURCE), (stream(500, 0), [])])
def test_too_little_to_alarm_is_unknown(losses, source):
    found = assess_risk(losses, source, tolerance=0.02)
    assert (found.status, found.alarm) == (Status.UNKNOWN, False)
    assert "cannot prove" in found.reason


def test_a_missing_loss_is_refused():
    with pytest.raises(SelfhealError, match="losses"):
        assess_risk([0.1, math.nan], SOURCE, tolerance=0.02)


@given(st.lists(st.floats(0.0, 1.0), max_size=80), st.lists(st.floats(0.0, 1.0), max_size=80), st.floats(0.0, 0.2))
@settings(max_examples=80, deadline=None)
def test_any_losses_have_an_assessment_that_agrees_with_itself_and_can_be_written(losses, source, tolerance):
    found = assess_risk(losses, source, tolerance=tolerance, alpha=0.3)
    details = found.to_details()
    assert json.loads(json.dumps(details, allow_nan=False)) == details
    assert {"detector", "alarm", "reason", "status"} <= details.keys()
    assert found.alarm == (found.status is Status.RAISED)
    if found.alarm:
        assert 0 <= found.since_index <= found.alarm_index < len(losses)
        assert found.mean is not None


def test_a_change_detectors_answer_is_told():
    rise = LossChange(alarm=True, index=130, since_index=100, mean_before=0.1, mean_after=0.25)
    found = assess_change(rise, 400)
    assert (found.status, found.alarm, found.alarm_index, found.since_index) == (Status.RAISED, True, 130, 100)
    assert (found.mean, found.threshold, found.lower) == (0.25, 0.1, None)
    assert found.reason == "the mean loss rose from 0.1000 to 0.2500 from row 100 of 400 on, seen at row 130"
    json.dumps(found.to_details(), allow_nan=False)


def test_no_change_is_clear_and_no_look_is_unknown():
    steady = LossChange(alarm=False, index=None, since_index=None, mean_before=None, mean_after=0.1)
    assert assess_change(steady, 400).status is Status.CLEAR
    assert assess_change(None, 5).status is Status.UNKNOWN
    assert not assess_change(None, 5).alarm
