"""What the first minutes of requests say of a promotion."""

from dataclasses import replace
from datetime import timedelta

import pytest
from given import SPEC
from watched_servers import BEGIN

from selfheal_assets.core.evidence import Signal, Status
from selfheal_assets.core.release_health import Release, assess_business, assess_release_fault
from selfheal_assets.core.served_counts import Business
from selfheal_assets.core.serving_health import Assessment

CLEAR, RAISED, UNKNOWN = Status.CLEAR, Status.RAISED, Status.UNKNOWN
RELEASE = Release(version="2", at=BEGIN, previous="1")
LIVE = (Signal.ERRORS, Signal.TIMEOUTS, Signal.LATENCY)


def faults(*raised: Signal, by_requests: bool = True, otherwise: Status = CLEAR) -> list[Assessment]:
    return [
        Assessment(
            signal=signal,
            status=RAISED if signal in raised else otherwise,
            value=0.5,
            threshold=0.02,
            sample_size=100,
            reason=f"{signal} it is",
            by_requests=by_requests and signal in raised,
        )
        for signal in LIVE
    ]


def fault(
    found: list[Assessment], *, minutes: float = 2, before: tuple[Signal, ...] = (), standing: bool = False
) -> Status | None:
    now = BEGIN + timedelta(minutes=minutes)
    assessed = assess_release_fault(SPEC, RELEASE, found, before, now, standing=standing)
    return assessed.status if assessed else None


@pytest.mark.parametrize("signal", LIVE)
def test_a_fault_that_requests_meet_soon_after_a_promotion_is_its(signal: Signal) -> None:
    assert fault(faults(signal)) is RAISED
    assert fault(faults(signal), before=(signal,)) is UNKNOWN, "it stood before"
    assert fault(faults(signal), minutes=16) is None, "the watch is over"
    assert fault(faults(signal), minutes=16, standing=True) is RAISED, "it lasts"
    assert fault(faults(signal, by_requests=False)) is UNKNOWN, "a process died: nobody's release"


def test_it_is_clear_when_all_is_and_not_before() -> None:
    assert fault(faults()) is CLEAR
    assert fault(faults(otherwise=UNKNOWN)) is UNKNOWN
    assert fault(faults(), minutes=16, standing=True) is CLEAR


def values(mean: float, number: int) -> Business:
    return Business(values=number, total=mean * number, squares=mean * number)


def business(new: Business, old: Business, minutes: float = 2) -> Status | None:
    now = BEGIN + timedelta(minutes=minutes)
    assessed = assess_business(SPEC, RELEASE, {"2": new, "1": old}, now)
    return assessed.status if assessed else None


def test_a_fall_counts_when_it_is_large_and_beyond_chance() -> None:
    assert business(values(0.4, 2_000), values(0.5, 2_000)) is RAISED
    assert business(values(0.4, 60), values(0.5, 60)) is CLEAR, "it may be chance"
    assert business(values(0.49, 200_000), values(0.5, 200_000)) is CLEAR, "it is small"
    assert business(values(0.6, 2_000), values(0.5, 2_000)) is CLEAR, "it rose"
    assert business(values(0.0, 60), values(0.5, 60)) is RAISED


def test_without_values_enough_nothing_is_known_and_without_any_nothing_is_said() -> None:
    assert business(values(0.1, 49), values(0.5, 2_000)) is UNKNOWN
    assert business(values(0.1, 2_000), values(0.5, 49)) is UNKNOWN
    assert business(values(0.0, 100), values(0.0, 100)) is UNKNOWN, "of nothing no share can be lost"
    assert business(Business(), Business()) is None
    assert business(values(0.1, 2_000), values(0.5, 2_000), minutes=16) is None


def test_the_declared_limits_count() -> None:
    lax = replace(SPEC, serving=replace(SPEC.serving, max_business_drop=0.5, business_minutes=60.0))
    found = assess_business(lax, RELEASE, {"2": values(0.4, 2_000), "1": values(0.5, 2_000)}, BEGIN)
    assert found is not None
    assert found.status is CLEAR
    late = BEGIN + timedelta(minutes=59)
    assert assess_business(lax, RELEASE, {"2": values(0.4, 90), "1": values(0.5, 90)}, late) is not None
    short = replace(SPEC, rollout=replace(SPEC.rollout, bake_minutes=1.0))
    now = BEGIN + timedelta(minutes=2)
    assert assess_release_fault(short, RELEASE, faults(Signal.ERRORS), (), now, standing=False) is None
