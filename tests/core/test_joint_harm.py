"""Batches that are too small each may show harm together; one good batch ends the row."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.meta_analysis import combine_effects

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.joint_harm import harmed_together
from selfheal_assets.core.statistics.fixed_effect import pooled
from selfheal_assets.core.windows import State, Window

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def batch(number: int, value: float, half: float | None, threshold: float = 0.80) -> Evidence:
    interval = None if half is None else [value - half, value + half]
    return Evidence(
        model="m",
        signal=Signal.PERFORMANCE,
        status=Status.RAISED if half is not None and value + half < threshold else Status.CLEAR,
        batch_id=f"b{number}",
        champion_version="1",
        event_time=BEGIN + timedelta(hours=number),
        value=value,
        threshold=threshold,
        sample_size=1_000,
        reason="",
        details={"interval": interval},
    )


def window_of(*batches: Evidence, k: int = 2) -> Window:
    return Window(signal=Signal.PERFORMANCE, evidence=batches, k=k, n=3)


CASES = [
    ("two that each reach the threshold", [(0.77, 0.035), (0.77, 0.035)], ["b0", "b1"]),
    ("three, the first on the good side", [(0.82, 0.03), (0.77, 0.035), (0.77, 0.035)], ["b1", "b2"]),
    ("a good one between", [(0.77, 0.035), (0.82, 0.03), (0.77, 0.035)], []),
    ("the newest is good", [(0.77, 0.035), (0.77, 0.035), (0.81, 0.03)], []),
    ("too wide, even together", [(0.79, 0.04), (0.79, 0.04)], []),
    ("one alone, however bad", [(0.50, 0.01)], []),
    ("one without an interval", [(0.50, None), (0.50, 0.01)], []),
    ("three where two do not suffice", [(0.78, 0.031), (0.78, 0.031), (0.78, 0.031)], ["b0", "b1", "b2"]),
    ("exactly at the threshold", [(0.80, 0.01), (0.80, 0.01)], []),
    ("not a number", [(float("nan"), 0.01), (0.50, 0.01)], []),
]


@pytest.mark.parametrize(("batches", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_which_batches_show_harm_together(batches: list[tuple[float, float | None]], expected: list[str]) -> None:
    found = window_of(*(batch(i, *one) for i, one in enumerate(batches)))
    assert [e.batch_id for e in harmed_together("roc_auc", found)] == expected


def test_less_is_better_for_a_loss() -> None:
    found = window_of(batch(0, 0.55, 0.06, 0.5), batch(1, 0.55, 0.06, 0.5))
    assert [e.batch_id for e in harmed_together("log_loss", found)] == ["b0", "b1"]
    assert not harmed_together("roc_auc", found)


def test_together_they_are_persistent_and_named() -> None:
    two = (batch(0, 0.77, 0.035), batch(1, 0.77, 0.035))
    assert window_of(*two).state is State.CLEAR
    joint = Window(signal=Signal.PERFORMANCE, evidence=two, k=2, n=3, together=two)
    assert joint.state is State.PERSISTENT
    assert joint.raised == two
    assert "shown together by 2 of the last 2 statements" in str(joint)


@given(
    st.lists(
        st.tuples(st.floats(0.3, 0.95), st.floats(0.005, 0.2)),
        min_size=1,
        max_size=3,
    )
)
def test_no_single_batch_and_no_good_newest_batch_is_ever_harm_together(batches: list[tuple[float, float]]) -> None:
    found = harmed_together("roc_auc", window_of(*(batch(i, *one) for i, one in enumerate(batches))))
    assert len(found) != 1
    if found:
        assert batches[-1][0] < 0.80
        assert all(e.value is not None and e.value < 0.80 for e in found)


@pytest.mark.parametrize(
    ("values", "halves"),
    [([0.7, 0.8], [0.1, 0.02]), ([1.0, 2.0, 4.0], [0.5, 0.25, 1.0]), ([-3.0, 5.0, 0.1, 0.2], [2.0, 1.0, 0.01, 3.0])],
)
def test_pooling_agrees_with_statsmodels(values: list[float], halves: list[float]) -> None:
    reference = combine_effects(np.array(values), np.array(halves) ** 2, method_re="dl")
    assert pooled(values, halves) == pytest.approx((reference.mean_effect_fe, reference.sd_eff_w_fe), rel=1e-12)


def test_the_example_of_the_docstring() -> None:
    assert pooled([0.80, 0.84], [0.02, 0.02]) == pytest.approx((0.82, 0.0141), abs=1e-4)


@pytest.mark.parametrize(
    ("values", "halves"),
    [([], []), ([1.0], [0.0]), ([1.0], [float("inf")]), ([float("nan")], [1.0]), ([1.0, 2.0], [1.0])],
)
def test_what_cannot_be_pooled_is_refused(values: list[float], halves: list[float]) -> None:
    with pytest.raises(SelfhealError, match="finite, with a positive half-width"):
        pooled(values, halves)
