"""The prediction log in this process: when it lands what, what it refuses, and what it says when the disk is bad."""

import logging
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from time import monotonic, perf_counter, sleep
from typing import Any

import pandas as pd
import pytest
from logged import columns, files, landed, landing, left, log_folder, logged, spec, with_values
from set_clock import SetClock

from selfheal_assets.adapters.batch_store import batch_id_of
from selfheal_assets.core.errors import LogFullError, ServingError
from selfheal_assets.serving import segments
from selfheal_assets.serving.prediction_log import PredictionLog
from selfheal_assets.serving.served_table import LoggedColumns

SECONDS = 20.0


def until(met: Callable[[], Any], what: str) -> None:
    deadline = monotonic() + SECONDS
    while not met():
        assert monotonic() < deadline, what
        sleep(0.005)


Opened = Callable[..., PredictionLog]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture
def opened(home: Path, clock: SetClock) -> Iterator[Opened]:
    logs: list[PredictionLog] = []

    def build(capacity: int | None = None, **serving: Any) -> PredictionLog:
        logs.append(PredictionLog(home, spec(**serving), columns(), clock, capacity=capacity))
        return logs[-1]

    yield build
    for log in logs:
        log.close()


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """The kernel refuses to write on where a file is so long: EFBIG in the middle of a write, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def ids(home: Path) -> list[str]:
    return list(landed(home)["id"])


class TestLanding:
    def test_rows_are_durable_within_the_window_and_land_on_closing(self, opened: Opened, home: Path) -> None:
        log = opened(commit_ms=20.0)
        log.append([logged("a"), logged("b")])
        until(lambda: log.rows_written == 2, "committed")
        (segment,) = log_folder(home).glob("*.jsonl")
        assert segment.read_bytes().count(b"\n") == 2
        assert files(home) == []
        log.close()
        assert ids(home) == ["a", "b"]
        assert left(home) == []
        assert log.trouble is None

    def test_a_segment_lands_when_it_has_so_many_rows(self, opened: Opened, home: Path) -> None:
        log = opened(log_rows=4)
        log.append([logged(str(number)) for number in range(10)])
        until(lambda: len(files(home)) == 2, "two full ones")
        log.close()
        assert [len(pd.read_parquet(path)) for path in files(home)] == [4, 4, 2]
        assert ids(home) == [str(number) for number in range(10)]
        assert log.converted.rows == 10

    @pytest.mark.parametrize("passed", [timedelta(minutes=5), timedelta(hours=-1)], ids=["old", "clock set back"])
    def test_a_segment_lands_when_its_first_row_is_so_old(
        self, opened: Opened, home: Path, clock: SetClock, passed: timedelta
    ) -> None:
        log = opened(log_minutes=5.0)
        log.append([logged("a")])
        until(lambda: log.rows_written == 1, "committed")
        clock.moment += timedelta(minutes=4, seconds=59)
        log.append([logged("b")])
        until(lambda: log.rows_written == 2, "committed")
        sleep(0.3)
        assert files(home) == []
        clock.moment = datetime(2026, 3, 1, 12, tzinfo=UTC) + passed
        until(lambda: files(home), "landed without another row")
        assert ids(home) == ["a", "b"]

    def test_file_names_tell_them_apart_and_are_in_order(self, opened: Opened, home: Path, clock: SetClock) -> None:
        one, other = opened(log_rows=2), opened(log_rows=2)
        for number in range(6):
            for log, prefix in ((one, "a"), (other, "b")):
                log.append([logged(f"{prefix}{number}")])
                until(lambda log=log, number=number: log.rows_written == number + 1, "committed")
            clock.moment += timedelta(seconds=1)
        until(lambda: len(files(home)) == 6, "landed")
        names = [path.name for path in files(home)]
        assert all(name.startswith("served-20260301t1200") for name in names)
        assert len({batch_id_of(path) for path in files(home)}) == 6
        assert [i for i in ids(home) if i[0] == "a"] == [f"a{number}" for number in range(6)]

    def test_a_repeated_event_is_dropped_and_counted(self, opened: Opened, home: Path) -> None:
        log = opened()
        log.append([logged("a", score=0.1), logged("b"), logged("a", score=0.9)])
        log.append([logged("a", score=0.5)])
        log.close()
        assert landed(home)[["id", "selfheal_score"]].to_numpy().tolist() == [["a", 0.1], ["b", 0.25]]
        assert (log.converted.rows, log.converted.repeated) == (2, 2)

    def test_nothing_is_made_where_nothing_was_answered(self, opened: Opened, home: Path) -> None:
        log = opened()
        log.append([])
        log.close()
        log.close()
        assert files(home) == []
        assert left(home) == []

    def test_many_rows_of_many_threads_arrive_once(self, opened: Opened, home: Path) -> None:
        from concurrent.futures import ThreadPoolExecutor

        log = opened(log_rows=500, commit_ms=5.0)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: log.append([logged(str(number))]), range(3_000)))
        log.close()
        assert sorted(map(int, ids(home))) == list(range(3_000))


class TestRefusals:
    def test_a_value_without_a_column(self, opened: Opened, home: Path) -> None:
        log = opened()
        with pytest.raises(ServingError, match=r"must have a column in the prediction log; received \['colour'\]"):
            log.append([logged("a"), with_values("b", {"colour": "red"})])
        with pytest.raises(ServingError, match=r"received \['speed'\]"):
            log.append([with_values("b", {}, {"speed": 1.0})])
        log.close()
        assert files(home) == [], "all of the rows or none"

    def test_columns_that_cannot_be(self) -> None:
        with pytest.raises(ServingError, match=r"one of .*'timestamp'.*received \['float'\]"):
            LoggedColumns(event_id="id", event={"id": "string", "x": "float"}, features={})
        with pytest.raises(ServingError, match=r"begin with 'selfheal_'.*\['selfheal_score'\]"):
            LoggedColumns(event_id="id", event={"id": "string", "selfheal_score": "number"}, features={})
        with pytest.raises(ServingError, match="must be a column of the event"):
            LoggedColumns(event_id="id", event={"at": "timestamp"}, features={})

    def test_a_closed_log(self, opened: Opened) -> None:
        log = opened()
        log.close()
        with pytest.raises(LogFullError, match="closed prediction log"):
            log.append([logged("a")])


class TestBadDisk:
    def test_a_full_disk_is_told_and_recovered_from(self, opened: Opened, home: Path) -> None:
        log = opened(capacity=50, commit_ms=5.0)
        log.append([logged(f"a{number}") for number in range(5)])
        until(lambda: log.rows_written == 5, "committed")
        with files_no_longer_than(3_000):
            log.append([logged(f"b{number}") for number in range(40)])
            until(lambda: log.trouble, "told")
            assert "cannot be written to disk: OSError: [Errno 27]" in str(log.trouble)
            with pytest.raises(LogFullError, match=r"at most 50 answers .* received 11 beside 40: answers cannot be"):
                log.append([logged(f"c{number}") for number in range(11)])
            log.append([logged("d")])
            assert log.rows_written == 5
        until(lambda: log.trouble is None and log.waiting == 0, "recovered by itself")
        log.append([logged("e")])
        log.close()
        expected = [f"a{n}" for n in range(5)] + [f"b{n}" for n in range(40)] + ["d", "e"]
        assert ids(home) == expected, "each once, in order"
        assert log.converted.torn == 0, "half a write is taken back"

    def test_a_disk_that_stays_full_to_the_end(
        self, opened: Opened, home: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("selfheal_assets.serving.prediction_log.CLOSE_SECONDS", 0.5)
        log = PredictionLog(home, spec(commit_ms=5.0), columns(), clock)
        log.append([logged("a")])
        until(lambda: log.rows_written == 1, "committed")
        with files_no_longer_than(450):
            log.append([logged("b"), logged("c")])
            until(lambda: log.trouble, "told")
            with pytest.raises(LogFullError, match="received 2 answers that the disk did not take in"):
                log.close()
            assert len(left(home)) >= 1, "what was durable stays for the next start"
        opened().close()
        assert ids(home) == ["a"]

    def test_a_slow_disk_is_told_and_holds_nobody_up(
        self, opened: Opened, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done, fsync = Event(), os.fsync

        def slow(file: int) -> None:
            done.wait(SECONDS)
            fsync(file)

        log = opened(capacity=100, commit_ms=5.0)
        log.append([logged("a")])
        until(lambda: log.rows_written == 1, "committed")
        monkeypatch.setattr(segments.os, "fsync", slow)
        began = perf_counter()
        for number in range(100):
            log.append([logged(str(number))])
        assert perf_counter() - began < 0.5
        with pytest.raises(LogFullError, match="received 1 beside 100"):
            log.append([logged("x")])
        until(lambda: log.trouble, "told")
        assert "the disk is too slow: 100 answers wait, the oldest for 1." in str(log.trouble)
        done.set()
        until(lambda: log.trouble is None, "recovered")
        log.close()
        assert ids(home) == ["a", *map(str, range(100))]

    def test_a_landing_folder_that_cannot_be_written(
        self, opened: Opened, home: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        landing(home).parent.mkdir(parents=True)
        landing(home).write_text("in the way")
        log = opened(log_rows=2, commit_ms=5.0)
        with caplog.at_level(logging.WARNING):
            log.append([logged("a"), logged("b"), logged("c")])
            until(lambda: log.trouble, "told")
            assert "answers cannot be landed: FileExistsError" in str(log.trouble)
            log.append([logged("d")])
        landing(home).unlink()
        until(lambda: log.trouble is None and len(files(home)) == 2, "recovered")
        assert len(caplog.records) == 1, "told once, not at every try"
        log.close()
        assert ids(home) == ["a", "b", "c", "d"]

    def test_a_home_that_cannot_be_written_is_trouble_from_the_first_row(self, home: Path, opened: Opened) -> None:
        home.write_text("in the way")
        log = opened(commit_ms=5.0)
        log.append([logged("a")])
        until(lambda: log.trouble, "told")
        home.unlink()
        until(lambda: log.rows_written == 1, "recovered")
        log.close()
        assert ids(home) == ["a"]


def test_what_has_landed_is_relayed_until_it_succeeds(home: Path, clock: SetClock) -> None:
    relayed, away = list[Path](), [True]

    def relay(folder: Path) -> None:
        if away[0]:
            raise ConnectionError("the object store is away")
        relayed.extend(folder.glob("*.parquet"))

    log = PredictionLog(home, spec(log_rows=2), columns(), clock, relay=relay)
    try:
        log.append([logged("a"), logged("b")])
        until(lambda: ids(home) == ["a", "b"], "landed on this machine")
        until(lambda: "the object store is away" in (log.trouble or ""), "and told that it goes no further")
        away[0] = False
        until(lambda: relayed and log.trouble is None, "relayed once the store is back")
    finally:
        log.close()
    assert {path.parent for path in relayed} == {landing(home)}
