"""What every ledger keeps to, the one in memory as the ones in SQL; and what only a database can lose."""

import dataclasses
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta, timezone
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from selfheal_assets.adapters.in_memory import InMemoryLedger
from selfheal_assets.adapters.sql_ledger import SqlLedger
from selfheal_assets.core.errors import HomeError, LedgerError, SelfhealError
from selfheal_assets.core.ledger_chain import GENESIS, Head, next_hash
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.operations.audit import verify
from selfheal_assets.ports import Ledger

if TYPE_CHECKING:
    from servers import Postgres

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
REGISTERED, SETTLED, CLOSED = RecordKind.BATCH_REGISTERED, RecordKind.BATCH_SETTLED, RecordKind.BATCH_CLOSED
EVIDENCE, WAIVER = RecordKind.EVIDENCE, RecordKind.WAIVER
EARLIER_LAYOUT = """create table records (sequence integer primary key, "key" text unique, model text, kind text,
subject text, status text, event_time text, recorded_at text, payload text)"""


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


def story(count: int) -> list[Record]:
    """Records of every kind that the queries look at, about few subjects, in no order of event time."""
    chance = random.Random(4)
    return [
        record(
            f"{number}",
            model=chance.choice(["m", "m", "other"]),
            kind=chance.choice([REGISTERED, SETTLED, CLOSED, EVIDENCE, WAIVER]),
            subject=f"b{chance.randrange(4)}",
            status=chance.choice(["CLEAR", "RAISED"]),
            event_time=BEGIN + timedelta(hours=chance.randrange(50)),
        )
        for number in range(count)
    ]


def answers(ledger: Ledger) -> list[Any]:
    """What every query of the port says."""
    found: list[Any] = [ledger.open_batches("m", 9), ledger.open_batches("m", 1), ledger.head()]
    found += [ledger.all_after(0, 99), ledger.all_after(3, 5), ledger.links(0, 99)]
    for kind in (REGISTERED, SETTLED, CLOSED, EVIDENCE, WAIVER):
        found.append(ledger.newest("m", kind, limit=3))
        found.append(ledger.newest("m", kind, subject="b1", status="CLEAR", limit=9))
        found.append(ledger.after("m", kind, 5, 9))
        found.append(ledger.current("m", kind, ["b0", "b1", "b3"]))
        found.append(ledger.recent_subjects("m", kind, statuses=["CLEAR"], limit=9))
        found.append(ledger.recent_subjects("m", kind, statuses=["CLEAR", "RAISED"], limit=2))
    return found


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
        assert found == dataclasses.replace(written, sequence=1, hash=next_hash(GENESIS, written))
        assert isinstance(found.kind, RecordKind)

    def test_an_empty_ledger_answers(self, ledger: Ledger) -> None:
        assert ledger.append() == 0
        assert ledger.newest("m", EVIDENCE) == []
        assert ledger.after("m", EVIDENCE, 0, 5) == []
        assert ledger.current("m", EVIDENCE, ["b1"]) == {}
        assert ledger.recent_subjects("m", EVIDENCE, statuses=["CLEAR"], limit=5) == []
        assert ledger.open_batches("m", 5) == []
        assert ledger.all_after(0, 5) == []
        assert ledger.links(0, 5) == []
        assert ledger.head() == Head(0, GENESIS, 0)
        assert verify(ledger) == []

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

    @pytest.mark.parametrize("field", ["key", "model", "subject", "status"])
    @pytest.mark.parametrize("text", ["a\0b", "a\udc80b"])
    def test_text_that_a_database_cannot_keep_is_refused(self, ledger: Ledger, field: str, text: str) -> None:
        with pytest.raises(LedgerError, match=r"must be text without NUL.*received 'a\\.*Escape it"):
            ledger.append(record("good"), dataclasses.replace(record("k"), **{field: text}))
        assert ledger.head().sequence == 0

    def test_records_are_numbered_and_chained_in_the_order_of_writing(self, ledger: Ledger) -> None:
        ledger.append(record("a"), record("a", status="RAISED"), record("b", model="other"))
        ledger.append(record("c", kind=SETTLED, sequence=99, hash="of another ledger"), record("a"))
        found = ledger.all_after(0, 9)
        assert keys(found) == ["a", "b", "c"]
        assert [r.sequence for r in found] == [1, 2, 3]
        last = GENESIS
        for one in found:
            last = next_hash(last, one)
            assert one.hash == last
        assert ledger.head() == Head(3, last, 3)
        assert verify(ledger) == []

    def test_a_payload_with_keys_that_are_numbers_is_sound(self, ledger: Ledger) -> None:
        """As JSON's text they sort otherwise than as numbers."""
        ledger.append(record("k", payload={2: "a", 10: "b"}))
        assert ledger.newest("m", EVIDENCE)[0].payload == {"2": "a", "10": "b"}
        assert verify(ledger) == []

    def test_all_after_pages_over_every_model_and_kind(self, ledger: Ledger) -> None:
        told = story(25)
        ledger.append(*told)
        seen, cursor = list[Record](), 0
        while page := ledger.all_after(cursor, 4):
            seen += page
            cursor = page[-1].sequence
        assert keys(seen) == keys(told)
        assert [(link.sequence, link.hash, link.record) for link in ledger.links(0, 99)] == [
            (one.sequence, one.hash, one) for one in seen
        ]

    def test_as_of_answers_as_the_ledger_did_then(self, ledger: Ledger) -> None:
        """Every query, after every record: nothing written later shows through, not by its absence either."""
        then = [answers(ledger)]
        for one in story(22):
            ledger.append(one)
            then.append(answers(ledger))
        for sequence, expected in enumerate(then):
            assert answers(ledger.as_of(sequence)) == expected, sequence
        assert answers(ledger.as_of(99)) == then[22]
        assert answers(ledger.as_of(20).as_of(12)) == answers(ledger.as_of(12).as_of(20)) == then[12]
        assert verify(ledger.as_of(12)) == []

    def test_what_is_past_is_for_reading(self, ledger: Ledger) -> None:
        ledger.append(record("a"), record("b"))
        for view in (ledger.as_of(1), ledger.as_of(2), ledger.as_of(0), ledger.as_of(2).as_of(1)):
            with pytest.raises(LedgerError, match=r"appended to the ledger itself; received one .* as of record \d"):
                view.append(record("c"))
        assert keys(ledger.all_after(0, 9)) == ["a", "b"]

    def test_the_audit_tells_how_far_it_is(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("selfheal_assets.operations.audit.PAGE", 4)
        ledger.append(*story(10))
        told = list[tuple[int, int]]()
        assert verify(ledger, lambda done, total: told.append((done, total))) == []
        assert told == [(4, 10), (8, 10), (10, 10)]


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


def append_many(url: str, process: int, count: int) -> None:
    ledger = SqlLedger(url)
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


class DatabaseContract(LedgerContract):
    """What a ledger keeps to over any database, and what its audit finds in one that somebody else wrote to."""

    @abstractmethod
    def url(self, folder: Path) -> str: ...

    def made(self, folder: Path) -> Ledger:
        ledger = SqlLedger(self.url(folder))
        ledger.initialise()
        return ledger

    def changed(self, folder: Path, *statements: str) -> None:
        engine = sa.create_engine(self.url(folder))
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    def test_initialising_again_changes_nothing(self, ledger: Ledger, tmp_path: Path) -> None:
        ledger.append(record("k"))
        again = self.made(tmp_path)
        assert keys(again.all_after(0, 9)) == ["k"]
        assert again.head() == ledger.head()
        assert ledger.append(record("after")) == 1
        assert verify(again) == []

    def test_processes_that_append_at_once_lose_nothing(self, ledger: Ledger, tmp_path: Path) -> None:
        context = multiprocessing.get_context("fork")
        crowd = [context.Process(target=append_many, args=(self.url(tmp_path), process, 50)) for process in range(4)]
        for process in crowd:
            process.start()
        for process in crowd:
            process.join(60)
        assert [process.exitcode for process in crowd] == [0, 0, 0, 0]
        found = ledger.newest("m", EVIDENCE, limit=1_000)
        expected = {f"{p}-{n}" for p in range(4) for n in range(50)} | {f"shared-{n}" for n in range(50)}
        assert sorted(keys(found)) == sorted(expected), "each key once"
        assert [r.sequence for r in found] == list(range(250, 0, -1)), "without gaps"
        assert verify(ledger) == []

    @pytest.mark.parametrize(
        ("statements", "expected"),
        [
            (["update records set status = 'RAISED' where sequence = 4"], [(4, "edited")]),
            (["update records set payload = '{\"a\":  1}' where sequence = 4"], [(4, "edited")]),
            (["update records set payload = '{' where sequence = 4"], [(4, "edited")]),
            (["update records set payload = 'NaN' where sequence = 4"], [(4, "edited")]),
            (["update records set payload = '[[\"a\", 1]]' where sequence = 4"], [(4, "edited")]),
            (["update records set kind = 'invented' where sequence = 4"], [(4, "edited")]),
            (["update records set event_time = 'never' where sequence = 4"], [(4, "edited")]),
            # The same moment, otherwise written: the order of the records by their text would change.
            (
                ["update records set event_time = '2026-01-01T05:00:00.000000+05:00' where sequence = 4"],
                [(4, "edited")],
            ),
            (["update records set hash = 'x' where sequence = 4"], [(4, "edited")]),
            (["delete from records where sequence in (4, 5)"], [(4, "deleted")]),
            (["delete from records where sequence > 6"], [(7, "truncated")]),
            (["delete from records"], [(1, "truncated")]),
            (["delete from records where sequence = 8", "update head set sequence = 7"], [(7, "edited")]),
            (["delete from head"], [(8, "truncated")]),
            (["update head set hash = 'x'"], [(8, "edited")]),
            (["update head set sequence = 5"], [(6, "edited")]),
            (
                [
                    "update records set sequence = 0 where sequence = 3",
                    "update records set sequence = 3 where sequence = 6",
                    "update records set sequence = 6 where sequence = 0",
                ],
                [(3, "reordered"), (4, "reordered"), (6, "reordered"), (7, "reordered")],
            ),
        ],
    )
    def test_the_audit_finds_what_somebody_changed(
        self, ledger: Ledger, tmp_path: Path, statements: list[str], expected: list[tuple[int, str]]
    ) -> None:
        ledger.append(*(record(f"k{number}", payload={"a": 1}) for number in range(8)))
        self.changed(tmp_path, *statements)
        assert [(b.sequence, b.what) for b in verify(ledger)] == expected

    def test_deleted_newest_records_stay_missed_when_more_is_appended(self, ledger: Ledger, tmp_path: Path) -> None:
        ledger.append(*story(8))
        self.changed(tmp_path, "delete from records where sequence > 6")
        assert ledger.append(record("next")) == 1
        assert ledger.newest("m", EVIDENCE)[0].sequence == 9
        assert [(b.sequence, b.what) for b in verify(ledger)] == [(7, "deleted")]

    @pytest.mark.parametrize(
        ("statement", "message"),
        [
            ("delete from head", r"head must name its newest record; received .* without a head.*ledger verify"),
            ("update head set sequence = 2", r"must take and give records; received from .*(?i:unique).*ledger verify"),
        ],
    )
    def test_nothing_is_appended_after_a_head_that_is_wrong(
        self, ledger: Ledger, tmp_path: Path, statement: str, message: str
    ) -> None:
        ledger.append(*story(5))
        self.changed(tmp_path, statement)
        with pytest.raises(LedgerError, match=message):
            ledger.append(record("next"))
        assert len(ledger.all_after(0, 99)) == 5
        self.made(tmp_path)
        assert verify(ledger), "initialising does not hide it"

    def test_a_row_that_is_no_record_is_a_ledger_error(self, ledger: Ledger, tmp_path: Path) -> None:
        ledger.append(record("k"))
        self.changed(tmp_path, "update records set payload = 'x'")
        for read in (lambda: ledger.newest("m", EVIDENCE), lambda: ledger.all_after(0, 9)):
            with pytest.raises(LedgerError, match=r"as a ledger writes it; received .*'key': 'k'.*ledger verify"):
                read()

    def test_a_ledger_of_the_earlier_layout_is_a_home_error(self, tmp_path: Path) -> None:
        self.changed(tmp_path, EARLIER_LAYOUT)
        with pytest.raises(HomeError, match=r"must have the column `hash`.*Start a new home.*keep this one aside"):
            self.made(tmp_path)
        with pytest.raises(HomeError, match="must have the column `hash`"):
            SqlLedger(self.url(tmp_path)).newest("m", EVIDENCE)
        with pytest.raises(HomeError):
            SqlLedger(self.url(tmp_path)).append(record("k"))


class TestSqlLedger(DatabaseContract):
    def url(self, folder: Path) -> str:
        return f"sqlite:///{folder / 'ledger.db'}"

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
        assert verify(ledger) == []

    def test_a_row_of_bytes_is_found(self, ledger: Ledger, tmp_path: Path) -> None:
        ledger.append(*story(5))
        self.changed(tmp_path, "update records set model = x'ff00' where sequence = 2")
        assert [(b.sequence, b.what) for b in verify(ledger)] == [(2, "edited")]

    def test_a_writer_that_waits_too_long_is_a_ledger_error(self, ledger: Ledger, tmp_path: Path) -> None:
        impatient = sql_ledger(tmp_path)
        sa.event.listen(impatient._database.engine, "connect", lambda c, _: c.execute("PRAGMA busy_timeout=50"))
        with sqlite3.connect(tmp_path / "ledger.db") as other:
            other.execute("begin immediate")
            with pytest.raises(LedgerError, match=r"received from .*ledger\.db: database is locked.*held by another"):
                impatient.append(record("k"))
            assert ledger.newest("m", EVIDENCE) == [], "reading waits for nobody"
            other.rollback()
        other.close()
        assert impatient.append(record("k")) == 1


class TestPostgresLedger(DatabaseContract):
    server = ""

    @pytest.fixture(autouse=True)
    def _empty(self, postgres: "Postgres", tmp_path: Path) -> None:
        self.server = postgres.url("ledger")
        self.changed(tmp_path, "drop table if exists records, head, ledger_version")

    def url(self, folder: Path) -> str:  # noqa: ARG002 - one server for all
        return self.server

    def test_a_ledger_that_was_never_made_is_a_home_error(self) -> None:
        with pytest.raises(HomeError, match=r"must exist before it is used; received postgresql.*Run `selfheal init`"):
            SqlLedger(self.server).append(record("k"))
