"""Holds FeastOnline, on a real Feast store, to the port of the model server's features, and to Feast's own answers."""

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from time import monotonic, perf_counter, sleep

import numpy as np
import pytest
from feast_world import NOW, STORED, FeastWorld, model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfheal_assets.adapters.clocks import SystemClock
from selfheal_assets.adapters.feast_serving import FeastOnline
from selfheal_assets.core.errors import FeatureError
from selfheal_assets.ports.serving import FeatureLevel
from selfheal_assets.serving.features import THREADS, FeatureResolver

ACCOUNT = st.sampled_from([*(f"a{number}" for number in range(8)), "stranger", "", "\0", "é", None])
AMOUNT = st.one_of(st.none(), st.integers(-5, 5), st.floats(-1e6, 1e6, allow_nan=False))
CHANNEL = st.sampled_from(["web", "pos", "ü", None])
ROWS = st.lists(st.tuples(ACCOUNT, AMOUNT, CHANNEL), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FeastWorld:
    world = FeastWorld(tmp_path_factory.mktemp("feast"))
    world.publish()
    return world


@pytest.fixture
def away(world: FeastWorld, tmp_path: Path) -> Iterator[Path]:
    """The online store's file, taken elsewhere; put back afterwards."""
    kept = tmp_path / "kept.db"
    shutil.copy2(world.online_file, kept)
    yield tmp_path / "away.db"
    shutil.copy2(kept, tmp_path / "put.db")
    os.replace(tmp_path / "put.db", world.online_file)


def opened(world: FeastWorld, service: str = "payments_v1") -> FeastOnline:
    return FeastOnline(model(service), world.home, world.roots)


@pytest.fixture(scope="module")
def online(world: FeastWorld) -> FeastOnline:
    return opened(world)


@pytest.fixture(scope="module")
def mixed(world: FeastWorld) -> FeastOnline:
    return opened(world, "mixed_v1")


def feast_says(world: FeastWorld, service: str, asked: dict[str, list[object]]) -> dict[str, list[object]]:
    """Feast's own way, for keys that it takes."""
    store = world.features._store
    return store.get_online_features(features=store.get_feature_service(service), entity_rows=asked).to_dict()


def told(store: FeastOnline, rows: list[tuple[object, ...]]) -> dict[str, list[object]]:
    account, amount, channel = (list(values) for values in zip(*rows, strict=True))
    stored = store.fetch({"account_id": account}, NOW)
    return {**stored, **store.on_demand(stored, {"account_id": account, "amount": amount, "channel": channel})}


def feast_given(rows: list[tuple[object, ...]]) -> dict[str, list[object]]:
    """What we ask Feast: numbers as declared, a key that none has for one that is missing."""
    account, amount, channel = zip(*rows, strict=True)
    return {
        "account_id": ["\0" if value is None else value for value in account],
        "amount": [None if value is None else float(value) for value in amount],
        "channel": list(channel),
    }


class TestDeclared:
    def test_the_columns_and_their_types(self, online: FeastOnline) -> None:
        assert list(online.stored) == STORED
        assert {online.stored["payments_1h"], online.stored["amount_mean_30d"]} == {"Int64", "Float64"}
        assert online.entity_types == {"account_id": "String"}
        assert online.request_types == {"amount": "Float64"}
        assert online.names() == ["amount", "channel", *STORED, "amount_ratio", "log_amount"]

    def test_what_only_an_on_demand_view_needs_is_stored_but_no_feature(self, mixed: FeastOnline) -> None:
        assert set(mixed.stored) == set(STORED)
        assert set(STORED) & set(mixed.names()) == {"payments_1h"}

    def test_an_undeclared_service_is_a_feature_error(self, world: FeastWorld) -> None:
        with pytest.raises(FeatureError, match=r"nowhere.*selfheal init"):
            opened(world, "nowhere")


class TestFetch:
    def test_gives_what_feast_gives_a_row_at_a_time_and_many(self, world: FeastWorld, online: FeastOnline) -> None:
        accounts = [f"a{number}" for number in range(8)]
        found = online.fetch({"account_id": accounts}, NOW)
        said = feast_says(world, "payments_v1", {"account_id": accounts, "amount": [1.0] * 8})
        assert found == {name: said[name] for name in STORED}
        assert sum(value is not None for value in found["payments_1h"]) == 8
        for place, account in enumerate(accounts):
            single = online.fetch({"account_id": [account]}, NOW)
            assert {name: values[0] for name, values in single.items()} == {n: v[place] for n, v in found.items()}

    @pytest.mark.parametrize("key", ["stranger", None, "", "\0", "\ud800", 7, 10**30, "x" * 100_000])
    def test_a_key_that_nobody_has_is_unknown_whatever_it_is(self, online: FeastOnline, key: object) -> None:
        found = online.fetch({"account_id": ["a1", key, "a1"]}, NOW)
        assert {name: values[1] for name, values in found.items()} == dict.fromkeys(STORED)
        assert found["payments_1h"][0] == found["payments_1h"][2] is not None

    def test_what_is_past_its_ttl_is_missing_to_the_second(self, online: FeastOnline) -> None:
        store = online._store
        answer = store.get_online_features(
            features=["payments_history:payments_1h"], entity_rows={"account_id": ["a1"]}
        ).to_dict(include_event_timestamps=True)
        last = NOW.fromtimestamp(answer["payments_1h__ts"][0], tz=NOW.tzinfo) + timedelta(days=30)
        assert online.fetch({"account_id": ["a1"]}, last)["payments_1h"] == answer["payments_1h"]
        assert online.fetch({"account_id": ["a1"]}, last + timedelta(seconds=1)) == {name: [None] for name in STORED}

    def test_each_view_has_a_ttl_of_its_own(self, world: FeastWorld) -> None:
        two = opened(world, "two_v1")
        world.features._store.write_to_online_store(
            "account_days", _one_row({"account_id": "a1", "known_days": 4, "event_timestamp": NOW})
        )
        soon = two.fetch({"account_id": ["a1"]}, NOW + timedelta(minutes=59))
        late = two.fetch({"account_id": ["a1"]}, NOW + timedelta(minutes=61))
        assert (soon["known_days"], late["known_days"]) == ([4], [None])
        assert soon["payments_1h"] == late["payments_1h"] != [None]

    def test_no_rows_give_no_values(self, online: FeastOnline) -> None:
        assert online.fetch({"account_id": []}, NOW) == {name: [] for name in STORED}

    def test_a_missing_column_is_a_feature_error(self, online: FeastOnline) -> None:
        with pytest.raises(FeatureError, match="account_id"):
            online.fetch({}, NOW)

    def test_many_threads_share_it_beside_a_writer(self, world: FeastWorld, online: FeastOnline) -> None:
        expected = {f"a{n}": online.fetch({"account_id": [f"a{n}"]}, NOW) for n in range(8)}

        def ask(worker: int) -> int:
            accounts = [f"a{(worker + step) % 8}" for step in range(150)]
            return sum(online.fetch({"account_id": [account]}, NOW) == expected[account] for account in accounts)

        with ThreadPoolExecutor(5) as pool:
            asking = [pool.submit(ask, worker) for worker in range(4)]
            written = pool.submit(_write_often, world.online_file)
            assert [future.result() for future in asking] == [150] * 4
            assert written.result() == 20

    def test_one_row_takes_less_than_2_ms(self, online: FeastOnline) -> None:
        times = []
        for _ in range(200):
            began = perf_counter()
            online.fetch({"account_id": ["a1"]}, NOW)
            times.append(perf_counter() - began)
        assert np.median(times) < 0.002


class TestAway:
    def test_a_store_that_is_taken_away_is_told_at_once_and_found_again(self, world: FeastWorld, away: Path) -> None:
        online = opened(world)
        before = online.fetch({"account_id": ["a1"]}, NOW)
        world.online_file.rename(away)
        for _ in range(2):
            with pytest.raises(FeatureError, match=r"online\.db is missing"):
                online.fetch({"account_id": ["a1"]}, NOW)
            assert not world.online_file.exists(), "SQLite would make an empty one"
        away.rename(world.online_file)
        assert online.fetch({"account_id": ["a1"]}, NOW) == before

    def test_another_file_in_its_place_is_the_one_that_is_read(self, world: FeastWorld, away: Path) -> None:
        online = opened(world)
        online.fetch({"account_id": ["a1"]}, NOW)
        shutil.copy2(world.online_file, away)
        with sqlite3.connect(away) as connection:
            connection.execute("DELETE FROM selfheal_payments_history")
        connection.close()
        os.replace(away, world.online_file)
        assert online.fetch({"account_id": ["a1"]}, NOW)["payments_1h"] == [None]

    def test_a_file_that_is_no_database_is_a_feature_error(self, world: FeastWorld, away: Path) -> None:
        online = opened(world)
        away.write_bytes(b"not a database, and longer than the header of one" * 100)
        os.replace(away, world.online_file)
        with pytest.raises(FeatureError, match="online store"):
            online.fetch({"account_id": ["a1"]}, NOW)

    def test_it_may_be_away_when_the_server_starts(self, world: FeastWorld, away: Path) -> None:
        world.online_file.rename(away)
        online = opened(world)
        with pytest.raises(FeatureError):
            online.fetch({"account_id": ["a1"]}, NOW)
        away.rename(world.online_file)
        assert online.fetch({"account_id": ["a1"]}, NOW)["payments_1h"] != [None]

    def test_the_registry_is_not_asked_again(self, world: FeastWorld, online: FeastOnline, tmp_path: Path) -> None:
        registry = world.home / "feast" / "registry.db"
        registry.rename(tmp_path / "registry.db")
        try:
            assert online.fetch({"account_id": ["a1"]}, NOW)["payments_1h"] != [None]
        finally:
            (tmp_path / "registry.db").replace(registry)


class TestOnDemand:
    @given(ROWS)
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_the_payments_model_has_feasts_own_values(
        self, world: FeastWorld, online: FeastOnline, rows: list[tuple[object, ...]]
    ) -> None:
        asked = {name: values for name, values in feast_given(rows).items() if name != "channel"}
        said = feast_says(world, "payments_v1", asked)
        found = told(online, rows)
        assert {name: found[name] for name in (*STORED, "amount_ratio", "log_amount")} == {
            name: said[name] for name in (*STORED, "amount_ratio", "log_amount")
        }

    @given(ROWS.filter(lambda rows: {None} not in ({row[1] for row in rows}, {row[2] for row in rows})))
    @settings(max_examples=40, deadline=None)
    def test_frames_lists_and_rows_of_every_type_have_feasts_own_values(
        self, world: FeastWorld, mixed: FeastOnline, rows: list[tuple[object, ...]]
    ) -> None:
        found = told(mixed, rows)
        said = feast_says(world, "mixed_v1", feast_given(rows))
        for name in ("payments_1h", "rounded", "seen", "text", "ratio", "columns_seen", "small", "named"):
            expected = said[name]
            if name == "named":
                # The key that stands in for a missing one is not shown to the function here.
                expected = [None if row[0] is None else value for row, value in zip(rows, expected, strict=True)]
            assert found[name] == expected, name
        each = [feast_says(world, "mixed_v1", feast_given([row]))["cents"][0] for row in rows if row[1] is not None]
        assert [value for value in found["cents"] if value is not None] == each

    def test_a_row_alone_has_the_value_it_has_among_others(self, mixed: FeastOnline) -> None:
        rows = [("a1", None, None), ("stranger", 2.0, "web"), ("a2", 3, "pos")]
        together = told(mixed, rows)
        for place, row in enumerate(rows):
            alone = told(mixed, [row])
            assert {name: values[0] for name, values in alone.items()} == {n: v[place] for n, v in together.items()}

    def test_a_function_that_fails_is_a_feature_error(self, world: FeastWorld) -> None:
        fragile = opened(world, "fragile_v1")
        assert told(fragile, [("a1", 4.0, "web")])["inverse"] == [0.25]
        with pytest.raises(FeatureError, match=r"fragile.*ZeroDivisionError"):
            told(fragile, [("a1", 4.0, "web"), ("a1", 0.0, "web")])

    def test_a_number_that_is_none_is_a_feature_error(self, online: FeastOnline) -> None:
        stored = online.fetch({"account_id": ["a1"]}, NOW)
        for amount in ("a lot", 10**400, [1]):
            with pytest.raises(FeatureError):
                online.on_demand(stored, {"amount": [amount]})

    def test_without_stored_features_the_store_is_not_needed(self, world: FeastWorld) -> None:
        request_only = opened(world, "request_v1")
        assert request_only.stored == {}
        assert request_only.on_demand({}, {"amount": [1.25, None], "channel": ["web", None]}) == {"cents": [125, None]}

    def test_one_row_takes_milliseconds(self, online: FeastOnline) -> None:
        stored = online.fetch({"account_id": ["a1"]}, NOW)
        times = []
        for _ in range(100):
            began = perf_counter()
            online.on_demand(stored, {"amount": [2.0]})
            times.append(perf_counter() - began)
        assert np.median(times) < 0.004


class TestResolved:
    """The model server's features over the real store, whatever happens to its file."""

    @pytest.fixture(params=[10])
    def resolver(self, world: FeastWorld, request: pytest.FixtureRequest) -> Iterator[FeatureResolver]:
        defaults = {"amount_mean_30d": 50.0, "payments_1h": 1}
        spec = model(defaults=defaults, feature_deadline_ms=100.0, breaker_failures=request.param)
        resolver = FeatureResolver(spec, FeastOnline(spec, world.home, world.roots), SystemClock())
        yield resolver
        resolver.close()

    def ask(
        self, resolver: FeatureResolver, *accounts: str
    ) -> tuple[Mapping[str, Sequence[object]], set[FeatureLevel]]:
        request = {"amount": [100.0] * len(accounts), "channel": ["web"] * len(accounts)}
        began = monotonic()
        resolved = resolver.resolve({"account_id": list(accounts)}, request, NOW)
        assert monotonic() - began < 0.1 + 0.3, "the deadline, and what a busy machine adds"
        return resolved.columns, set(resolved.levels)

    def wait_until_live(self, resolver: FeatureResolver) -> bool:
        end = monotonic() + 15
        while (live := self.ask(resolver, "a1")[1] == {FeatureLevel.LIVE}) is False and monotonic() < end:
            sleep(0.05)
        return live

    def test_live_columns_are_feasts(self, world: FeastWorld, resolver: FeatureResolver) -> None:
        assert self.wait_until_live(resolver)
        columns, _ = self.ask(resolver, "a1", "a2", "stranger")
        said = feast_says(world, "payments_v1", {"account_id": ["a1", "a2", "stranger"], "amount": [100.0] * 3})
        assert list(columns) == ["amount", "channel", *STORED, "amount_ratio", "log_amount"]
        assert {name: columns[name] for name in list(columns)[2:]} == {name: said[name] for name in list(columns)[2:]}

    def test_a_deleted_store_leaves_no_request_unanswered(
        self, world: FeastWorld, away: Path, resolver: FeatureResolver
    ) -> None:
        assert self.wait_until_live(resolver)
        world.online_file.rename(away)
        for number in range(30):
            columns, levels = self.ask(resolver, "a1", f"unseen{number}")
            assert levels == {FeatureLevel.CACHED, FeatureLevel.DEFAULT}
            assert (columns["amount_mean_30d"][1], columns["amount_ratio"][1]) == (50.0, 2.0)
            assert columns["amount_max_6h"][1] is None
        assert resolver.breaker_open
        assert not world.online_file.exists()

    @pytest.mark.parametrize("resolver", [10_000], indirect=True)
    def test_a_locked_store_takes_few_threads_and_no_request_waits_past_the_deadline(
        self, world: FeastWorld, resolver: FeatureResolver
    ) -> None:
        assert self.wait_until_live(resolver)
        locking = sqlite3.connect(world.online_file)
        locking.execute("BEGIN EXCLUSIVE")
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: self.ask(resolver, "a1")[1], range(9)))
        threads = [thread for thread in threading.enumerate() if thread.name == "feature-store"]
        locking.rollback()
        locking.close()
        assert answers == [{FeatureLevel.CACHED}] * 9
        assert len(threads) <= THREADS
        assert self.wait_until_live(resolver)

    def test_wrong_defaults_are_told_when_a_model_is_validated(self, world: FeastWorld) -> None:
        told = "\n".join(world.features.problems(model(defaults={"amount": 1.0, "payments_1h": 0.5})))
        assert "serving.defaults must name features of the store" in told
        assert "'payments_1h' is Int64, received 0.5" in told


def _one_row(values: dict[str, object]) -> object:
    import pandas as pd

    return pd.DataFrame({name: [value] for name, value in values.items()})


def _write_often(file: Path) -> int:
    """Short transactions that change nothing a reader looks at."""
    connection = sqlite3.connect(file, timeout=10)
    connection.execute("CREATE TABLE IF NOT EXISTS other (number INTEGER)")
    for number in range(20):
        with connection:
            connection.execute("INSERT INTO other VALUES (?)", (number,))
    connection.close()
    return 20
