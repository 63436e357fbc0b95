"""Look at the model servers of this machine, and ask their supervisor for a restart. Never ends a process itself."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets import supervision
from selfheal_assets.core.server_reading import Death, Probe, Sample, ServerReading, ServingStatus
from selfheal_assets.ports import Clock, Restart, RestartState
from selfheal_assets.server_files import Server, killed, running, servers_folder

if TYPE_CHECKING:
    import httpx

ANSWER_SECONDS = 0.6
"""A page that has not come by then counts as unanswered: a sensor's tick must end within a second."""
QUESTIONS_AT_ONCE = 16


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
            servers=tuple(self._readings(servers)),
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

    def _readings(self, servers: Sequence[Server]) -> list[ServerReading]:
        if not servers:
            return []
        import httpx

        asked = min(3 * len(servers), QUESTIONS_AT_ONCE)
        # Of its own machine, whatever proxy the environment names.
        with httpx.Client(timeout=self._seconds, trust_env=False) as client, ThreadPoolExecutor(asked) as threads:
            pages = [
                [
                    threads.submit(_page, client, method, f"{server.url}/{name}")
                    for method, name in (("GET", "metrics"), ("GET", "ready"), ("POST", "probe"))
                ]
                for server in servers
            ]
            return [
                _reading(server, *(page.result() for page in of)) for server, of in zip(servers, pages, strict=True)
            ]


def _page(client: "httpx.Client", method: str, url: str) -> "httpx.Response | str":
    """The page, or why there is none."""
    import httpx

    try:
        return client.request(method, url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{type(error).__name__}: {error or 'no answer in time'}"


def _reading(
    server: Server, metrics: "httpx.Response | str", ready: "httpx.Response | str", probe: "httpx.Response | str"
) -> ServerReading:
    state = _json(ready)
    samples, problems = None, [str(problem) for problem in state.get("problems", ())]
    if isinstance(metrics, str):
        problems = [metrics]
    else:
        try:
            samples = _samples(metrics.text)
        except ValueError as error:
            problems = [f"its metrics cannot be read: {error}"]
    return ServerReading(
        url=server.url,
        pid=server.pid,
        started=server.started,
        samples=samples,
        ready=state.get("ready") is True,
        problems=tuple(problems),
        probe=_probe(probe),
    )


def _samples(text: str) -> list[Sample]:
    from prometheus_client.parser import text_string_to_metric_families

    families = text_string_to_metric_families(text)
    found = [Sample(name=s.name, labels=s.labels, value=s.value) for family in families for s in family.samples]
    if not found:
        raise ValueError("there are none")
    return found


def _probe(page: "httpx.Response | str") -> Probe | None:
    """None for a server that knows no probes."""
    if isinstance(page, str):
        return Probe(ok=False, level=None, milliseconds=0.0, problem=page)
    if page.status_code == 404:
        return None
    said = _json(page)
    try:
        return Probe(
            ok=said["ok"] is True,
            level=said["level"],
            milliseconds=float(said["milliseconds"]),
            problem=said.get("problem") or "",
        )
    except (KeyError, TypeError, ValueError):
        return Probe(ok=False, level=None, milliseconds=0.0, problem=f"the probe was answered with {page.status_code}")


def _json(page: "httpx.Response | str") -> dict[str, Any]:
    if isinstance(page, str):
        return {}
    try:
        said = page.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
