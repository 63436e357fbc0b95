"""Keep Dagster's runs, events and ticks in SQLite, as Dagster does: a folder in; its storage out. Adds no table.

Dagster opens its instance anew for every tick of every sensor, and each time reads all the scripts of its migrations to
see whether the databases are of its version: four fifths of an idle tick. Here a process looks once.
"""

import os
from typing import Any, Self

from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

_LOOKED_AT = set[str]()
"""The databases that this process found to be of Dagster's version, or made so."""


class OnceCheckedSqliteStorage(DagsterSqliteStorage):
    """Dagster's own storage, named in `deployment/dagster/local.yaml`."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        # Not the parent's: it opens the databases.
        super(DagsterSqliteStorage, self).__init__()  # type: ignore[no-untyped-call]
        self.base_dir = base_dir
        history = os.path.join(base_dir, "history", "")
        self._run_storage = _opened(SqliteRunStorage, history, "runs")
        self._event_log_storage = SqliteEventLogStorage(os.path.join(history, "runs", ""))
        self._schedule_storage = _opened(SqliteScheduleStorage, os.path.join(base_dir, "schedules"), "schedules")
        self._inst_data = inst_data

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Any) -> Self:
        return cls.from_local(inst_data=inst_data, **config_value)


def _opened(storage: Any, folder: str, name: str) -> Any:
    """Without a look at its version where this process had one; a database that is gone is made again."""
    file = os.path.join(folder, f"{name}.db")
    if file in _LOOKED_AT and os.path.exists(file):
        return storage(create_db_conn_string(folder, name))
    opened = storage.from_local(folder)
    _LOOKED_AT.add(file)
    return opened
