"""Count the requests at work or waiting, and refuse one more than there is room for. Never queues one itself."""

from asyncio import Future
from typing import Any


class Admission:
    """Room for `limit` requests. Of one event loop; not for threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0

    @property
    def inside(self) -> int:
        """Requests at work or waiting, those included that nobody waits for any more."""
        return self._inside

    def enter(self) -> bool:
        """Take a place; False when there is none."""
        if self._inside >= self._limit:
            return False
        self._inside += 1
        return True

    def leave(self) -> None:
        self._inside -= 1

    def abandon(self, work: "Future[Any]") -> None:
        """Keep a place for work that nobody waits for any more, until it ends: a thread cannot be stopped."""
        self._inside += 1
        work.add_done_callback(self._ended)

    def _ended(self, work: "Future[Any]") -> None:
        self.leave()
        if not work.cancelled():
            work.exception()  # seen: or asyncio says that it was never retrieved
