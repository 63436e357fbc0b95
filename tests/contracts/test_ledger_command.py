"""`selfheal ledger`: what a person reads of a sound ledger, of a broken one, and where there is none."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from selfheal_assets.adapters.sql_ledger import SqlLedger
from selfheal_assets.cli import app
from selfheal_assets.core.record import Record, RecordKind

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELFHEAL_HOME", str(home))
    home.mkdir()
    return home


def made(folder: Path, count: int) -> SqlLedger:
    ledger = SqlLedger(f"sqlite:///{folder / 'ledger.db'}")
    ledger.initialise()
    kinds = [RecordKind.EVIDENCE, RecordKind.DECISION]
    for number in range(count):
        about = {"subject": f"b{number}", "status": "CLEAR", "event_time": BEGIN, "recorded_at": BEGIN}
        ledger.append(Record(key=f"k{number}", model=f"m{number % 3}", kind=kinds[number % 2], **about))
    return ledger


def changed(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "ledger.db") as database:
        database.execute(statement)
    database.close()


def verify() -> Result:
    return CliRunner().invoke(app, ["ledger", "verify"])


@pytest.mark.parametrize("count", [0, 7])
def test_a_sound_ledger_is_told_with_its_head(folder: Path, count: int) -> None:
    head = made(folder, count).head()
    said = verify()
    assert said.exit_code == 0, said.output
    assert f"sound: {count} records" in said.output
    assert f"head: {count} {head.hash}" in said.output


def test_every_break_is_told_and_the_exit_code_is_1(folder: Path) -> None:
    made(folder, 9)
    changed(folder, "update records set status = 'RAISED' where sequence = 2")
    changed(folder, "delete from records where sequence in (5, 9)")
    said = verify()
    assert said.exit_code == 1
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.output.splitlines() if "│" in line]
    assert [row[:2] for row in rows] == [["2", "edited"], ["5", "deleted"], ["9", "truncated"]]
    assert rows[0][2] == "Record 2 does not follow from record 1: it was changed, or what stood before it was."
    assert rows[1][2] == "Missing: record 5."
    assert "broken: 3 breaks" in said.output


def test_of_very_many_breaks_the_first_are_shown(folder: Path) -> None:
    made(folder, 60)
    changed(folder, "update records set model = 'x'")
    said = verify()
    assert said.exit_code == 1
    assert "and 10 more" in said.output
    assert "broken: 60 breaks" in said.output


def test_a_home_without_a_ledger_is_told_plainly(folder: Path) -> None:
    said = verify()
    assert said.exit_code == 1
    assert "HomeError" in said.output
    assert "selfheal init" in said.output
    assert isinstance(said.exception, SystemExit), "not a traceback"
    assert not (folder / "layout").exists()
