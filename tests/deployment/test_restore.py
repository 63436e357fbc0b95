"""The backup of deployment/README.md, restored into another database, is the ledger that was backed up, unbroken."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from servers import DUMP, RESTORE, Postgres, back_up, restore

from selfheal_assets.adapters.sql_ledger import SqlLedger
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.operations.audit import verify
from selfheal_assets.project import PROJECT

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def record(number: int) -> Record:
    at = BEGIN + timedelta(minutes=number)
    return Record(
        key=f"k-{number}",
        model="m",
        kind=RecordKind.EVIDENCE,
        subject=f"b-{number % 7}",
        status="RAISED",
        event_time=at,
        recorded_at=at,
        payload={"value": number / 3, "words": "größer"},
    )


def test_a_restored_ledger_is_whole(postgres: Postgres, tmp_path: Path) -> None:
    ledger, backup = SqlLedger(postgres.url("backed-up")), tmp_path / "ledger.dump"
    ledger.initialise()
    ledger.append(*map(record, range(200)))
    back_up(postgres.address("backed-up"), backup)
    ledger.append(record(200))

    restored = SqlLedger(postgres.url("restored"))
    restore(backup, postgres.address("restored"))
    assert verify(restored) == []
    kept = ledger.after("m", RecordKind.EVIDENCE, 0, 1_000)
    assert restored.after("m", RecordKind.EVIDENCE, 0, 1_000) == kept[:200], "as of the backup"
    assert restored.append(record(200)) == 1, "and it goes on from there"
    assert verify(restored) == []
    assert restored.after("m", RecordKind.EVIDENCE, 0, 1_000) == kept


def test_the_document_says_the_same() -> None:
    text = (PROJECT / "deployment" / "README.md").read_text(encoding="utf-8")
    assert DUMP in text
    assert RESTORE in text
