"""Whether a heal pays: the sums exactly, what is assumed, and what is learned from the past."""

from dataclasses import replace
from datetime import timedelta

import pytest
from given import HOUR, heal
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.core.causes import Action
from selfheal_assets.core.cost import Sums, sums
from selfheal_assets.core.model_spec import CostSpec

DEAR = CostSpec(value_per_unit_day=1_000.0, horizon_days=7.0, compute_per_hour=3.0, per_heal=50.0)


def reckoned(spec: CostSpec, drop: float | None, *heals: object) -> Sums:
    found = sums(spec, Action.RETRAIN, drop, 0.05, heals)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_without_a_declared_value_there_are_no_sums() -> None:
    assert sums(replace(DEAR, value_per_unit_day=0.0), Action.RETRAIN, 0.1, 0.05, []) is None


def test_the_sums() -> None:
    found = reckoned(DEAR, 0.02, heal(30, took=2 * HOUR))
    assert found.loss == pytest.approx(0.02 * 1_000 * 7)
    assert found.cost == pytest.approx(2 * 3 + 50)
    assert found.pays
    assert found.words == (
        "expected loss 140.00 = drop 0.0200 x 1000 a day x 7 days; cost 56.00 = 2.000 h (1 past) x 3 + 50"
    )


def test_a_drop_that_was_not_measured_is_assumed_and_said_to_be() -> None:
    found = reckoned(DEAR, None)
    assert found.loss == pytest.approx(0.05 * 1_000 * 7)
    assert "drop 0.0500 (assumed) x" in found.words
    assert "(assumed)" not in reckoned(DEAR, 0.05).words
    assert reckoned(DEAR, 0.0).loss == 0.0, "a drop of nothing was measured"


def test_the_hours_are_the_median_of_the_same_actions_past() -> None:
    past = [heal(90, took=HOUR), heal(60, took=9 * HOUR), heal(30, took=2 * HOUR)]
    others = [heal(20, Action.RECALIBRATE, took=50 * HOUR), heal(1, took=None)]
    assert reckoned(DEAR, 0.1, *past, *others).cost == pytest.approx(2 * 3 + 50)
    assert "2.000 h (3 past)" in reckoned(DEAR, 0.1, *past, *others).words
    assert reckoned(DEAR, 0.1, *past[:2]).cost == pytest.approx(5 * 3 + 50)
    assert reckoned(DEAR, 0.1, *others).cost == 50.0, "without a past they count as nothing"


def test_the_wait_for_an_approval_costs_nothing() -> None:
    waited = replace(heal(30, took=22 * HOUR), let_through=heal(10).decision.recorded_at)
    assert waited.seconds == timedelta(hours=2).total_seconds()
    assert reckoned(DEAR, 0.1, waited).cost == pytest.approx(2 * 3 + 50)


def test_a_heal_that_breaks_even_pays() -> None:
    spec = CostSpec(value_per_unit_day=10.0, horizon_days=1.0, per_heal=1.0)
    assert reckoned(spec, 0.1).pays
    assert not reckoned(spec, 0.0999).pays


numbers = st.floats(0.0, 1e6)


@given(numbers.filter(bool), numbers.filter(bool), numbers, numbers, st.one_of(st.none(), st.floats(0.0, 1.0)))
def test_a_greater_drop_never_pays_less(
    value: float, days: float, rate: float, per_heal: float, drop: float | None
) -> None:
    spec = CostSpec(value_per_unit_day=value, horizon_days=days, compute_per_hour=rate, per_heal=per_heal)
    found = reckoned(spec, drop, heal(5))
    assert found.pays == (found.loss >= found.cost)
    worse = reckoned(spec, 2 * (0.05 if drop is None else drop), heal(5))
    assert worse.loss >= found.loss
    assert worse.cost == found.cost
    assert worse.pays or not found.pays
