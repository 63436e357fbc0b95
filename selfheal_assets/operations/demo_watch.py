"""Wait for what must happen, and tell what does meanwhile: a condition in, lines of words out. Never helps."""

import time
from collections.abc import Callable, Iterator

from selfheal_assets.core.errors import LedgerError, SelfhealError, ServiceError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.operations.teller import Teller
from selfheal_assets.wiring import Services

POLL_SECONDS = 0.5


class Watch:
    """Tells each new record of the ledger once."""

    def __init__(self, services: Services, spec: ModelSpec, seconds: float) -> None:
        """`seconds`: how long anything may take."""
        self._services, self._seconds = services, seconds
        self._told = Teller(services, spec)

    def until(self, what: str, happened: Callable[[], bool]) -> Iterator[str]:
        """Raises SelfhealError when it does not happen in time. A service that is away meanwhile is asked again."""
        deadline = time.monotonic() + self._seconds
        while True:
            seen, news = self._look(happened)
            yield from news
            if seen:
                return
            if time.monotonic() > deadline:
                raise SelfhealError(
                    f"Each phase of the demonstration must end within {self._seconds:.0f} s; received none for "
                    f"{what!r}. See the runs and sensors in the Dagster UI, and `{self._services.home / 'logs'}`."
                )
            time.sleep(POLL_SECONDS)

    def for_seconds(self, seconds: float) -> Iterator[str]:
        """For so long."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            yield from self._look(lambda: False)[1]
            time.sleep(min(POLL_SECONDS, left))

    def _look(self, happened: Callable[[], bool]) -> tuple[bool, list[str]]:
        """Whether it has happened, and what is new. Not yet, as long as a service that must be asked is away."""
        try:
            return happened(), self._told.news()
        except (LedgerError, ServiceError) as error:
            return False, [f"away       {str(error).splitlines()[0]}"]
