"""Start, watch and end the parts of a server process, so that nothing answered is lost. Never answers a request."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic

from selfheal_assets.serving.metrics import ServerMetrics
from selfheal_assets.serving.parts import Parts
from selfheal_assets.serving.predicting import Predicting
from selfheal_assets.serving.state import readiness, versions

WATCH_SECONDS = 0.5
DRAIN_SECONDS = 6.0
"""How long work that nobody waits for any more may take to end before the log is closed."""
_log = logging.getLogger(__name__)


class Life:
    """Of one server process."""

    def __init__(self, parts: Parts, metrics: ServerMetrics, predicting: Predicting) -> None:
        self._parts, self._metrics, self._predicting = parts, metrics, predicting

    @asynccontextmanager
    async def lived(self) -> AsyncIterator[None]:
        """Requests are answered inside; at the end the log is written down and landed."""
        self._predicting.open()
        self._parts.lines.start()
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await self._drained()
            self._predicting.close()
            await asyncio.to_thread(self._ended)

    async def _watch(self) -> None:
        """Metrics of state are set by time, not when they are read: another worker process may be asked for them."""
        while True:
            try:
                self.look()
            except Exception:  # the next look may succeed
                _log.exception("the state of the server could not be told")
            await asyncio.sleep(WATCH_SECONDS)

    def look(self) -> None:
        """Tell how the parts stand."""
        state, lines = readiness(self._parts), self._parts.lines
        self._metrics.follows(refused=len(lines.troubles), registry_trouble=lines.registry_trouble is not None)
        self._metrics.state(
            ready=state.ready,
            trouble=self._parts.log.trouble is not None,
            breaker_open=self._parts.features.breaker_open,
            versions=versions(self._parts),
            waiting=self._predicting.admission.inside,
        )

    async def _drained(self) -> None:
        until = monotonic() + DRAIN_SECONDS
        while self._predicting.admission.inside and monotonic() < until:
            await asyncio.sleep(0.02)

    def _ended(self) -> None:
        """Each part is ended, whatever befalls the others; the log last, when nobody can answer any more."""
        for end in (self._parts.lines.stop, self._parts.features.close, self._parts.log.close):
            try:
                end()
            except Exception:
                _log.exception("a part of the server could not be ended")
