"""What servers served in the last minutes, summed over processes that come, go, hang and begin anew."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from watched_servers import BEGIN, LONG_AGO, reading, samples, status

from selfheal_assets.core.rollout_look import BUCKETS
from selfheal_assets.core.served_counts import Business, Served, served_of
from selfheal_assets.core.served_past import SPANS, ServedPast, from_document, to_document
from selfheal_assets.core.server_reading import Sample, ServerReading, ServingStatus
from selfheal_assets.core.serving_spec import ServingSpec

SPEC = ServingSpec()
MINUTE = timedelta(minutes=1)
EVER = BEGIN - timedelta(days=9), BEGIN + timedelta(days=9)


def low(number: int) -> tuple[int, ...]:
    return (number, *(0,) * (BUCKETS - 1))


def counted(number: int, version: str = "1", pid: int = 7, **more: Any) -> ServerReading:
    """A process that has scored so many rows under the version, all live, and started long ago."""
    told = {"levels": {"live": number}, "scores": {version: low(number)}, **more}
    started = told.pop("started", LONG_AGO)
    return reading(samples(number, **told), pid=pid, started=started)


def remembered(
    *looks: tuple[float, Sequence[ServerReading], str | None], spec: ServingSpec = SPEC, past: ServedPast | None = None
) -> ServedPast:
    """Looks at so many seconds, through the cursor each time."""
    past = past or ServedPast()
    for seconds, servers, version in looks:
        past = past.with_look(spec, status(*servers), BEGIN + timedelta(seconds=seconds), version)
        past = from_document(json.loads(json.dumps(to_document(past))))
    return past


def scored(past: ServedPast, version: str = "1", begin: datetime = EVER[0], end: datetime = EVER[1]) -> int:
    return sum(past.scored_between(version, begin, end).scores)


LIVES: list[tuple[str, list[tuple[float, Sequence[ServerReading], str | None]], int]] = [
    ("what was counted before the first look is not of these minutes", [(0, [counted(500)], "1")], 0),
    ("the difference of two looks", [(0, [counted(500)], "1"), (5, [counted(540)], "1")], 40),
    (
        "all processes together",
        [(0, [counted(500), counted(10, pid=8)], "1"), (5, [counted(540), counted(15, pid=8)], "1")],
        45,
    ),
    (
        "a process that began since counts from zero",
        [(0, [counted(500)], "1"), (5, [counted(500), counted(9, pid=8, started=BEGIN + timedelta(seconds=2))], "1")],
        9,
    ),
    (
        "also where it did not answer at first",
        [
            (0, [], "1"),
            (5, [reading(None, pid=8, started=BEGIN + timedelta(seconds=2))], "1"),
            (10, [counted(9, pid=8, started=BEGIN + timedelta(seconds=2))], "1"),
        ],
        9,
    ),
    ("one that is seen late does not", [(0, [], "1"), (5, [counted(500)], "1"), (10, [counted(507)], "1")], 7),
    (
        "a page that is late loses nothing",
        [(0, [counted(500)], "1"), (5, [reading(None)], "1"), (10, [counted(530)], "1")],
        30,
    ),
    (
        "a worker that began anew is counted from then on",
        [(0, [counted(500)], "1"), (5, [counted(20)], "1"), (10, [counted(50)], "1")],
        30,
    ),
    (
        "what a challenger scored before its promotion does not count",
        [(0, [counted(500, "2")], "1"), (5, [counted(540, "2")], "2"), (10, [counted(550, "2")], "2")],
        0,
    ),
    ("a clock that was set back begins anew", [(9, [counted(500)], "1"), (4, [counted(540)], "1")], 0),
    ("nothing without a champion", [(0, [counted(500)], None), (5, [counted(540)], None)], 0),
]


@pytest.mark.parametrize(("looks", "expected"), [row[1:] for row in LIVES], ids=[row[0] for row in LIVES])
def test_what_counts(looks: Any, expected: int) -> None:
    assert scored(remembered(*looks)) == expected


def test_another_champion_is_counted_from_the_look_that_first_saw_it() -> None:
    both = [{"1": low(500), "2": low(80)}, {"1": low(500), "2": low(90)}, {"1": low(501), "2": low(130)}]
    servers = [[reading(samples(0, scores=told))] for told in both]
    past = remembered((0, servers[0], "1"), (5, servers[1], "2"), (10, servers[2], "2"))
    assert (scored(past, "1"), scored(past, "2")) == (0, 40)
    assert past.scored_since("2", BEGIN)
    assert not past.scored_since("2", BEGIN - MINUTE)


def test_what_is_kept_is_bounded_and_long_enough_whatever_the_pace() -> None:
    for every in (1.0, 5.0, 30.0, 400.0):
        looks = [(every * n, [counted(n)], "1") for n in range(int(3_600 / every) + 2)]
        past = ServedPast()
        for seconds, servers, version in looks:
            past = past.with_look(SPEC, status(*servers), BEGIN + timedelta(seconds=seconds), version)
        assert past.at is not None
        for spans, minutes in ((past.scored, 10), (past.posted, 30)):
            assert len(spans) <= SPANS + 2
            assert spans[0].begins <= past.at - minutes * MINUTE
            assert all(one.ends == other.begins for one, other in pairwise(spans))
        assert past.scored_since("1", past.at - 10 * MINUTE)
        assert len(json.dumps(to_document(past), separators=(",", ":"))) < 6_000


def test_where_no_server_is_nothing_is_kept_and_a_short_absence_costs_nothing() -> None:
    looks: list[tuple[float, Sequence[ServerReading], str | None]] = [(5.0 * n, [], "1") for n in range(100)]
    none = remembered(*looks)
    assert (none.scored, none.posted, none.processes) == ((), (), {})
    gone = remembered((0, [counted(5)], "1"), (5, [counted(9)], "1"), (10, [], "1"), (15, [counted(20)], "1"))
    assert scored(gone) == 4
    assert gone.scored[0].begins == BEGIN
    late = remembered(*[(20.0 + 60 * n, [], "1") for n in range(40)], past=gone)
    assert (late.scored, late.posted) == ((), ())


def test_a_time_in_which_nobody_looked_is_of_no_minutes() -> None:
    past = remembered((0, [counted(0)], "1"), (60, [counted(10)], "1"), (3_600, [counted(9_000)], "1"))
    now = BEGIN + timedelta(seconds=3_600)
    assert scored(past, begin=now - 10 * MINUTE) == 0


def test_business_values_are_told_by_version_and_time() -> None:
    posted = [{"1": (50.0, 25.0, 25.0)}, {"1": (90.0, 60.0, 60.0)}, {"1": (95.0, 61.0, 61.0), "2": (10.0, 4.0, 4.0)}]
    posted.append({"1": (99.0, 62.0, 62.0), "2": (40.0, 14.0, 14.0)})
    servers = [[reading(samples(0, business=told))] for told in posted]
    versions = ["1", "1", "2", "2"]
    past = remembered(*[(60.0 * n, servers[n], versions[n]) for n in range(4)])
    assert past.posted_between("1", *EVER) == Business(values=40, total=35, squares=35)
    assert past.posted_between("2", *EVER) == Business(values=30, total=10, squares=10)
    assert past.posted_between("1", BEGIN + MINUTE, EVER[1]) == Business()


def test_metrics_of_another_kind_count_nothing() -> None:
    one = Sample(name="selfheal_score_bucket", labels={"version": "1", "le": "0.5"}, value=9.0)
    nan = Sample(name="selfheal_business_total", labels={"version": "1"}, value=float("nan"))
    assert served_of([one, nan], "1") == Served(), "other buckets, and what is no number"
    mixed = samples(5, levels={"live": 3, "cached": 1, "default": 1}, scores={"1": low(5), "2": low(8)})
    assert served_of(mixed, "1") == Served(scores=low(5), rows=5, fallen_back=2)


@pytest.mark.parametrize("broken", [None, 7, [], {}, {"at": "x"}, {"at": None, "version": None, "processes": []}])
def test_a_cursor_that_is_none_begins_anew(broken: Any) -> None:
    assert from_document(broken) == ServedPast()
    whole = to_document(remembered((0, [counted(1)], "1"), (5, [counted(2)], "1")))
    for name, wrong in (("processes", {"7": [1, 2]}), ("scored", [["1"]]), ("posted", [["1", "x", "y", []]])):
        assert from_document({**whole, name: wrong}) == ServedPast()


process = st.integers(1, 3)
life = st.lists(
    st.tuples(st.sets(process), st.dictionaries(process, st.integers(0, 50)), st.integers(1, 90)), max_size=40
)


@given(life)
def test_no_row_is_counted_twice_and_none_of_a_process_that_is_seen_is_lost(
    steps: list[tuple[set[int], Mapping[int, int], int]],
) -> None:
    """Whoever answers or hangs: in the end, when all do, the sum is what was scored since the first look."""
    long = replace(SPEC, score_minutes=600.0)
    totals, past, seconds = dict.fromkeys((1, 2, 3), 100), ServedPast(), 0

    def seen(silent: set[int]) -> ServingStatus:
        return status(*(reading(None, pid=p) if p in silent else counted(n, pid=p) for p, n in totals.items()))

    past = past.with_look(long, seen(set()), BEGIN, "1")
    for silent, more, later in steps:
        seconds += later
        for pid, number in more.items():
            totals[pid] += number
        past = past.with_look(long, seen(silent), BEGIN + timedelta(seconds=seconds), "1")
        assert scored(past) <= sum(totals.values()) - 300
    past = past.with_look(long, seen(set()), BEGIN + timedelta(seconds=seconds + 1), "1")
    assert scored(past) == sum(totals.values()) - 300
    assert from_document(to_document(past)) == past
