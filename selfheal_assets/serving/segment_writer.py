"""Append lines to the log's open segment, and seal it when it is full or old. Never lands a segment."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from selfheal_assets.ports.ledger import Clock
from selfheal_assets.serving.segments import Segment, SegmentFolder


class SegmentWriter:
    """The one that writes to a process's segments."""

    def __init__(
        self, folder: SegmentFolder, clock: Clock, *, max_rows: int, max_age: timedelta, sealed: Callable[[str], None]
    ) -> None:
        """`sealed` takes the name of every segment that is complete."""
        self._folder = folder
        self._clock = clock
        self._max_rows = max_rows
        self._max_age = max_age
        self._sealed = sealed
        self._segment: Segment | None = None
        self._failed = False

    @property
    def room(self) -> int:
        """Rows that one commit can take."""
        return self._max_rows - (self._segment.rows if self._segment and not self._failed else 0)

    @property
    def rows(self) -> int:
        """In the open segment."""
        return self._segment.rows if self._segment else 0

    def commit(self, lines: Sequence[bytes]) -> None:
        """At most `room` lines, durable on return; raises OSError, after which none of them counts as written."""
        if self._segment and self._failed:
            # After a failed fsync a file is not to be trusted with more: what was durable before stays, and ends it.
            self._segment.cut()
            self._failed = False
            self.seal()
        if self._segment is None:
            self._segment = self._folder.start(self._clock.now())
        try:
            self._segment.append(lines)
        except OSError:
            self._failed = True
            raise
        self.seal_when_due()

    def seal_when_due(self) -> None:
        if self._segment is None or self._failed:
            return
        age = self._clock.now() - self._segment.began
        # A clock that was set back must not keep the segment for ever.
        if self._segment.rows >= self._max_rows or not timedelta(0) <= age < self._max_age:
            self.seal()

    def seal(self) -> None:
        """End the open segment, without what a failed commit may have left in it."""
        if self._segment is None:
            return
        segment, self._segment = self._segment, None
        if self._failed:
            self._failed = False
            with suppress(OSError):
                segment.cut()
        with suppress(OSError):  # Its rows are durable, whatever closing says.
            segment.close()
        self._sealed(segment.path.stem)
