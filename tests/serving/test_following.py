"""The follower's thread on real MLflow over SQLite: moves within seconds, the database gone and back, and readers."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from served_models import COLUMNS, Server, mlflow_registry, promote, release, trained

from selfheal_assets.adapters.mlflow_registry import MlflowRegistry
from selfheal_assets.core.traffic import Traffic
from selfheal_assets.ports import ModelVersion
from selfheal_assets.serving.follower import Follower

EVERY = 0.05


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(place: Path) -> Iterator[MlflowRegistry]:
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        # MLflow exports the variable; this puts back what was there.
        patched.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'mlflow.db'}")
        yield mlflow_registry(place)


@pytest.fixture(scope="module")
def versions(registry: MlflowRegistry) -> list[ModelVersion]:
    return [release(registry, threshold) for threshold in (0.1, 0.9)]


@pytest.fixture
def server(registry: MlflowRegistry, versions: list[ModelVersion], tmp_path: Path) -> Server:
    promote(registry, versions[0])
    return Server(registry, tmp_path)


@pytest.fixture
def follower(server: Server) -> Iterator[Follower]:
    made = server.follower(every_seconds=EVERY)
    made.start()
    yield made
    made.stop()


def seconds_until(true: Callable[[], bool], limit: float = 10.0) -> float:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < limit
        time.sleep(0.005)
    return time.monotonic() - began


def serves(follower: Follower, version: ModelVersion) -> bool:
    return follower.line is not None and follower.line.traffic == Traffic(champion=version.version)


def test_an_alias_is_followed_within_five_seconds(
    registry: MlflowRegistry, versions: list[ModelVersion], follower: Follower
) -> None:
    seconds_until(lambda: serves(follower, versions[0]))
    for turn in (1, 0, 1):
        promote(registry, versions[turn])
        assert seconds_until(lambda turn=turn: serves(follower, versions[turn])) < 5.0
        assert follower.line is not None
        scores = follower.line.models[versions[turn].version].score(COLUMNS)
        np.testing.assert_array_equal(scores, trained((0.1, 0.9)[turn]).score_columns(COLUMNS))
        assert follower.line.models[versions[turn].version].run_id == versions[turn].run_id


def test_the_database_may_go_and_come_back(
    registry: MlflowRegistry, versions: list[ModelVersion], server: Server, follower: Follower, place: Path
) -> None:
    seconds_until(lambda: serves(follower, versions[0]))
    promote(registry, versions[1])
    seconds_until(lambda: serves(follower, versions[1]))
    (place / "mlflow.db").rename(place / "away.db")
    try:
        seconds_until(lambda: "the MLflow database must be made" in str(follower.registry_trouble))
        assert serves(follower, versions[1])
        second = server.follower(every_seconds=EVERY)
        second.start()
        seconds_until(lambda: serves(second, versions[1]))
        assert second.registry_trouble
        second.stop()
    finally:
        (place / "away.db").rename(place / "mlflow.db")
    seconds_until(lambda: follower.registry_trouble is None)
    promote(registry, versions[0])
    assert seconds_until(lambda: serves(follower, versions[0])) < 5.0


def test_a_database_that_is_no_database_changes_nothing(
    versions: list[ModelVersion], server: Server, tmp_path: Path
) -> None:
    server.follower().look()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "mlflow.db").write_bytes(b"not a database" * 100)
    other = Server(mlflow_registry(broken), server.folder).follower()
    other.look()
    assert serves(other, versions[0])
    assert "an alias must be readable" in str(other.registry_trouble)


def test_a_registry_that_does_not_answer_holds_no_start_up(server: Server, versions: list[ModelVersion]) -> None:
    server.follower().look()
    released, wanted = threading.Event(), server.wanted
    server.wanted = lambda: wanted() if released.wait(10) else None  # type: ignore[method-assign]
    follower = server.follower(every_seconds=EVERY, patience_seconds=0.2)
    follower.start()
    seconds_until(lambda: serves(follower, versions[0]))
    assert "the registry must answer; it has not for" in str(follower.registry_trouble)
    began = time.monotonic()
    follower.stop()
    assert time.monotonic() - began < 2.0
    released.set()
    seconds_until(lambda: follower.registry_trouble is None)


def test_a_reload_looks_before_it_returns(
    registry: MlflowRegistry, versions: list[ModelVersion], server: Server
) -> None:
    follower = server.follower(every_seconds=3_600.0)
    follower.start()
    follower.reload()
    assert serves(follower, versions[0])
    promote(registry, versions[1])
    follower.reload()
    assert serves(follower, versions[1])
    follower.pause()
    promote(registry, versions[0])
    follower.reload()
    assert serves(follower, versions[1])
    follower.resume()
    seconds_until(lambda: serves(follower, versions[0]))
    follower.stop()
    assert follower.ready, "what is loaded stays"
    assert not [thread for thread in threading.enumerate() if thread.name == "follower" and thread.is_alive()]


def test_no_reader_ever_sees_half_a_line(server: Server, versions: list[ModelVersion]) -> None:
    one, two = (version.version for version in versions)
    turns = [
        Traffic(champion=one),
        Traffic(champion=one, challenger=two, weight=0.5, rollout="r"),
        Traffic(champion=two, standby=one, rollout="r"),
        Traffic(champion=two),
    ]
    server.traffic = turns[0]
    follower = server.follower(every_seconds=0.001)
    follower.start()
    seconds_until(lambda: follower.ready)
    ended, failures, seen = threading.Event(), list[BaseException](), set[Traffic]()
    right = {one: trained(0.1).score_columns(COLUMNS), two: trained(0.9).score_columns(COLUMNS)}

    def read() -> None:
        try:
            while not ended.is_set():
                line = follower.line
                assert line is not None
                assert line.traffic in turns
                seen.add(line.traffic)
                arm = line.traffic.arm("key")
                version = line.traffic.champion if arm == "champion" else line.traffic.challenger
                assert version is not None
                np.testing.assert_array_equal(line.models[version].score(COLUMNS), right[version])
                assert set(line.models) == {version for version in (one, two) if version in vars(line.traffic).values()}
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    began = time.monotonic()
    while time.monotonic() - began < 2.0 or len(seen) < len(turns):
        for server.traffic in turns:
            time.sleep(0.01)
    ended.set()
    for reader in readers:
        reader.join(10)
    follower.stop()
    assert failures == []
    assert seen == set(turns)
