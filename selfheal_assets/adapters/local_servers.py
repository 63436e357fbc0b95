"""Look at the model servers of this machine, and ask their supervisor for a restart. Never ends a process itself."""

from collections.abc import Sequence
from pathlib import Path

from selfheal_assets import supervision
from selfheal_assets.adapters.server_pages import readings
from selfheal_assets.core.server_reading import Death, ServingStatus
from selfheal_assets.ports import Clock, Release, Restart, RestartState
from selfheal_assets.server_files import killed, running, servers_folder

ANSWER_SECONDS = 0.6
"""A page that has not come by then counts as unanswered: a sensor's tick must end within a second."""


class LocalServers:
    """Implements `ports.Serving` over a home."""

    def __init__(self, home: Path, clock: Clock, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._home, self._clock, self._seconds = home, clock, answer_seconds

    def status(self, model: str) -> ServingStatus:
        """All pages of all servers are asked for at once."""
        folder = servers_folder(self._home, model)
        supervised = supervision.told(self._home, model)
        servers = running(folder)
        deaths = supervised.deaths if supervised else ()
        known = {death.pid for death in deaths}
        # Whoever is killed leaves the file; the next server takes it away.
        unseen = [
            Death(pid=server.pid, at=self._clock.now(), words=f"the server at {server.url} was killed")
            for server in killed(folder)
            if server.pid not in known
        ]
        return ServingStatus(
            servers=tuple(readings(servers, self._seconds)),
            deaths=(*deaths, *unseen),
            wanted_since=supervised.since if supervised else None,
        )

    def restart(self, model: str, decision_id: str, pids: Sequence[int]) -> Restart:
        """Through the supervisor of `selfheal up`."""
        done = supervision.answer_to(self._home, model, decision_id)
        if done is not None:
            return Restart(state=RestartState.DONE, words=done)
        if supervision.told(self._home, model) is None:
            words = f"no supervisor keeps a server of {model}; start one with `selfheal up --serve {model}`"
            return Restart(state=RestartState.IMPOSSIBLE, words=words)
        supervision.ask(self._home, model, supervision.Request(decision_id=decision_id, pids=tuple(pids)))
        return Restart(state=RestartState.UNDER_WAY, words="the supervisor was asked to restart the server")

    def released(self, model: str, release: Release) -> None:
        """Nothing: the servers of this machine follow the registry, and nobody else asks."""
