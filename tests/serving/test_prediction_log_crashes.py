"""Rows in are rows landed: any order of appends, rotations, full disks and crashes at any write, beside an ingest."""

import errno
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from logged import columns, files, landing, left, log_folder, logged

from selfheal_assets.adapters.batch_store import batch_id_of
from selfheal_assets.serving import lander as lander_module
from selfheal_assets.serving import segments
from selfheal_assets.serving.lander import Lander
from selfheal_assets.serving.logged_lines import encode
from selfheal_assets.serving.segment_writer import SegmentWriter
from selfheal_assets.serving.segments import SegmentFolder

MAX_ROWS, MAX_AGE = 3, timedelta(minutes=10)
TOUCHING = ("write", "fsync", "replace", "unlink", "ftruncate", "open")
"""Calls that change the disk, or show that it was changed."""


class CrashError(BaseException):
    """The process ends here."""


class Faults:
    """Lets all but the first n of the coming calls that touch the disk fail, as after a SIGKILL or with a full disk."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._left: int | None = None
        self._error: BaseException = CrashError()
        for name in TOUCHING:
            patch.setattr(os, name, self._failing(name, getattr(os, name)))

    def after(self, calls: int | None, error: BaseException) -> None:
        self._left, self._error = calls, error

    def _failing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    if name == "write" and self._left == -1:
                        real(arguments[0], bytes(arguments[1])[: 2 * len(arguments[1]) // 3])
                    raise self._error
            # The end of a process takes nothing from what the kernel was given: no need to wait for the disk.
            return None if name == "fsync" else real(*arguments, **named)

        return call


class Process:
    """One server's log without its threads: a step of the writer, a step of the lander."""

    def __init__(self, home: Path, clock: "Machine") -> None:
        self.folder = SegmentFolder(log_folder(home))
        self.lander = Lander(self.folder, landing(home), columns())
        self.writer = SegmentWriter(self.folder, clock, max_rows=MAX_ROWS, max_age=MAX_AGE, sealed=self.lander.take)
        self.pending: list[str] = []

    def commit(self, durable: set[str]) -> None:
        while self.pending:
            chosen = self.pending[: self.writer.room]
            self.writer.commit([encode(logged(event_id)) for event_id in chosen])
            durable.update(chosen)
            del self.pending[: len(chosen)]


class Machine(RuleBasedStateMachine):
    """Two servers and an ingest over one home."""

    def now(self) -> datetime:
        return self.moment

    @initialize()
    def begin(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(lander_module, "ADOPT_SECONDS", 0.0)
        self.home = Path(tempfile.mkdtemp())
        self.moment = datetime(2026, 3, 1, tzinfo=UTC)
        self.faults = Faults(self.patch)
        self.acting, self.locks = 0, (list[FileLock](), list[FileLock]())
        lock_of = segments._lock_of
        self.patch.setattr(segments, "_lock_of", lambda *names: self.seen(lock_of(*names)))
        self.processes = [self.start(0), self.start(1)]
        self.count = 0
        self.appended, self.durable = set[str](), set[str]()
        self.ingested: dict[str, list[str]] = {}
        """By batch id: what comes again is the same batch, and is dropped."""

    def start(self, number: int) -> Process:
        self.acting = number
        return Process(self.home, self)

    def seen(self, lock: FileLock) -> FileLock:
        self.locks[self.acting].append(lock)
        return lock

    def run(self, number: int, work: Callable[[], None], calls: int | None, error: BaseException) -> None:
        self.acting = number
        self.faults.after(calls, error)
        try:
            with suppress(OSError):
                work()
        except CrashError:
            self.crash(number)
        finally:
            self.faults.after(None, CrashError())

    @rule(number=st.integers(0, 1))
    def crash(self, number: int) -> None:
        """The kernel takes its locks back; what it remembered is gone."""
        self.acting = number
        self.faults.after(None, CrashError())
        while self.locks[number]:
            self.locks[number].pop().release(force=True)
        self.processes[number] = self.start(number)

    @rule(
        number=st.integers(0, 1),
        rows=st.integers(1, 7),
        calls=st.none() | st.integers(0, 12),
        full=st.booleans(),
    )
    def append(self, number: int, rows: int, calls: int | None, full: bool) -> None:
        process = self.processes[number]
        fresh = [str(self.count + place) for place in range(rows)]
        self.count += rows
        self.appended.update(fresh)
        process.pending.extend(fresh)
        error = OSError(errno.ENOSPC, "No space left on device") if full else CrashError()
        self.run(number, lambda: process.commit(self.durable), calls, error)

    @rule(number=st.integers(0, 1), calls=st.none() | st.integers(0, 40), full=st.booleans())
    def land(self, number: int, calls: int | None, full: bool) -> None:
        error = OSError(errno.ENOSPC, "No space left on device") if full else CrashError()
        self.run(number, self.processes[number].lander.step, calls, error)

    @rule(number=st.integers(0, 1), minutes=st.integers(1, 15))
    def grow_old(self, number: int, minutes: int) -> None:
        self.moment += timedelta(minutes=minutes)
        self.processes[number].writer.seal_when_due()

    @rule()
    def ingest(self) -> None:
        """As the arrivals sensor and the ingest do: a batch that is known already is dropped."""
        for file in files(self.home):
            self.ingested.setdefault(batch_id_of(file), pd.read_parquet(file)["id"].tolist())
            file.unlink()

    @invariant()
    def nothing_came_twice(self) -> None:
        rows = Counter(event_id for ids in getattr(self, "ingested", {}).values() for event_id in ids)
        assert not [event_id for event_id, times in rows.items() if times > 1]

    def teardown(self) -> None:
        if not hasattr(self, "home"):
            return
        try:
            self.end_well()
        finally:
            self.patch.undo()
            shutil.rmtree(self.home)

    def end_well(self) -> None:
        for process in self.processes:
            process.commit(self.durable)
            process.writer.seal()
            process.lander.step()
            process.folder.leave()
        self.start(0).lander.step()
        self.ingest()
        self.nothing_came_twice()
        arrived = {event_id for ids in self.ingested.values() for event_id in ids}
        assert self.durable <= arrived <= self.appended
        assert left(self.home) == []


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)
TestRowsInAreRowsLanded = Machine.TestCase


@pytest.mark.parametrize("full", [True, False], ids=["full disk", "crash"])
def test_at_every_single_call(full: bool) -> None:
    """One segment, one fault: of the append or of the landing, at each call in turn."""
    for calls in range(50):
        machine = Machine()
        machine.begin()
        machine.append(number=0, rows=MAX_ROWS, calls=calls if calls < 12 else None, full=full)
        machine.land(number=0, calls=calls - 12 if calls >= 12 else None, full=full)
        machine.ingest()
        machine.teardown()
