"""Land what is sealed, of this process and of dead ones, until it succeeds. Never touches a living one's files."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic

from selfheal_assets.serving.segment_landing import Converted, convert, land
from selfheal_assets.serving.segments import SegmentFolder
from selfheal_assets.serving.served_table import LoggedColumns

ADOPT_SECONDS = 30.0
"""How often the folder is searched for segments of dead processes."""
RETRY_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Lander:
    """A thread with a list of segments that have yet to land."""

    def __init__(
        self,
        segments: SegmentFolder,
        landing: Path,
        columns: LoggedColumns,
        relay: Callable[[Path], None] = lambda _: None,
    ) -> None:
        """`relay` sends what is in the landing folder to where ingests look for it, if that is another place."""
        self.counts = Converted()
        self._relay = relay
        self.trouble: str | None = None
        self._segments = segments
        self._landing = landing
        self._columns = columns
        self._sealed = SimpleQueue[str]()
        self._waiting = list[str]()
        self._closing = Event()
        self._adopted_at: float | None = None
        self._thread = Thread(target=self._run, name="prediction-log-lander", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def take(self, name: str) -> None:
        """A segment of this process that is complete."""
        self._sealed.put(name)

    def step(self) -> None:
        """Land everything that can be landed; what cannot stays, and `trouble` says why."""
        while not self._sealed.empty():
            self._waiting.append(self._sealed.get())
        trouble = None
        for name in list(self._waiting):
            if why := self._tried(partial(self._land, name)):
                trouble = why
            else:
                self._waiting.remove(name)
        if self._adopted_at is None or monotonic() - self._adopted_at >= ADOPT_SECONDS:
            why = self._tried(self._adopt)
            self._adopted_at, trouble = (None if why else monotonic()), trouble or why
        self.trouble = self._tried(partial(self._relay, self._landing)) or trouble

    @property
    def at_rest(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    def close(self, timeout: float) -> bool:
        """Land what there is, within so many seconds; False when segments are left, which the next process lands."""
        self._closing.set()
        self._sealed.put("")  # Wakes the thread.
        self._thread.join(timeout)
        return self.at_rest and not self._waiting

    def _run(self) -> None:
        while True:
            closing = self._closing.is_set()
            self.step()
            if closing:
                return
            try:
                self._waiting.append(self._sealed.get(timeout=RETRY_SECONDS))
            except Empty:
                continue

    def _land(self, name: str) -> None:
        if name:  # The empty one only wakes the thread.
            self.counts += convert(self._segments.folder, name, self._columns)
            land(self._segments.folder, name, self._landing)

    def _adopt(self) -> str | None:
        with self._segments.adopted() as names:
            failed = [why for name in names if (why := self._tried(partial(self._land, name)))]
        return failed[0] if failed else None

    def _tried(self, work: Callable[[], str | None] | Callable[[], None]) -> str | None:
        """Why it failed; None when it did not."""
        try:
            return work()
        except Exception as error:  # A fault of one segment must not end the thread: all others have yet to land.
            why = f"answers cannot be landed: {type(error).__name__}: {error}"
            if why != self.trouble:
                _log.warning(why, exc_info=not isinstance(error, OSError))
            return why
