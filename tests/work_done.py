"""Count the work of a piece of code, which no other process can change: calls of functions, and steps of SQLite."""

import cProfile
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy

STEPS = 100
"""So many instructions of SQLite's virtual machine are counted at a time."""


@dataclass
class Work:
    """What was done within a `with measured()`."""

    calls: int = 0
    """Of Python's functions, and of those in C that it calls."""
    steps: int = 0
    """Instructions of SQLite, in all connections that were opened within `counting_steps`."""


class Counter:
    """Counts while `counting_steps` lasts."""

    def __init__(self) -> None:
        self._steps = 0

    def watch(self, connection: Any, _record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_progress_handler(self._count, STEPS)

    def _count(self) -> None:
        self._steps += STEPS

    @contextmanager
    def measured(self) -> Iterator[Work]:
        work, before, profile = Work(), self._steps, cProfile.Profile()
        profile.enable()
        try:
            yield work
        finally:
            profile.disable()
            work.calls = sum(entry.callcount for entry in profile.getstats())
            work.steps = self._steps - before


@contextmanager
def counting_steps() -> Iterator[Counter]:
    counter = Counter()
    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", counter.watch)
    try:
        yield counter
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", counter.watch)
