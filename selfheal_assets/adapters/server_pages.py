"""Ask model servers for their pages, all at once, and read what they say. Never raises for a server's sake."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.server_reading import Probe, Sample, ServerReading
from selfheal_assets.server_files import Server

if TYPE_CHECKING:
    import httpx

PAGES = (("GET", "metrics"), ("GET", "ready"), ("POST", "probe"))
QUESTIONS_AT_ONCE = 16


def readings(servers: Sequence[Server], answer_seconds: float) -> list[ServerReading]:
    """One a server, in order; a page that has not come by then counts as unanswered."""
    if not servers:
        return []
    import httpx

    asked = min(len(PAGES) * len(servers), QUESTIONS_AT_ONCE)
    # Beside it or in its own cluster, whatever proxy the environment names.
    with httpx.Client(timeout=answer_seconds, trust_env=False) as client, ThreadPoolExecutor(asked) as threads:
        pages = [
            [threads.submit(_page, client, method, f"{server.url}/{name}") for method, name in PAGES]
            for server in servers
        ]
        return [_reading(server, *(page.result() for page in of)) for server, of in zip(servers, pages, strict=True)]


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
