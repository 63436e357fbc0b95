"""Where the features of an answer come from, over a store that the test makes fail, hang, slow down and come back."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import Any

import pytest
from feast_world import model
from hypothesis import given, settings
from hypothesis import strategies as st
from set_clock import SetClock

from selfheal_assets.core.errors import FeatureError, SpecError
from selfheal_assets.core.feature_defaults import default_problems, typed_default
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports.serving import FeatureLevel, OnlineStore, Table
from selfheal_assets.serving.features import ENTITIES_A_QUESTION, FeatureResolver

NOW = datetime(2031, 3, 7, tzinfo=UTC)
LIVE, CACHED, DEFAULT = FeatureLevel
PATIENT_MS = 500.0
"""Where an answer of the store is waited for: a thread may have to wait for the processor."""
DEADLINE_MS = 40.0
SLACK = 0.15
"""Seconds that a thread may wait for the processor, on a machine that does other work too."""
THREADS = 2


class AccountStore:
    """Knows `a0` to `a9`: how many payments, and in which country. `before` is what happens to each question."""

    stored: Mapping[str, str] = {"payments": "Int64", "country": "String"}
    entity_types: Mapping[str, str] = {"account_id": "String"}
    request_types: Mapping[str, str] = {"amount": "Float64"}

    def __init__(self) -> None:
        self.before: Callable[[], None] = lambda: None
        self.questions: list[list[str]] = []

    def names(self) -> list[str]:
        return ["amount", "channel", "payments", "country", "each"]

    def fetch(self, entities: Table, _now: datetime) -> dict[str, list[Any]]:
        keys = list(entities["account_id"])
        self.questions.append(keys)
        self.before()
        known = [isinstance(key, str) and key[0] == "a" for key in keys]
        return {
            "payments": [int(key[1:]) if is_known else None for key, is_known in zip(keys, known, strict=True)],
            "country": ["NL" if is_known else None for is_known in known],
        }

    def on_demand(self, stored: Table, request: Table) -> dict[str, list[Any]]:
        pairs = list(zip(request["amount"], stored["payments"], strict=True))
        if any(payments == 0 for _, payments in pairs):
            raise FeatureError("The function must not divide by zero; it did.")
        return {"each": [None if None in pair else pair[0] / pair[1] for pair in pairs]}


def fail() -> None:
    raise FeatureError("The store must answer; it refused.")


class Bench:
    def __init__(self, spec: ModelSpec) -> None:
        self.clock, self.store = SetClock(), AccountStore()
        store: OnlineStore = self.store
        self.resolver = FeatureResolver(spec, store, self.clock, threads=THREADS)

    def ask(self, *accounts: str | None, amount: float = 12.0) -> tuple[dict[str, list[Any]], list[FeatureLevel]]:
        request = {"amount": [amount] * len(accounts), "channel": ["web"] * len(accounts)}
        resolved = self.resolver.resolve({"account_id": list(accounts)}, request, NOW)
        return {name: list(values) for name, values in resolved.columns.items()}, list(resolved.levels)

    def levels(self, *accounts: str | None) -> list[FeatureLevel]:
        return self.ask(*accounts)[1]


def spec(**serving: Any) -> ModelSpec:
    declared = {"feature_deadline_ms": PATIENT_MS, "defaults": {"payments": 2}, "breaker_failures": 5, **serving}
    return model(**declared)


def feature_threads() -> int:
    return sum(thread.name == "feature-store" for thread in threading.enumerate())


def until(wanted: Callable[[], bool]) -> bool:
    """Whether it becomes true within some seconds."""
    end = monotonic() + 10
    while not wanted() and monotonic() < end:
        sleep(0.01)
    return wanted()


def used(bench: Bench) -> Iterator[Bench]:
    yield bench
    bench.store.before = lambda: None
    bench.resolver.close()
    assert feature_threads() == 0


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield from used(Bench(spec()))


@pytest.fixture
def hurried() -> Iterator[Bench]:
    """With a short deadline, and a breaker that does not open."""
    yield from used(Bench(spec(feature_deadline_ms=DEADLINE_MS, breaker_failures=10_000)))


class TestLevels:
    def test_live_has_every_feature_in_order(self, bench: Bench) -> None:
        columns, levels = bench.ask("a3", "a4", "a3")
        assert list(columns) == bench.store.names()
        assert columns == {
            "amount": [12.0] * 3,
            "channel": ["web"] * 3,
            "payments": [3, 4, 3],
            "country": ["NL"] * 3,
            "each": [4.0, 3.0, 4.0],
        }
        assert levels == [LIVE] * 3
        assert bench.store.questions == [["a3", "a4"]], "each entity once"
        assert bench.resolver.trouble is None

    @pytest.mark.parametrize("account", ["stranger", None])
    def test_an_entity_that_the_live_store_does_not_know_is_live_and_missing(
        self, bench: Bench, account: str | None
    ) -> None:
        columns, levels = bench.ask("a1", account)
        assert levels == [LIVE, LIVE]
        assert (columns["payments"], columns["country"], columns["each"]) == ([1, None], ["NL", None], [12.0, None])

    def test_each_row_falls_back_for_itself(self, bench: Bench) -> None:
        bench.ask("a1", "stranger")
        bench.store.before = fail
        columns, levels = bench.ask("a2", "a1", "stranger")
        assert levels == [DEFAULT, CACHED, CACHED]
        assert columns["payments"] == [2, 1, None]
        assert columns["country"] == [None, "NL", None], "without a default it is missing"
        assert columns["each"] == [6.0, 12.0, None]
        assert "refused" in str(bench.resolver.trouble)
        assert bench.resolver.answered == {LIVE: 2, CACHED: 2, DEFAULT: 1}

    def test_what_was_said_serves_for_its_age_by_the_clock(self, bench: Bench) -> None:
        bench.ask("a1")
        bench.store.before = fail
        bench.clock.moment += timedelta(minutes=60)
        assert bench.levels("a1") == [CACHED]
        bench.clock.moment += timedelta(seconds=1)
        assert bench.levels("a1") == [DEFAULT]

    def test_the_time_of_the_events_does_not_age_it(self, bench: Bench) -> None:
        bench.ask("a1")
        bench.store.before = fail
        for moment in (NOW + timedelta(days=400), NOW - timedelta(days=400)):
            resolved = bench.resolver.resolve({"account_id": ["a1"]}, {"amount": [1.0], "channel": ["web"]}, moment)
            assert list(resolved.levels) == [CACHED]

    def test_a_store_that_comes_back_is_live_again(self, bench: Bench) -> None:
        bench.store.before = fail
        assert bench.levels("a1") == [DEFAULT]
        bench.store.before = lambda: None
        assert bench.levels("a1") == [LIVE]
        assert bench.resolver.trouble is None

    def test_no_rows_ask_nothing(self, bench: Bench) -> None:
        columns, levels = bench.ask()
        assert (levels, bench.store.questions) == ([], [])
        assert set(columns) == set(bench.store.names())

    def test_a_missing_column_is_a_feature_error(self, bench: Bench) -> None:
        with pytest.raises(FeatureError, match=r"account_id.*missing"):
            bench.resolver.resolve({}, {"amount": [1.0], "channel": ["web"]}, NOW)
        with pytest.raises(FeatureError, match=r"'channel'\] are missing"):
            bench.resolver.resolve({"account_id": ["a1"]}, {"amount": [1.0]}, NOW)

    def test_a_function_that_fails_on_one_row_leaves_the_others(self, bench: Bench) -> None:
        columns, levels = bench.ask(*(f"a{number}" for number in range(7)))
        assert columns["each"] == [None, *(12.0 / number for number in range(1, 7))]
        assert levels == [LIVE] * 7
        assert bench.resolver.uncomputed == 1

    @given(st.lists(st.sampled_from(["a0", "a1", "a7", "stranger", None]), max_size=12), st.booleans())
    @settings(max_examples=40, deadline=None)
    def test_rows_of_one_request_do_not_change_each_other(self, accounts: list[str | None], dead: bool) -> None:
        bench = Bench(spec(breaker_failures=1_000, breaker_seconds=1e6))
        bench.ask("a1", "stranger")
        for _ in range(1_000 if dead else 0):
            bench.resolver._breaker.failed()
        assert bench.resolver.breaker_open is dead
        columns, levels = bench.ask(*accounts)
        for place, account in enumerate(accounts):
            alone, level = bench.ask(account)
            assert level == [levels[place]]
            assert {name: values[0] for name, values in alone.items()} == {n: v[place] for n, v in columns.items()}
        bench.resolver.close()


class TestDeadline:
    def test_a_dead_store_is_answered_for_within_the_deadline(self, hurried: Bench) -> None:
        hurried.store.before = fail
        for _ in range(20):
            began = monotonic()
            assert hurried.levels("a1") == [DEFAULT]
            assert monotonic() - began < DEADLINE_MS / 1000 + SLACK

    def test_a_hiccup_is_tried_again_within_the_deadline(self, bench: Bench) -> None:
        times = []

        def hiccup() -> None:
            times.append(monotonic())
            if len(times) < 3:
                fail()

        bench.store.before = hiccup
        assert bench.levels("a1") == [LIVE]
        assert len(times) == 3
        assert times[2] - times[1] > PATIENT_MS / 25_000, "with a pause that grows"
        assert not bench.resolver.breaker_open

    def test_a_slow_store_is_not_waited_for_and_serves_the_cache(self, hurried: Bench) -> None:
        hurried.store.before = lambda: sleep(3 * DEADLINE_MS / 1000)
        began = monotonic()
        assert hurried.levels("a1") == [DEFAULT]
        assert monotonic() - began < DEADLINE_MS / 1000 + SLACK
        assert until(lambda: hurried.levels("a1") == [CACHED])

    def test_a_large_request_has_what_was_answered_in_time(self) -> None:
        bench = Bench(spec(breaker_failures=2))
        bench.store.before = lambda: sleep(0.4 * PATIENT_MS / 1000)
        accounts = [f"a{number}" for number in range(1, 6 * ENTITIES_A_QUESTION)]
        for _ in range(3):
            levels = Counter(bench.levels(*accounts))
            assert levels[LIVE] >= ENTITIES_A_QUESTION
            assert levels[LIVE] < len(accounts)
        assert not bench.resolver.breaker_open, "a store that answers is alive"
        assert max(len(keys) for keys in bench.store.questions) == ENTITIES_A_QUESTION
        bench.resolver.close()

    def test_a_hung_store_takes_few_threads_and_everybody_is_answered_in_time(self, hurried: Bench) -> None:
        bench, release = hurried, threading.Event()
        bench.store.before = lambda: (release.wait(10), None)[1]

        def ask(_: int) -> tuple[FeatureLevel, float]:
            began = monotonic()
            (level,) = bench.levels("a1")
            return level, monotonic() - began

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(60)))
        assert {level for level, _ in answers} == {DEFAULT}
        assert max(seconds for _, seconds in answers) < DEADLINE_MS / 1000 + SLACK
        assert len(bench.store.questions) == feature_threads() == THREADS
        assert sorted(seconds for _, seconds in answers)[30] < DEADLINE_MS / 2000, "once all hang, at once"
        release.set()
        bench.store.before = lambda: None
        assert until(lambda: bench.levels("a1") == [LIVE])

    def test_a_hung_store_does_not_hold_up_the_end(self) -> None:
        bench, release = Bench(spec()), threading.Event()
        bench.store.before = lambda: (release.wait(10), None)[1]
        bench.levels("a1")
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "feature-store")
        began = monotonic()
        bench.resolver.close()
        assert monotonic() - began < 2
        assert bench.levels("a2") == [DEFAULT], "still an answer"
        release.set()

    def test_whatever_the_stores_client_raises_is_answered(self, bench: Bench) -> None:
        def broken() -> None:
            raise RuntimeError("a bug of a client")

        bench.store.before = broken
        assert bench.levels("a1") == [DEFAULT]
        assert bench.resolver.trouble == "a bug of a client"


class TestBreaker:
    def test_it_opens_after_failures_in_a_row_and_the_store_is_left_alone(self) -> None:
        bench = Bench(spec(breaker_failures=10, breaker_seconds=60, feature_deadline_ms=DEADLINE_MS))
        bench.store.before = fail
        for request in range(10):
            assert not bench.resolver.breaker_open, request
            assert bench.levels("a1") == [DEFAULT]
        assert bench.resolver.breaker_open
        asked = len(bench.store.questions)
        assert asked > 10, "each request tries again"
        began = monotonic()
        assert {level for _ in range(50) for level in bench.levels("a1")} == {DEFAULT}
        assert monotonic() - began < 50 * DEADLINE_MS / 2000, "without waiting"
        assert len(bench.store.questions) == asked
        assert "not asked" in str(bench.resolver.trouble)
        bench.resolver.close()

    def test_one_request_probes_and_closes_it(self) -> None:
        bench = Bench(spec(breaker_failures=2, breaker_seconds=60, feature_deadline_ms=200.0))
        bench.store.before = fail
        while not bench.resolver.breaker_open:
            bench.ask("a1")
        bench.clock.moment += timedelta(seconds=60)
        asked = len(bench.store.questions)
        assert bench.levels("a1") == [DEFAULT]
        assert len(bench.store.questions) > asked
        asked = len(bench.store.questions)
        assert bench.levels("a1") == [DEFAULT]
        assert len(bench.store.questions) == asked, "a probe that fails keeps it open"
        bench.clock.moment += timedelta(seconds=60)
        bench.store.before = lambda: None
        assert bench.resolver.breaker_open
        assert bench.levels("a1") == [LIVE]
        assert not bench.resolver.breaker_open
        bench.resolver.close()

    def test_while_one_probes_the_others_do_not_wait(self) -> None:
        bench, release = Bench(spec(breaker_failures=1, feature_deadline_ms=2_000.0)), threading.Event()
        bench.store.before = fail
        bench.ask("a1")
        asked = len(bench.store.questions)
        bench.store.before = lambda: (release.wait(5), None)[1]
        bench.clock.moment += timedelta(seconds=60)
        with ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(bench.levels, "a1") for _ in range(8)]
            sleep(0.2)
            assert sum(future.done() for future in asking) == 7
            release.set()
            assert Counter(future.result()[0] for future in asking) == {DEFAULT: 7, LIVE: 1}
        assert len(bench.store.questions) == asked + 1
        bench.resolver.close()

    def test_slow_answers_are_failures_however_they_end(self) -> None:
        bench = Bench(spec(breaker_failures=3, feature_deadline_ms=10.0))
        bench.store.before = lambda: sleep(0.03)
        for _ in range(3):
            bench.ask("a1")
            sleep(0.04)
        assert bench.resolver.breaker_open
        bench.resolver.close()


STORED = {"count": "Int64", "mean": "Float64", "country": "String", "seen": "UnixTimestamp"}


class TestDefaults:
    def test_good_ones_have_no_problems_and_the_stores_types(self) -> None:
        assert default_problems({"count": 2.0, "mean": 1, "country": "NL"}, STORED) == []
        values = [typed_default(2.0, "Int64"), typed_default(1, "Float32"), typed_default("NL", "String")]
        assert [(type(value), value) for value in values] == [(int, 2), (float, 1.0), (str, "NL")]

    @pytest.mark.parametrize(
        ("defaults", "told"),
        [
            ({"amount": 1.0}, "'amount'"),
            ({"count": 1.5}, "'count' is Int64, received 1.5"),
            ({"mean": "much"}, "'mean' is Float64, received 'much'"),
            ({"mean": float("inf")}, "received inf"),
            ({"count": float("nan")}, "received nan"),
            ({"country": 31}, "'country' is String, received 31"),
            ({"seen": 0}, "'seen' is UnixTimestamp"),
        ],
    )
    def test_each_mistake_is_told(self, defaults: dict[str, float | str], told: str) -> None:
        (problem,) = default_problems(defaults, STORED)
        assert told in problem
        assert "serving.defaults must" in problem

    def test_a_resolver_is_not_made_with_mistakes(self) -> None:
        wrong = replace(spec(), serving=replace(spec().serving, defaults={"each": 1.0, "payments": "two"}))
        with pytest.raises(SpecError, match=r"(?s)'each'.*'payments' is Int64"):
            FeatureResolver(wrong, AccountStore(), SetClock())
