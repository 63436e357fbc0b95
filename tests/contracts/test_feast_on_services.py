"""Feast with its registry in PostgreSQL and its online values in Redis, for who publishes and for who serves."""

import json
import time
from pathlib import Path

import pandas as pd
import pytest
from feast_world import BEGIN, NOW, STORED, FeastWorld, model, payments
from hypothesis import given
from hypothesis import strategies as st
from servers import CANARY, PASSWORD, QUOTED, Postgres, Redis

from selfheal_assets.adapters.feast_features import FeastFeatures
from selfheal_assets.adapters.feast_serving import FeastOnline
from selfheal_assets.adapters.feast_stores import FeastStores, redis_words
from selfheal_assets.adapters.turns import DatabaseTurns
from selfheal_assets.core.errors import FeatureError, SpecError

ACCOUNTS = [f"a{number}" for number in range(8)]


@pytest.fixture(scope="module")
def stores(postgres: Postgres, redis: Redis) -> FeastStores:
    redis.flush()
    return FeastStores(registry_url=postgres.url("feast"), online_url=redis.url(3))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> FeastWorld:
    world = FeastWorld(tmp_path_factory.mktemp("embedded"))
    world.publish()
    return world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, stores: FeastStores, postgres: Postgres) -> FeastWorld:
    world = FeastWorld(tmp_path_factory.mktemp("services"))
    turns = DatabaseTurns(postgres.url("turns"))
    world.features = FeastFeatures(world.home, world.roots, lambda _: [world.clean], stores, alone=turns)
    world.publish()
    return world


def asked() -> pd.DataFrame:
    rows = payments(60)
    return rows.assign(event_timestamp=rows["event_timestamp"] + pd.Timedelta(hours=5))


def test_the_same_features_as_embedded(world: FeastWorld, embedded: FeastWorld) -> None:
    for rows in (asked(), asked().assign(account_id="stranger")):
        there, here = (each.features.historical(model(), rows) for each in (world, embedded))
        pd.testing.assert_frame_equal(there, here)
    for rows in (asked(), asked().drop(columns="event_timestamp")):
        there, here = (each.features.online(model(), rows) for each in (world, embedded))
        pd.testing.assert_frame_equal(there, here)


def test_nothing_is_in_the_home(world: FeastWorld) -> None:
    assert sorted(path.name for path in (world.home / "feast").iterdir()) == ["applied"]


def test_the_server_answers_the_same(world: FeastWorld, embedded: FeastWorld, stores: FeastStores) -> None:
    there = FeastOnline(model(), world.home, world.roots, stores)
    here = FeastOnline(model(), embedded.home, embedded.roots)
    entities = {"account_id": [*ACCOUNTS, "stranger", None, "\ud800"]}
    found = there.fetch(entities, NOW)
    assert found == here.fetch(entities, NOW)
    assert found["payments_1h"][:8] != [None] * 8
    assert list(found) == STORED
    # Older than the view's ttl: not answered, as from SQLite.
    late = NOW + pd.Timedelta(days=60)
    assert there.fetch(entities, late) == here.fetch(entities, late) == {name: [None] * 11 for name in STORED}


def test_an_older_event_does_not_replace_a_newer_one(world: FeastWorld, embedded: FeastWorld) -> None:
    before = payments(20).assign(event_timestamp=BEGIN - pd.Timedelta(days=2))
    for each in (world, embedded):
        each.features.publish(model(), "older", before)
    rows = asked().drop(columns="event_timestamp")
    there, here = (each.features.online(model(), rows) for each in (world, embedded))
    pd.testing.assert_frame_equal(there, here)


def test_a_redis_that_is_away_and_comes_back(world: FeastWorld, stores: FeastStores, redis: Redis) -> None:
    online = FeastOnline(model(), world.home, world.roots, stores)
    entities = {"account_id": ACCOUNTS}
    before = online.fetch(entities, NOW)
    redis.stop()
    try:
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(FeatureError, match="The online store must succeed") as told:
                online.fetch(entities, NOW)
            assert CANARY not in str(told.value)
            assert time.monotonic() - began < 3
        away = FeastOnline(model(), world.home, world.roots, stores)
    finally:
        redis.start()
    assert online.fetch(entities, NOW) == before, "what was in it is in it: it keeps a log"
    assert away.fetch(entities, NOW) == before, "a server that began without it finds it"


def test_an_online_store_that_lost_everything_is_filled_again(
    world: FeastWorld, stores: FeastStores, redis: Redis
) -> None:
    online = FeastOnline(model(), world.home, world.roots, stores)
    entities = {"account_id": ACCOUNTS}
    before = online.fetch(entities, NOW)
    redis.flush()
    assert online.fetch(entities, NOW) != before
    until = world.features.refill(model())
    assert until is not None
    assert online.fetch(entities, NOW) == before
    redis.flush()
    assert world.features.refill(model()) == until
    assert online.fetch(entities, NOW) == before


def test_where_nothing_was_published_nothing_is_filled(tmp_path: Path) -> None:
    features = FeastWorld(tmp_path).features
    features.apply()
    assert features.refill(model()) is None


def test_a_wrong_password_is_told_without_it(world: FeastWorld, stores: FeastStores, redis: Redis) -> None:
    wrong = FeastStores(registry_url=stores.registry_url, online_url=redis.url(3, password="nightingale-wrong"))
    online = FeastOnline(model(), world.home, world.roots, wrong)
    with pytest.raises(FeatureError) as told:
        online.fetch({"account_id": ACCOUNTS}, NOW)
    assert CANARY not in repr(told.value) + repr(told.value.__cause__)
    assert CANARY not in repr(stores)


def test_a_registry_that_refuses_is_told_without_a_password(postgres: Postgres, tmp_path: Path) -> None:
    wrong = FeastStores(registry_url=postgres.url("feast").replace(QUOTED, "nightingale-wrong"))
    world = FeastWorld(tmp_path)
    features = FeastFeatures(world.home, world.roots, lambda _: [], wrong)
    with pytest.raises(FeatureError) as told:
        features.apply()
    assert "password authentication failed" in str(told.value)
    assert CANARY not in str(told.value)


class TestRedisWords:
    def test_an_address_in_feasts_form(self) -> None:
        words = redis_words("rediss://ada:p%2Cw@redis.example:7000/2?ssl_cert_reqs=none").split(",")
        assert words[0] == "redis.example:7000"
        assert {"db=2", "ssl=true", 'username="ada"', 'password="p\\u002cw"', 'ssl_cert_reqs="none"'} < set(words)
        assert "socket_timeout=5" in words

    @given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1))
    def test_every_password_arrives_as_it_is(self, password: str) -> None:
        from urllib.parse import quote

        from feast.infra.online_stores.redis import RedisOnlineStore

        words = redis_words(f"redis://:{quote(password, safe='')}@h:1/0")
        _, settings = RedisOnlineStore._parse_connection_string(words)
        assert settings["password"] == password

    def test_the_test_servers_password_is_a_hard_one(self) -> None:
        assert json.dumps(PASSWORD) in redis_words(f"redis://:{QUOTED}@h").replace("\\u002c", ",")

    @pytest.mark.parametrize("url", ["redis:///0", "redis://h/name", "redis://:nightingale@/1"])
    def test_another_address_is_refused(self, url: str) -> None:
        with pytest.raises(SpecError, match="must be redis://user:password@host:port/number") as told:
            redis_words(url)
        assert CANARY not in str(told.value)
