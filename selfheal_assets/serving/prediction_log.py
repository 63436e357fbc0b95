"""Keep every answered row: rows in; durable lines within the commit window, later a landed batch, out. Never blocks."""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

from selfheal_assets.core.errors import LogFullError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports.ledger import Clock
from selfheal_assets.ports.serving import Logged
from selfheal_assets.serving.lander import Lander
from selfheal_assets.serving.logged_lines import encode
from selfheal_assets.serving.pending_lines import PendingLines
from selfheal_assets.serving.segment_landing import Converted
from selfheal_assets.serving.segment_writer import SegmentWriter
from selfheal_assets.serving.segments import SegmentFolder
from selfheal_assets.serving.served_table import LoggedColumns

CAPACITY = 10_000
"""Rows that are held in memory at most, or those of two of the largest requests."""
GATHERED = 0.5
"""Share of the commit window in which rows gather; the rest of it is for the disk."""
PATIENCE_WINDOWS, PATIENCE_SECONDS = 10, 1.0
"""A disk that is behind by more commit windows than this, and by so long, is trouble."""
POLL_SECONDS = 0.2
LONGEST_PAUSE = 1.0
"""Between two tries of a disk that refuses."""
CLOSE_SECONDS = 10.0
_log = logging.getLogger(__name__)


class PredictionLog:
    """The answers of one process, group-committed to `<home>/serving/<model>/log`. An AnswerLog."""

    def __init__(
        self,
        home: Path,
        spec: ModelSpec,
        columns: LoggedColumns,
        clock: Clock,
        *,
        capacity: int | None = None,
        relay: Callable[[Path], None] = lambda _: None,
    ) -> None:
        serving = spec.serving
        self.folder = home / "serving" / spec.name / "log"
        self.rows_written = 0
        """Durable so far, of this process."""
        self._columns = columns
        self._window = serving.commit_ms / 1000.0
        self._segments = SegmentFolder(self.folder)
        self._lander = Lander(self._segments, home / "landing" / spec.name, columns, relay)
        self._pending = PendingLines(capacity or max(CAPACITY, 2 * serving.max_rows))
        self._writer = SegmentWriter(
            self._segments,
            clock,
            max_rows=serving.log_rows,
            max_age=timedelta(minutes=serving.log_minutes),
            sealed=self._lander.take,
        )
        self._refused: str | None = None
        self._give_up_at = float("inf")
        self._thread = Thread(target=self._write, name="prediction-log-writer", daemon=True)
        self._lander.start()
        self._thread.start()

    @property
    def converted(self) -> Converted:
        """Rows on their way to landing, and those left out."""
        return self._lander.counts

    @property
    def waiting(self) -> int:
        """Rows that are not durable yet."""
        return len(self._pending)

    @property
    def trouble(self) -> str | None:
        if self._refused:
            return self._refused
        waited = self._pending.waited
        if waited > max(PATIENCE_SECONDS, PATIENCE_WINDOWS * self._window):
            return f"the disk is too slow: {len(self._pending)} answers wait, the oldest for {waited:.1f} s"
        return self._lander.trouble

    def append(self, rows: Sequence[Logged]) -> None:
        """All of the rows or none: LogFullError. ServingError: a row has a value without a column."""
        for row in rows:
            self._columns.refuse_unknown(row.event, row.features)
        if self._pending.put([encode(row) for row in rows]):
            return
        if self._pending.closed:
            raise LogFullError(f"A closed prediction log takes no rows; received {len(rows)}. Start the server again.")
        raise LogFullError(
            f"The prediction log holds at most {self._pending.capacity} answers that are not on disk; received "
            f"{len(rows)} beside {len(self._pending)}: {self.trouble or 'the disk is behind'}. "
            f"Make room on the disk of {self.folder}, or send less."
        )

    def close(self) -> None:
        """Write down and land what there is; LogFullError when the disk does not take the last rows in time."""
        self._give_up_at = monotonic() + CLOSE_SECONDS
        self._pending.close()
        self._thread.join(CLOSE_SECONDS + PATIENCE_SECONDS)
        lost = len(self._pending)
        if not self._lander.close(CLOSE_SECONDS):
            _log.warning("segments in %s are left for the next start to land", self.folder)
        if self._lander.at_rest and not self._thread.is_alive():
            self._segments.leave()  # A thread that hangs in the disk keeps the claim until the process ends.
        if lost:
            raise LogFullError(
                f"The prediction log must be written down before it closes; received {lost} answers that the disk did "
                f"not take in {CLOSE_SECONDS:.0f} s: {self.trouble}. They are lost: make room in {self.folder}."
            )

    def _write(self) -> None:
        failures = 0
        while len(self._pending) or not self._pending.closed:
            self._pending.wait(POLL_SECONDS)
            if len(self._pending):
                self._pending.gather(GATHERED * self._window)
            failures = 0 if self._commit() else failures + 1
            if failures:
                if monotonic() >= self._give_up_at:
                    break
                sleep(min(LONGEST_PAUSE, self._window * 2 ** min(failures, 10)))
        self._writer.seal()

    def _commit(self) -> bool:
        """One write and one fsync; False when the disk refused."""
        try:
            if lines := self._pending.first(self._writer.room):
                self._writer.commit(lines)
                self._pending.written(len(lines))
                self.rows_written += len(lines)
            self._writer.seal_when_due()
        except Exception as error:  # The thread must outlive whatever befalls one commit: it tries again.
            if self._refused is None:
                _log.warning("the prediction log cannot be written: %s", error, exc_info=not isinstance(error, OSError))
            self._refused = f"answers cannot be written to disk: {type(error).__name__}: {error}"
            return False
        self._refused = None
        return True
