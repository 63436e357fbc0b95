"""A ledger of every release becomes one of this version, with every record as it was, on SQLite and on PostgreSQL."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from servers import Postgres

from selfheal_assets.adapters.ledger_schema import (
    MIGRATIONS,
    VERSION_TABLE,
    migrate,
    newest_version,
    schema_version,
)
from selfheal_assets.adapters.ledger_tables import tables
from selfheal_assets.adapters.sql_ledger import SqlLedger
from selfheal_assets.core.errors import HomeError
from selfheal_assets.core.ledger_chain import GENESIS
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.operations.audit import verify

FIRST = """
create table records (sequence {number} not null primary key, "key" text not null unique, model text not null,
    kind text not null, subject text not null, status text not null, event_time text not null,
    recorded_at text not null, payload text not null, hash text not null);
create index records_by_event_time on records (model, kind, event_time, sequence);
create index records_by_kind on records (model, kind, sequence);
create index records_by_subject on records (model, kind, subject, sequence);
create table head (id integer not null primary key check (id = 1), sequence {number} not null, hash text not null);
insert into head values (1, 1, '{hash}');
insert into records values (1, 'k', 'm', 'evidence', 'b', 'CLEAR', '2026-01-01T00:00:00.000000+00:00',
    '2026-01-01T01:00:00.000000+00:00', '{{"value":0.5}}', '{hash}')
"""
"""As the first release made it, by hand, and one record of its own hand. Never to be changed."""
HASH = "eb02a4c9"
AT = datetime(2026, 1, 1, tzinfo=UTC)
LATER = '''"""Add a column, as a later version may."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{newest}"


def upgrade() -> None:
    op.add_column("head", sa.Column("seal", sa.Text, nullable=True))
'''


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'a % strange name.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    found = server.url("migrations")
    run(found, "drop table if exists records, head, ledger_version")
    return found


def run(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def first_release(url: str) -> None:
    number = "integer" if url.startswith("sqlite") else "bigint"
    run(url, *FIRST.format(number=number, hash=HASH).split(";"))


def version(url: str) -> str | None:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = schema_version(connection)
    engine.dispose()
    return found


def test_a_new_ledger_is_of_the_newest_version(url: str) -> None:
    ledger = SqlLedger(url)
    for _ in range(2):
        ledger.initialise()
        assert version(url) == newest_version()
    assert ledger.head().hash == GENESIS


def test_the_migrations_make_what_the_code_uses(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    ledger = SqlLedger(url)
    ledger.initialise()
    with ledger._database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, tables().metadata) == []


def test_a_ledger_of_the_first_release_goes_on(url: str) -> None:
    first_release(url)
    assert version(url) is None
    ledger = SqlLedger(url)
    ledger.initialise()
    assert version(url) == newest_version()
    (found,) = ledger.newest("m", RecordKind.EVIDENCE)
    assert (found.key, found.payload) == ("k", {"value": 0.5})
    assert ledger.head().sequence == 1


def test_a_later_version_is_reached_from_the_first_release(url: str, tmp_path: Path) -> None:
    first_release(url)
    migrations = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    (migrations / "versions" / "r9999_later.py").write_text(LATER.format(newest=newest_version()))
    ledger = SqlLedger(url)
    with ledger._database.writing() as connection:
        migrate(connection, adopted=True, migrations=migrations)
    assert version(url) == newest_version(migrations) == "9999"
    assert len(ledger.newest("m", RecordKind.EVIDENCE)) == 1
    with pytest.raises(HomeError, match="must be of this version of selfheal or of an earlier one; received"):
        SqlLedger(url).initialise()


def test_a_migration_that_fails_changes_nothing(url: str, tmp_path: Path) -> None:
    first_release(url)
    migrations = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    broken = LATER.format(newest=newest_version()) + '    raise RuntimeError("killed here")\n'
    (migrations / "versions" / "r9999_later.py").write_text(broken)
    ledger = SqlLedger(url)
    with pytest.raises(RuntimeError, match="killed here"), ledger._database.writing() as connection:
        migrate(connection, adopted=True, migrations=migrations)
    assert version(url) is None
    ledger.initialise()
    assert version(url) == newest_version()


def test_a_sound_ledger_from_before_there_were_versions_stays_sound(url: str) -> None:
    before = SqlLedger(url)
    before.initialise()
    before.append(*(record(str(number)) for number in range(5)))
    run(url, f"drop table {VERSION_TABLE}")
    ledger = SqlLedger(url)
    ledger.initialise()
    ledger.append(record("5"))
    assert verify(ledger) == []
    assert ledger.head().sequence == 6


def record(key: str) -> Record:
    return Record(
        key=key,
        model="m",
        kind=RecordKind.EVIDENCE,
        subject="b",
        status="CLEAR",
        event_time=AT,
        recorded_at=AT,
        payload={},
    )
