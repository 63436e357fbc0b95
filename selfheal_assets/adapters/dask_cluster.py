"""Reach a Dask cluster: a scheduler's address in, a client with workers out. Never starts or stops one."""

import re
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING

from selfheal_assets.core.errors import SpecError, TrainingError

if TYPE_CHECKING:
    from distributed import Client

SCHEDULER_VARIABLE = "SELFHEAL_DASK_SCHEDULER"
CONNECT_SECONDS = 10
WORKERS_SECONDS = 60
"""For how long a cluster may be without any worker: one that is scaled to zero needs time to start the first."""


class DaskCluster:
    """The cluster that the environment names, for models that declare `training.engine: dask`."""

    def __init__(
        self,
        address: str | None,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        workers_seconds: float = WORKERS_SECONDS,
    ) -> None:
        """`address`: such as tcp://127.0.0.1:8786, or tls:// with the certificates in Dask's own configuration. None,
        or an empty one, is an error for who asks for a client, and for nobody else."""
        self._address = address
        self._connect_seconds, self._workers_seconds = connect_seconds, workers_seconds

    @contextmanager
    def client(self) -> "Iterator[Client]":
        """A client while the context lasts; what it submitted is given up by the scheduler afterwards.

        SpecError when the package or the address is missing; TrainingError when nothing answers, then or later.
        """
        address = self._checked_address()
        try:
            from distributed import Client
        except ImportError as error:
            raise SpecError(
                "training.engine dask needs the package distributed; received an environment without it. "
                "Install selfheal-assets[dask], or declare training.engine: local."
            ) from error
        try:
            with Client(address, timeout=self._connect_seconds, set_as_default=False) as client:
                self.require_workers(client)
                yield client
        except (OSError, TimeoutError, CancelledError) as error:
            raise TrainingError(
                f"A Dask scheduler must answer within {self._connect_seconds:g} s, and until the end; {address} is "
                f"temporarily unavailable ({type(error).__name__}: {error}). See that it runs and that "
                f"{SCHEDULER_VARIABLE} names it."
            ) from error

    def require_workers(self, client: "Client") -> None:
        """Wait for a worker; TrainingError when none comes."""
        try:
            client.wait_for_workers(1, timeout=self._workers_seconds)
        except TimeoutError as error:
            raise TrainingError(
                f"A Dask cluster must have a worker within {self._workers_seconds:g} s; {self._address} is temporarily "
                f"unavailable for work: it has none. Start one: `dask worker {self._address} --nthreads 1`."
            ) from error

    def _checked_address(self) -> str:
        if not self._address:
            raise SpecError(
                f"training.engine dask needs the address of a Dask scheduler; {SCHEDULER_VARIABLE} is not set. "
                "Set it, as in tcp://127.0.0.1:8786, or declare training.engine: local."
            )
        if not re.fullmatch(r"(tcp|tls|ws|wss)://[^\s/]+:\d+", self._address):
            raise SpecError(
                f"{SCHEDULER_VARIABLE} must be like tcp://127.0.0.1:8786 or tls://scheduler:8786; "
                f"received {self._address!r}. Correct the variable."
            )
        return self._address
