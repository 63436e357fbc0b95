"""Decide whether the feature store may be asked: answers and failures in, yes or no out. Never asks it itself.

pybreaker holds its lock while the guarded call runs, so that requests wait for one another, and for a call that hangs;
and it reads the wall clock. Hence these few lines.
"""

from datetime import datetime, timedelta
from threading import Lock

from selfheal_assets.ports.ledger import Clock


class Breaker:
    """Closed until `failures` in a row; then open for `seconds`; then half open: one caller may try. Thread-safe.

    The circuit breaker of M. Nygard, Release It! (2007).
    """

    def __init__(self, failures: int, seconds: float, clock: Clock) -> None:
        self._limit, self._pause, self._clock = failures, timedelta(seconds=seconds), clock
        self._lock = Lock()
        self._failures = 0
        self._retry_at: datetime | None = None

    @property
    def open(self) -> bool:
        """From the last failure in a row until an answer: half open is open."""
        return self._retry_at is not None

    def admits(self) -> bool:
        """Whether this caller may ask. When half open: a single one, until it tells how that went.

        A caller that never tells is waited for as long as the breaker stays open, no longer.
        """
        with self._lock:
            if self._retry_at is None:
                return True
            now = self._clock.now()
            # A clock that was set back must not keep the breaker open for longer.
            if self._retry_at - self._pause <= now < self._retry_at:
                return False
            self._retry_at = now + self._pause
            return True

    def succeeded(self) -> None:
        """The store answered."""
        with self._lock:
            self._failures, self._retry_at = 0, None

    def failed(self) -> None:
        """The store did not answer."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._limit:
                self._retry_at = self._clock.now() + self._pause
