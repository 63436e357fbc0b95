"""Open batches are followed: a process that looked once sees what others write, and a ledger that was put back."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from selfheal_assets.adapters import open_batches
from selfheal_assets.adapters.sql_ledger import SqlLedger
from selfheal_assets.core.record import Record, RecordKind

AT = datetime(2026, 1, 1, tzinfo=UTC)


def record(kind: RecordKind, subject: str, number: int = 0, model: str = "m") -> Record:
    key = f"{kind}:{model}:{subject}:{number}"
    return Record(key=key, model=model, kind=kind, subject=subject, status="S", event_time=AT, recorded_at=AT)


def opened(subject: str, number: int = 0, model: str = "m") -> Record:
    return record(RecordKind.BATCH_REGISTERED, subject, number, model)


def closed(subject: str, number: int = 0) -> Record:
    return record(RecordKind.BATCH_CLOSED, subject, number)


def open_in(ledger: SqlLedger, model: str = "m") -> list[str]:
    return [found.subject for found in ledger.open_batches(model, limit=2_000)]


@pytest.fixture
def ledger(tmp_path: Path) -> SqlLedger:
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.initialise()
    return ledger


def test_what_another_process_writes_is_followed(ledger: SqlLedger, tmp_path: Path) -> None:
    other = SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert open_in(ledger) == []
    other.append(opened("a"), opened("b"), opened("x", model="another"))
    assert open_in(ledger) == ["a", "b"]
    other.append(closed("a"))
    assert open_in(ledger) == ["b"]
    other.append(record(RecordKind.WAIVER, "a"), closed("b"))
    assert open_in(ledger) == ["a"], "a release opens a batch again"
    other.append(opened("b", 1), closed("a", 1), closed("b", 2))
    assert open_in(ledger) == []
    assert open_in(ledger, "another") == ["x"]
    assert open_in(SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")) == open_in(ledger)


def test_the_whole_past_is_asked_for_once(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.append(opened("a"))
    assert open_in(ledger) == ["a"]
    monkeypatch.setattr(open_batches, "still_open", None)
    ledger.append(opened("b"), closed("a"))
    assert open_in(ledger) == ["b"]
    assert open_in(ledger) == ["b"]


def test_more_are_open_than_one_query_takes(ledger: SqlLedger) -> None:
    ids = [f"b{number:04d}" for number in range(1_200)]
    ledger.append(*(opened(batch_id) for batch_id in ids))
    assert open_in(ledger) == ids
    assert len(ledger.open_batches("m", limit=7)) == 7


def test_a_view_of_an_earlier_record_answers_as_then(ledger: SqlLedger) -> None:
    ledger.append(opened("a"), opened("b"), closed("a"))
    assert open_in(ledger) == ["b"]
    assert [found.subject for found in ledger.as_of(2).open_batches("m", limit=9)] == ["a", "b"]
    assert open_in(ledger) == ["b"]


@pytest.mark.parametrize("grown", [False, True], ids=["as it was", "and has grown since"])
def test_a_ledger_that_was_put_back_is_read_anew(ledger: SqlLedger, tmp_path: Path, grown: bool) -> None:
    ledger.append(opened("a"))
    ledger._database.engine.dispose()
    shutil.copyfile(tmp_path / "ledger.db", tmp_path / "copy.db")
    ledger.append(closed("a"), opened("b"))
    assert open_in(ledger) == ["b"]
    ledger._database.engine.dispose()
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copyfile(tmp_path / "copy.db", tmp_path / "ledger.db")
    if grown:
        SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}").append(*(opened(f"c{number}") for number in range(4)))
    assert open_in(ledger) == ["a", *(f"c{number}" for number in range(4) if grown)]
