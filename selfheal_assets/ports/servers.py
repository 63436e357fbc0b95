"""Look at the model servers, and have them restarted. Never imports an adapter."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from selfheal_assets.core.server_reading import ServingStatus


class RestartState(StrEnum):
    """How far a restart is."""

    DONE = "DONE"
    UNDER_WAY = "UNDER_WAY"
    IMPOSSIBLE = "IMPOSSIBLE"
    """Nobody is there who could do it."""


@dataclass(frozen=True, kw_only=True)
class Restart:
    """What became of a restart that was asked for."""

    state: RestartState
    words: str


@dataclass(frozen=True, kw_only=True)
class Release:
    """A model's version that was given the traffic."""

    version: str
    run_id: str
    """The MLflow run that made it."""


class Serving(Protocol):
    """The model servers of this installation, wherever they run."""

    def status(self, model: str) -> ServingStatus:
        """How the servers of the model stand. Blocks for less than a second, and never raises for a server's sake."""
        ...

    def restart(self, model: str, decision_id: str, pids: Sequence[int]) -> Restart:
        """Have those server processes replaced; without any, the one that is kept running.

        Idempotent: the same decision restarts once, however often it is asked for. A process that has been replaced
        already is not replaced again.
        """
        ...

    def released(self, model: str, release: Release) -> None:
        """Note where the servers run which version was given the traffic. Again and again: written when it differs.

        Raises ServingError when it cannot be noted.
        """
        ...
