"""What the last minute of the model servers says, signal by signal."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from watched_servers import BAD, BEGIN, GOOD, LONG_AGO, looked, reading, samples, status

from selfheal_assets.core.evidence import Signal, Status
from selfheal_assets.core.server_reading import Death, ServingStatus
from selfheal_assets.core.server_window import ServerWindow, from_document, to_document
from selfheal_assets.core.serving_health import Assessment, assess
from selfheal_assets.core.serving_spec import ServingSpec

S, CLEAR, RAISED, UNKNOWN = Signal, Status.CLEAR, Status.RAISED, Status.UNKNOWN
SPEC = ServingSpec()


def assessed(*statuses: ServingStatus, champion: bool = True, **changes: Any) -> dict[Signal, Assessment]:
    last, window = looked(*statuses, **changes)
    window = from_document(to_document(window))
    return {one.signal: one for one in assess(SPEC, last, window, champion=champion)}


def said(*statuses: ServingStatus, **changes: Any) -> tuple[Status, ...]:
    """Of errors, timeouts, latency and the feature store."""
    return tuple(one.status for one in assessed(*statuses, **changes).values())


def between(*first_and_last: dict[str, Any], **changes: Any) -> tuple[Status, ...]:
    """A server counted this much at the first look, and that much at the last."""
    return said(*(status(reading(samples(**counts))) for counts in first_and_last), **changes)


BEFORE = {"ok": 100, "levels": {"live": 100}}
LOOKS: list[tuple[str, list[dict[str, Any]], tuple[Status, ...]]] = [
    ("well", [BEFORE, {"ok": 200, "levels": {"live": 200}}], (CLEAR, CLEAR, CLEAR, CLEAR)),
    ("errors", [BEFORE, {"ok": 147, "error": 3, "levels": {"live": 150}}], (RAISED, CLEAR, CLEAR, CLEAR)),
    ("too few errors", [BEFORE, {"ok": 110, "error": 2, "levels": {"live": 112}}], (CLEAR, CLEAR, CLEAR, CLEAR)),
    ("a small share", [BEFORE, {"ok": 500, "error": 3, "levels": {"live": 503}}], (CLEAR, CLEAR, CLEAR, CLEAR)),
    ("old errors", [{"ok": 100, "error": 50}, {"ok": 200, "error": 50}], (CLEAR, CLEAR, CLEAR, CLEAR)),
    ("timeouts", [BEFORE, {"ok": 120, "timeout": 5, "levels": {"live": 125}}], (CLEAR, RAISED, CLEAR, CLEAR)),
    ("slow", [BEFORE, {"ok": 200, "slow": 5, "levels": {"live": 200}}], (CLEAR, CLEAR, RAISED, CLEAR)),
    ("two slow", [BEFORE, {"ok": 120, "slow": 2, "levels": {"live": 120}}], (CLEAR, CLEAR, CLEAR, CLEAR)),
    ("cached", [BEFORE, {"ok": 200, "levels": {"live": 150, "cached": 50}}], (CLEAR, CLEAR, CLEAR, RAISED)),
    ("breaker", [BEFORE, {**BEFORE, "ok": 101, "breaker_open": True}], (CLEAR, CLEAR, CLEAR, RAISED)),
]


@pytest.mark.parametrize(("counts", "expected"), [row[1:] for row in LOOKS], ids=[row[0] for row in LOOKS])
def test_what_requests_met(counts: list[dict[str, Any]], expected: tuple[Status, ...]) -> None:
    assert between(*counts) == expected


def test_without_requests_probes_tell_and_without_either_nothing_is_known() -> None:
    idle = reading(samples())
    assert said(status(idle), status(idle)) == (CLEAR, CLEAR, CLEAR, CLEAR)
    silent = reading(samples(), probe=None)
    assert said(status(silent), status(silent)) == (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)


def test_one_look_at_a_server_that_ran_before_counts_nothing_of_its_past() -> None:
    broken = reading(samples(ok=10, error=90), probe=None)
    assert said(status(broken)) == (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)


def test_probes_that_fail_or_are_slow_are_faults_when_there_are_three() -> None:
    bad = status(reading(samples(), probe=BAD))
    assert said(bad, bad) == (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
    found = assessed(bad, bad, bad)
    assert found[S.ERRORS].status is RAISED
    assert "fails its probes: 20 of 20 scores differ" in found[S.ERRORS].reason
    assert found[S.ERRORS].details["pids"] == [7]
    assert not found[S.ERRORS].by_requests
    slow = status(reading(samples(), probe=type(GOOD)(ok=True, level="default", milliseconds=150.0)))
    assert said(slow, slow, slow) == (CLEAR, CLEAR, RAISED, RAISED)


def test_a_hung_process_is_told_from_a_late_page() -> None:
    well, hung = status(reading(samples(ok=5))), status(reading(None))
    assert said(well, hung)[0] is CLEAR, "one late page"
    found = assessed(well, hung, hung, hung)
    assert found[S.ERRORS].status is RAISED
    assert "hangs: ReadTimeout" in found[S.ERRORS].reason
    assert found[S.ERRORS].details["pids"] == [7]


def test_a_window_that_is_shorter_than_patience_hides_no_hang() -> None:
    short = replace(SPEC, window_seconds=4.0)
    last, window = looked(*[status(reading(None))] * 4, every=2.0, window=4.0)
    assert assess(short, last, window, champion=True)[0].status is RAISED


def test_a_server_that_starts_is_waited_for_and_one_that_never_is_ready_is_at_fault() -> None:
    starting = reading(samples(), started=BEGIN - timedelta(seconds=20), ready=False, probe=BAD)
    assert said(status(starting), status(starting)) == (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
    late = reading(samples(), ready=False, probe=BAD, problems=("No model stands ready yet.",))
    found = assessed(status(late), status(late))
    assert found[S.ERRORS].status is RAISED
    assert "No model stands ready yet." in found[S.ERRORS].reason
    assert assessed(status(late), status(late), champion=False)[S.ERRORS].status is UNKNOWN, "there is no model"


def test_a_death_is_told_for_the_length_of_the_window() -> None:
    new = reading(samples(), pid=8, started=BEGIN + timedelta(seconds=4))
    died = [Death(pid=7, at=BEGIN + timedelta(seconds=2), words="it was ended by SIGKILL")]
    before = status(reading(samples()))
    found = assessed(before, status(new, deaths=died))
    assert found[S.ERRORS].status is RAISED
    assert found[S.ERRORS].reason == "process 7 ended unasked: it was ended by SIGKILL"
    assert said(before, *[status(new, deaths=died)] * 14)[0] is CLEAR


def test_a_server_that_is_to_run_and_does_not_is_a_fault_and_one_that_nobody_wants_is_not() -> None:
    none = status(wanted_since=LONG_AGO)
    assert said(none, none)[0] is UNKNOWN
    found = assessed(none, none, none)
    assert found[S.ERRORS].reason == "no server runs, and one is to be kept running"
    assert said(status(), status(), status()) == (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)


def test_servers_are_counted_together_and_a_new_process_from_zero() -> None:
    old = [reading(samples(ok=ok), pid=1) for ok in (1000, 1010)]
    new = reading(samples(ok=5, error=5), pid=2, started=BEGIN + timedelta(seconds=1))
    found = assessed(status(old[0]), status(old[1], new))
    assert (found[S.ERRORS].sample_size, found[S.ERRORS].value) == (20, 0.25)


def test_counters_that_begin_anew_are_not_counted_backwards() -> None:
    assert between({"ok": 1000}, {"ok": 3}) == (CLEAR, CLEAR, CLEAR, CLEAR)


def test_the_window_moves() -> None:
    errors = [status(reading(samples(ok=100 + n, error=10 if n else 0))) for n in range(20)]
    assert said(*errors[:5])[0] is RAISED
    assert said(*errors)[0] is CLEAR, "the errors are longer ago than a minute"


def test_looks_stay_few_and_survive_the_cursor() -> None:
    _, window = looked(*[status(reading(samples(ok=n))) for n in range(400)], every=1.0)
    assert len(window.looks) <= 20
    assert window.counted().ok == pytest.approx(60, abs=6)
    assert to_document(from_document(to_document(window))) == to_document(window)
    for broken in (None, 7, [{}], [{"at": "x", "servers": {}}]):
        assert from_document(broken) == ServerWindow()


def test_a_clock_that_was_set_back_begins_anew() -> None:
    _, window = looked(status(reading(samples(ok=1))), status(reading(samples(ok=9))), every=-5.0)
    assert len(window.looks) == 1
