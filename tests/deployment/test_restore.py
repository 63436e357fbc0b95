"""The backup of deployment/README.md, restored into another database, is the ledger that was backed up, unbroken."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from selfheal_assets.adapters.sql_ledger import SqlLedger
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.operations.audit import verify
from selfheal_assets.project import PROJECT

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
DUMP = "pg_dump --format=custom --no-owner --file"
RESTORE = "pg_restore --no-owner --exit-on-error --single-transaction"
Run = Callable[..., None]


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


@pytest.fixture
def server() -> Iterator[tuple[Path, Run]]:
    """A PostgreSQL server on a socket in the folder, and how its programs are run; skips where there is none."""
    if PROGRAMS is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="selfheal-"))
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)

    def run(program: str, *arguments: object) -> None:
        command = [str(PROGRAMS / program), *map(str, arguments)]
        subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    data = folder / "data"
    try:
        run("initdb", "--no-sync", "--auth=trust", "--username=selfheal", "--encoding=UTF8", "--locale=C", "-D", data)
        options = f"-c fsync=off -c listen_addresses='' -k {folder}"
        run("pg_ctl", "--wait", "-D", data, "-o", options, "-l", folder / "log", "start")
        yield folder, run
        run("pg_ctl", "--wait", "--mode=immediate", "-D", data, "stop")
    finally:
        shutil.rmtree(folder)


def test_a_restored_ledger_is_whole(server: tuple[Path, Run]) -> None:
    folder, run = server
    where = ("--host", folder, "--username", "selfheal")
    run("createdb", *where, "ledger")
    ledger = SqlLedger(f"postgresql+psycopg2://selfheal@/ledger?host={folder}")
    ledger.initialise()
    ledger.append(*map(record, range(200)))
    backup = folder / "ledger.dump"
    program, *options = DUMP.split()
    run(program, *where, *options, backup, "ledger")
    ledger.append(record(200))

    run("createdb", *where, "restored")
    program, *options = RESTORE.split()
    run(program, *where, *options, "--dbname", "restored", backup)
    restored = SqlLedger(f"postgresql+psycopg2://selfheal@/restored?host={folder}")
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
