"""Hold answered rows between those who answer and the one who writes: bounded, in order. Never drops a row."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from threading import Condition
from time import monotonic


class PendingLines:
    """Lines that are not durable yet. They count, and stay in order, until the writer says that they are."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._lines = deque[tuple[float, bytes]]()
        self._changed = Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def closed(self) -> bool:
        """Whether no more lines are taken."""
        return self._closed

    @property
    def waited(self) -> float:
        """How long the oldest line has been waiting. Unit: seconds."""
        try:
            return monotonic() - self._lines[0][0]
        except IndexError:
            return 0.0

    def put(self, lines: Sequence[bytes]) -> bool:
        """All of the lines or none; False when there is no room for them."""
        now = monotonic()
        with self._changed:
            if self._closed or len(self._lines) + len(lines) > self.capacity:
                return False
            idle = not self._lines
            self._lines.extend((now, line) for line in lines)
            if idle:
                self._changed.notify_all()
            return True

    def wait(self, seconds: float) -> None:
        """Until there is a line, or the time is over, or no more lines will come."""
        with self._changed:
            if not self._lines and not self._closed:
                self._changed.wait(seconds)

    def gather(self, seconds: float) -> None:
        """Until the oldest line has waited so long, or no more lines will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, max(0.0, seconds - self.waited))

    def first(self, count: int) -> list[bytes]:
        with self._changed:
            return [line for _, line in islice(self._lines, count)]

    def written(self, count: int) -> None:
        """The first so many lines are durable."""
        with self._changed:
            for _ in range(count):
                self._lines.popleft()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
