"""What every ledger keeps to, the one in memory as the one in SQL; and what only a database can lose."""

import dataclasses
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta, timezone
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from selfheal_assets.adapters.in_memory import InMemoryLedger
from selfheal_assets.adapters.sql_ledger import SqlLedger
from selfheal_assets.core.errors import HomeError, SelfhealError
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Ledger

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
REGISTERED, SETTLED, CLOSED = RecordKind.BATCH_REGISTERED, RecordKind.BATCH_SETTLED, RecordKind.BATCH_CLOSED
EVIDENCE, WAIVER = RecordKind.EVIDENCE, RecordKind.WAIVER


def record(key: str, **changes: Any) -> Record:
    whole = Record(
        key=key,
        model="m",
        kind=EVIDENCE,
        subject="b1",
        status="CLEAR",
        event_time=BEGIN,
        recorded_at=BEGIN + timedelta(hours=1),
        payload={},
    )
    return dataclasses.replace(whole, **changes)


def keys(records: list[Record]) -> list[str]:
    return [found.key for found in records]


class LedgerContract(ABC):
    """One class for the port; each adapter's test class says how to make an empty one."""

    @abstractmethod
    def made(self, folder: Path) -> Ledger: ...

    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Ledger:
        return self.made(tmp_path)

    def test_a_record_comes_back_as_it_was(self, ledger: Ledger) -> None:
        payload = {"text": "ø ✓ \"'%", "number": 0.1, "count": 2**53 + 1, "none": None, "list": [1, {"deep": True}]}
        written = record("k", event_time=BEGIN.replace(microsecond=7), payload=payload)
        assert ledger.append(written) == 1
        (found,) = ledger.newest("m", EVIDENCE)
        assert found == dataclasses.replace(written, sequence=found.sequence)
        assert found.sequence > 0
        assert isinstance(found.kind, RecordKind)

    def test_an_empty_ledger_answers(self, ledger: Ledger) -> None:
        assert ledger.append() == 0
        assert ledger.newest("m", EVIDENCE) == []
        assert ledger.after("m", EVIDENCE, 0, 5) == []
        assert ledger.current("m", EVIDENCE, ["b1"]) == {}
        assert ledger.recent_subjects("m", EVIDENCE, statuses=["CLEAR"], limit=5) == []
        assert ledger.open_batches("m", 5) == []

    def test_a_key_is_stored_once_and_never_changed(self, ledger: Ledger) -> None:
        first = record("k", status="CLEAR")
        assert ledger.append(first, record("k", status="RAISED")) == 1
        assert ledger.append(record("k", status="UNKNOWN"), record("new")) == 1
        assert [(r.key, r.status) for r in ledger.newest("m", EVIDENCE, limit=9)] == [("new", "CLEAR"), ("k", "CLEAR")]

    def test_all_or_none_is_stored(self, ledger: Ledger) -> None:
        with pytest.raises(SelfhealError):
            ledger.append(record("good"), record("bad", payload={"psi": float("nan")}))
        assert ledger.newest("m", EVIDENCE, limit=9) == []
        assert ledger.append(record("good")) == 1

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_a_number_that_json_lacks_is_refused(self, ledger: Ledger, value: float) -> None:
        with pytest.raises(SelfhealError, match=r"must be finite numbers.*received.*in 'k'.*Write None"):
            ledger.append(record("k", payload={"deep": [{"psi": value}]}))

    def test_a_key_that_json_lacks_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(SelfhealError, match="text keys"):
            ledger.append(record("k", payload={"by": {("a", 1): 2}}))

    @pytest.mark.parametrize("field", ["event_time", "recorded_at"])
    def test_a_moment_without_a_zone_is_refused(self, ledger: Ledger, field: str) -> None:
        with pytest.raises(SelfhealError, match=rf"{field} must have a time zone; received 2026-01-01T00:00:00 in 'k'"):
            ledger.append(record("k", **{field: datetime(2026, 1, 1)}))

    def test_a_moment_before_time_began_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(SelfhealError, match="between the years 1 and 9999"):
            ledger.append(record("k", event_time=datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))))

    def test_models_and_kinds_do_not_mix(self, ledger: Ledger) -> None:
        ledger.append(record("a"), record("b", model="other"), record("c", kind=SETTLED))
        assert keys(ledger.newest("m", EVIDENCE, limit=9)) == ["a"]
        assert keys(ledger.after("m", SETTLED, 0, 9)) == ["c"]
        assert ledger.current("other", EVIDENCE, ["b1"])["b1"].key == "b"
        assert ledger.newest("m%", EVIDENCE, limit=9) == []

    def test_newest_is_by_writing_not_by_event_time(self, ledger: Ledger) -> None:
        ledger.append(record("late", event_time=BEGIN + timedelta(days=9)))
        ledger.append(record("early", status="RAISED"), record("other", subject="b2"))
        assert keys(ledger.newest("m", EVIDENCE)) == ["other"]
        assert keys(ledger.newest("m", EVIDENCE, subject="b1", limit=9)) == ["early", "late"]
        assert keys(ledger.newest("m", EVIDENCE, subject="b1", status="CLEAR", limit=9)) == ["late"]
        assert keys(ledger.newest("m", EVIDENCE, limit=2)) == ["other", "early"]

    def test_after_pages_without_loss_or_repeat(self, ledger: Ledger) -> None:
        for number in range(7):
            ledger.append(record(f"k{number}"), record(f"noise{number}", kind=SETTLED))
        seen, cursor = list[str](), 0
        while page := ledger.after("m", EVIDENCE, cursor, 3):
            seen += keys(page)
            cursor = page[-1].sequence
        assert seen == [f"k{number}" for number in range(7)]

    def test_a_refused_repeat_does_not_move_the_order(self, ledger: Ledger) -> None:
        ledger.append(record("a"))
        ledger.append(record("b"))
        ledger.append(record("a"))
        assert keys(ledger.after("m", EVIDENCE, 0, 9)) == ["a", "b"]

    def test_current_is_the_last_word_on_each_subject(self, ledger: Ledger) -> None:
        ledger.append(record("1"), record("2", subject="b2"), record("3", status="RAISED"))
        found = ledger.current("m", EVIDENCE, ["b1", "b2", "absent"])
        assert {subject: r.key for subject, r in found.items()} == {"b1": "3", "b2": "2"}
        assert ledger.current("m", EVIDENCE, []) == {}
        assert set(ledger.current("m", EVIDENCE, [f"x{n}" for n in range(5_000)] + ["b2"])) == {"b2"}

    def test_recent_subjects_judge_the_last_status_alone(self, ledger: Ledger) -> None:
        """A batch that was clean and then discarded is not among the clean ones."""
        ledger.append(
            record("1", kind=SETTLED, subject="a", status="CLEAN", event_time=BEGIN + timedelta(days=3)),
            record("2", kind=SETTLED, subject="b", status="CLEAN", event_time=BEGIN + timedelta(days=1)),
            record("3", kind=SETTLED, subject="c", status="PARTIAL", event_time=BEGIN + timedelta(days=2)),
            record("4", kind=SETTLED, subject="a", status="DISCARDED", event_time=BEGIN + timedelta(days=3)),
        )
        usable = ("CLEAN", "PARTIAL")
        assert keys(ledger.recent_subjects("m", SETTLED, statuses=usable, limit=9)) == ["3", "2"]
        assert keys(ledger.recent_subjects("m", SETTLED, statuses=usable, limit=1)) == ["3"]
        assert ledger.recent_subjects("m", SETTLED, statuses=(), limit=9) == []

    @pytest.mark.parametrize("order", list(permutations(range(3))))
    def test_event_time_is_ordered_across_time_zones(self, ledger: Ledger, order: tuple[int, ...]) -> None:
        """By the instant, not by what the clock on the wall showed, whatever the order of writing."""
        moments = [
            datetime(2026, 3, 1, 13, 30, tzinfo=timezone(timedelta(hours=14))),  # 23:30 UTC of the day before
            datetime(2026, 2, 28, 23, 45, tzinfo=UTC),
            datetime(2026, 2, 28, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=-12))),  # 00:00 UTC of the day after
        ]
        for place in order:
            changes = {"subject": f"b{place}", "event_time": moments[place]}
            ledger.append(record(f"s{place}", kind=SETTLED, **changes), record(f"r{place}", kind=REGISTERED, **changes))
        newest_first = ledger.recent_subjects("m", SETTLED, statuses=["CLEAR"], limit=9)
        assert [r.subject for r in newest_first] == ["b2", "b1", "b0"]
        assert [r.event_time for r in newest_first] == moments[::-1]
        assert all(r.event_time.utcoffset() == timedelta(0) for r in newest_first)
        assert [r.subject for r in ledger.open_batches("m", 9)] == ["b0", "b1", "b2"]

    @pytest.mark.parametrize(
        ("story", "is_open"),
        [
            ([REGISTERED], True),
            ([REGISTERED, SETTLED], True),
            ([REGISTERED, SETTLED, CLOSED], False),
            ([REGISTERED, CLOSED, REGISTERED], True),
            ([REGISTERED, CLOSED, WAIVER], True),
            ([REGISTERED, CLOSED, WAIVER, SETTLED], True),
            ([REGISTERED, CLOSED, WAIVER, CLOSED], False),
            ([WAIVER], False),
            ([CLOSED], False),
        ],
    )
    def test_a_batch_is_open_until_it_is_closed(self, ledger: Ledger, story: list[RecordKind], is_open: bool) -> None:
        ledger.append(record("closed-elsewhere", model="other", kind=CLOSED))
        for step, kind in enumerate(story):
            ledger.append(record(f"{step}", kind=kind))
        last = max((f"{step}" for step, kind in enumerate(story) if kind is REGISTERED), default="")
        assert keys(ledger.open_batches("m", 9)) == ([last] if is_open else [])

    def test_open_batches_are_limited_oldest_first(self, ledger: Ledger) -> None:
        for day in (3, 1, 2):
            ledger.append(record(f"{day}", kind=REGISTERED, subject=f"b{day}", event_time=BEGIN + timedelta(days=day)))
        assert keys(ledger.open_batches("m", 2)) == ["1", "2"]


class TestInMemoryLedger(LedgerContract):
    def made(self, folder: Path) -> Ledger:  # noqa: ARG002 - it needs none
        return InMemoryLedger()

    def test_what_the_caller_changes_later_is_not_changed_here(self) -> None:
        ledger, payload = InMemoryLedger(), {"list": [1]}
        ledger.append(record("k", payload=payload))
        payload["list"].append(2)
        assert ledger.newest("m", EVIDENCE)[0].payload == {"list": [1]}


def sql_ledger(folder: Path) -> SqlLedger:
    return SqlLedger(f"sqlite:///{folder / 'ledger.db'}")


def append_many(folder: Path, process: int, count: int) -> None:
    ledger = sql_ledger(folder)
    for number in range(count):
        ledger.append(record(f"{process}-{number}", subject=f"b{process}"), record(f"shared-{number}"))


WRITES_FOR_EVER = """
import pathlib, sys
sys.path.insert(0, {tests!r})
import test_ledger as t
ledger = t.sql_ledger(pathlib.Path({folder!r}))
number = 0
while True:
    ledger.append(*(t.record(f"{{number}}-{{part}}", payload={{"x": "y" * 2000}}) for part in range(3)))
    number += 1
    print(number, flush=True)
"""


class TestSqlLedger(LedgerContract):
    def made(self, folder: Path) -> Ledger:
        ledger = sql_ledger(folder)
        ledger.initialise()
        return ledger

    def test_initialising_again_changes_nothing(self, ledger: Ledger, tmp_path: Path) -> None:
        ledger.append(record("k"))
        sql_ledger(tmp_path).initialise()
        assert keys(sql_ledger(tmp_path).newest("m", EVIDENCE, limit=9)) == ["k"]

    def test_a_ledger_that_was_never_made_is_a_home_error(self, tmp_path: Path) -> None:
        for call in (
            lambda ledger: ledger.append(record("k")),
            lambda ledger: ledger.newest("m", EVIDENCE),
            lambda ledger: ledger.open_batches("m", 1),
        ):
            with pytest.raises(HomeError, match=r"must exist before it is used.*ledger\.db.*Run `selfheal init`"):
                call(sql_ledger(tmp_path))
        with pytest.raises(HomeError, match="selfheal init"):
            sql_ledger(tmp_path / "absent").newest("m", EVIDENCE)

    def test_processes_that_append_at_once_lose_nothing(self, ledger: Ledger, tmp_path: Path) -> None:
        context = multiprocessing.get_context("fork")
        crowd = [context.Process(target=append_many, args=(tmp_path, process, 25)) for process in range(4)]
        for process in crowd:
            process.start()
        for process in crowd:
            process.join(60)
        assert [process.exitcode for process in crowd] == [0, 0, 0, 0]
        found = ledger.newest("m", EVIDENCE, limit=1_000)
        expected = {f"{p}-{n}" for p in range(4) for n in range(25)} | {f"shared-{n}" for n in range(25)}
        assert sorted(keys(found)) == sorted(expected), "each key once"
        assert [r.sequence for r in found] == sorted((r.sequence for r in found), reverse=True)

    def test_a_writer_killed_in_the_middle_leaves_whole_appends(self, ledger: Ledger, tmp_path: Path) -> None:
        script = WRITES_FOR_EVER.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            reported = 0
            while reported < 5:
                reported = int(writer.stdout.readline())
            time.sleep(0.01)
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait(30)
            reported = max([reported, *map(int, writer.stdout.read().split())])
        found = keys(ledger.after("m", EVIDENCE, 0, 100_000))
        assert len(found) >= 3 * reported, "what was reported as stored is stored"
        assert found == [f"{number}-{part}" for number in range(len(found) // 3) for part in range(3)]
        with sqlite3.connect(tmp_path / "ledger.db") as database:
            assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert ledger.append(record("after the kill")) == 1
