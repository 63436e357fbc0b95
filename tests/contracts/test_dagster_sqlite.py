"""Dagster's SQLite storage as the home's instance names it: the same as Dagster's, with one look a process."""

import shutil
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

from selfheal_assets.dagster_sqlite import OnceCheckedSqliteStorage
from selfheal_assets.operations.home import INSTANCE


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    shutil.copyfile(INSTANCE, tmp_path / "dagster.yaml")
    return tmp_path


def test_an_instance_is_opened_again_without_a_look_at_versions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.get() as instance:
        run_id = instance.add_run(dg.DagsterRun(job_name="j")).run_id
        reference = instance.get_ref()
    assert reference.storage_data is not None
    assert reference.storage_data.class_name == OnceCheckedSqliteStorage.__name__

    def looked(*_: object) -> None:
        raise AssertionError("the migrations were read again")

    for module in (sqlite_run_storage, sqlite_schedule_storage):
        monkeypatch.setattr(module, "check_alembic_revision", looked)
    with dg.DagsterInstance.from_ref(reference) as again:
        assert again.has_run(run_id)
        assert again.all_instigator_state() == []
    assert (folder / "history" / "runs.db").is_file()


def test_the_files_are_those_of_dagsters_own_storage(folder: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        run_id = instance.add_run(dg.DagsterRun(job_name="j")).run_id
    theirs = DagsterSqliteStorage.from_local(str(folder))
    assert theirs.run_storage.has_run(run_id)


def test_a_database_that_is_gone_is_made_again(folder: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        instance.add_run(dg.DagsterRun(job_name="j"))
    for place in ("history", "schedules"):
        shutil.rmtree(folder / place)
    with dg.DagsterInstance.get() as again:
        assert again.get_runs_count() == 0
        assert again.all_instigator_state() == []
